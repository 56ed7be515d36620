//! Which backend runs containers, and the one that a Pod's record names.

use serde::{Deserialize, Serialize};

use crate::containerd::{Place, Settings};
use crate::images::PullSettings;

/// What runs containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// Our shim, driven directly.
    Embedded,
    /// containerd.
    Containerd(Settings),
}

/// Where the containers of a Pod are to be found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Home {
    /// In shims of our own.
    #[default]
    Embedded,
    /// In a containerd.
    Containerd(Place),
}

impl Backend {
    /// Where the containers are that it runs.
    pub fn home(&self) -> Home {
        match self {
            Self::Embedded => Home::Embedded,
            Self::Containerd(settings) => Home::Containerd(settings.place.clone()),
        }
    }
}

impl Home {
    /// What a container's ID begins with in the Pod's status (`containerID: NAME://…`).
    pub fn runtime_name(&self) -> &'static str {
        match self {
            Self::Embedded => "carob",
            Self::Containerd(_) => "containerd",
        }
    }

    /// The options that name it.
    pub fn options(&self) -> String {
        match self {
            Self::Embedded => "--backend embedded".to_owned(),
            Self::Containerd(Place { address, namespace }) => format!(
                "--backend containerd --containerd-address {} --containerd-namespace {namespace}",
                address.display()
            ),
        }
    }
}

/// What was chosen for a run: what runs containers, and how their images are pulled.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What runs containers, and has their images.
    pub backend: Backend,
    /// How images are pulled.
    pub pulls: PullSettings,
}
