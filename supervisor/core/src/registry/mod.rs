//! What happens to a machine's Pods as a whole: which one a name stands for, who asked for it, and what changed when.

mod files;
mod history;
mod shutdown;

use serde::{Deserialize, Serialize};

pub use files::{Asked, Content, Duplicate, Files, Found, Standing, is_manifest_name};
pub use history::{History, TooOld};
pub use shutdown::{Grace, shutdown_order};

use crate::pod::Pod;

/// Who asked for a Pod (`kubetypes.ConfigSourceAnnotationKey`, pkg/kubelet/types/pod_update.go).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Origin {
    /// Someone in the foreground, who may have been killed since.
    #[default]
    Run,
    /// A file of the manifests' directory: a static Pod.
    File,
    /// A client.
    Api,
}

impl Origin {
    /// The annotation in which Kubernetes has it.
    pub const ANNOTATION: &str = "kubernetes.io/config.source";
    /// The annotation in which Kubernetes has what a static Pod's manifest was.
    pub const HASH_ANNOTATION: &str = "kubernetes.io/config.hash";

    /// What that annotation says.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::File => "file",
            Self::Api => "api",
        }
    }
}

/// The Pod that has a name now.
#[derive(Debug, Clone, Copy)]
pub struct Present<'a> {
    /// It.
    pub pod: &'a Pod,
    /// Who asked for it.
    pub origin: Origin,
    /// It was deleted and is not gone yet.
    pub terminating: bool,
}

/// What to do for a Pod that someone wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Begin it.
    Begin,
    /// It is here already, perhaps at its end: a Pod that is through is not run again.
    Here,
    /// Begin it once nothing is left of the one that has its name, which is being deleted.
    Wait,
    /// Delete the one that has its name, and wait.
    Replace,
    /// Refuse it: someone else's Pod has its name.
    Taken(Origin),
}

/// What to do for a Pod that `origin` wants, given the one of the same name. Two generations of a Pod never overlap
/// (`allowStaticPodStart`, pkg/kubelet/pod_workers.go), and a Pod is never changed under its containers: any other
/// manifest is another Pod.
pub fn wanted(pod: &Pod, origin: Origin, present: Option<Present<'_>>) -> Wanted {
    let Some(present) = present else {
        return Wanted::Begin;
    };
    if present.origin != origin {
        Wanted::Taken(present.origin)
    } else if present.terminating {
        Wanted::Wait
    } else if present.pod == pod {
        Wanted::Here
    } else {
        Wanted::Replace
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::{Container, Metadata, PodSpec};

    fn pod(uid: &str, image: &str) -> Pod {
        Pod {
            metadata: Metadata::new("web", uid),
            spec: PodSpec::new(vec![Container::new("app", image)]),
        }
    }

    #[test]
    fn a_name_stands_for_one_pod_at_a_time() {
        let (old, new) = (pod("1", "a"), pod("2", "b"));
        let same_uid = pod("1", "b");
        let present = |origin, terminating| {
            Some(Present {
                pod: &old,
                origin,
                terminating,
            })
        };
        let (file, api) = (Origin::File, Origin::Api);
        for (what, wants, origin, there, result) in [
            ("a new name", &new, file, None, Wanted::Begin),
            ("the same", &old, file, present(file, false), Wanted::Here),
            ("edited", &new, file, present(file, false), Wanted::Replace),
            (
                "edited, with a UID of its own",
                &same_uid,
                file,
                present(file, false),
                Wanted::Replace,
            ),
            ("back again", &old, file, present(file, true), Wanted::Wait),
            (
                "edited twice",
                &new,
                file,
                present(file, true),
                Wanted::Wait,
            ),
            (
                "someone else's",
                &new,
                file,
                present(api, false),
                Wanted::Taken(api),
            ),
            (
                "someone else's, the same",
                &old,
                api,
                present(file, true),
                Wanted::Taken(file),
            ),
        ] {
            assert_eq!(wanted(wants, origin, there), result, "{what}");
        }
    }
}
