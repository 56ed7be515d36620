//! containerd as the backend: the same Pods, with containerd's tasks instead of shims of our own.
//!
//! Containers, tasks and events are asked of one containerd, in a namespace that no other program uses.

mod client;
mod container;
pub mod images;
mod runtime;
mod shim;
mod tasks;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

pub use client::{Client, ConnectError, QUICK, SLOW, Version};
pub use container::remove_all;
pub use runtime::Containerd;

/// Where containerd listens by default.
pub const ADDRESS: &str = "/run/containerd/containerd.sock";
/// The namespace that is ours by default.
pub const NAMESPACE: &str = "carob";
/// The shim that runs containers by default: ours.
pub const RUNTIME: &str = "io.containerd.carob.v1";
/// Where root file systems come from by default, as of containerd's clients.
pub const SNAPSHOTTER: &str = "overlayfs";

/// Longest name of a namespace (containerd, `pkg/identifiers`). Bytes.
const NAME_MAX: usize = 76;
/// Namespaces of other programs that run containers, which would take ours for theirs.
const FOREIGN: [(&str, &str); 2] = [("k8s.io", "the kubelet"), ("moby", "Docker")];

/// How containerd is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which, and where in it.
    pub place: Place,
    /// What runs containers, by containerd's name for a shim.
    pub runtime: Rc<str>,
    /// What runs those of a Pod with this `runtimeClassName`.
    pub classes: BTreeMap<String, Rc<str>>,
    /// What has their root file systems.
    pub snapshotter: String,
}

/// Where the containers of a Pod are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// containerd's socket.
    pub address: PathBuf,
    /// The namespace.
    pub namespace: String,
}

/// Checks the name of a namespace.
///
/// # Errors
/// When it is none that containerd takes (`pkg/identifiers`), or another program's.
pub fn check_namespace(name: &str) -> Result<String, String> {
    if let Some((_, owner)) = FOREIGN.iter().find(|(foreign, _)| *foreign == name) {
        return Err(format!(
            "the namespace {name} belongs to {owner}, which would remove Carob's containers; use another, such as {NAMESPACE}"
        ));
    }
    let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric());
    if name.len() > NAME_MAX || !name.split(['.', '-', '_']).all(word) {
        return Err(format!(
            "a namespace is letters and digits, with single . - _ between them, at most {NAME_MAX}"
        ));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_of_others_are_refused_by_name() {
        for (name, owner) in [("k8s.io", "kubelet"), ("moby", "Docker")] {
            let error = check_namespace(name).unwrap_err();
            assert!(error.contains(name) && error.contains(owner), "{error}");
        }
        for good in ["carob", "carob-2", "a.b_c"] {
            assert_eq!(check_namespace(good).unwrap(), good);
        }
        let long = "a".repeat(77);
        for bad in ["", "-a", "a..b", "a/b", "ä", &long] {
            assert!(check_namespace(bad).is_err(), "{bad:?}");
        }
    }
}
