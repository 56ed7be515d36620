//! The options that say what runs containers.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::backend::Backend;
use crate::containerd::{self, Place, Settings, check_namespace};

/// What makes the containers, and how it is reached.
#[derive(Debug, Args)]
pub struct BackendArgs {
    /// What makes the containers
    #[arg(long, global = true, value_enum, default_value_t = Kind::Embedded, env = "CAROB_BACKEND")]
    backend: Kind,
    /// containerd's socket
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        default_value = containerd::ADDRESS,
        env = "CONTAINERD_ADDRESS"
    )]
    containerd_address: PathBuf,
    /// The containerd namespace for Pods and images
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = containerd::NAMESPACE,
        value_parser = check_namespace,
        env = "CAROB_CONTAINERD_NAMESPACE"
    )]
    containerd_namespace: String,
    /// The shim that containerd runs containers with, such as io.containerd.runc.v2
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = containerd::RUNTIME,
        env = "CAROB_RUNTIME"
    )]
    runtime: String,
    /// containerd's snapshotter
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = containerd::SNAPSHOTTER,
        env = "CAROB_SNAPSHOTTER"
    )]
    snapshotter: String,
}

/// What makes the containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Carob's shim, driven directly: no daemon needed
    Embedded,
    /// containerd, with any shim
    Containerd,
}

impl BackendArgs {
    /// What was chosen.
    pub fn backend(self) -> Backend {
        match self.backend {
            Kind::Embedded => Backend::Embedded,
            Kind::Containerd => Backend::Containerd(Settings {
                place: Place {
                    address: self.containerd_address,
                    namespace: self.containerd_namespace,
                },
                runtime: self.runtime.into(),
                classes: Default::default(),
                snapshotter: self.snapshotter,
            }),
        }
    }
}
