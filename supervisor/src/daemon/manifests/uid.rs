//! A static Pod's UID.

use carob_core::encode;
use carob_core::pod::Pod;
use sha2::{Digest, Sha256};

use crate::dirs::hex;

/// A hash of what the Pod is and of the machine, 32 digits as a kubelet's (`applyDefaults`, pkg/kubelet/config/common.go):
/// any edit makes another Pod, and the same manifest is the same Pod for the next daemon too. Unlike a kubelet's it has no
/// part in where the manifest lies: renaming a file touches no Pod.
pub fn static_uid(node_name: &str, pod: &Pod) -> String {
    let mut object = encode::object(pod);
    object["metadata"]["uid"].take();
    let mut hash = Sha256::new();
    hash.update(format!("host:{node_name}\n{object}"));
    hex(&hash.finalize())[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use carob_core::pod::{Container, Metadata, PodSpec};

    #[test]
    fn a_uid_tells_manifests_and_machines_apart_and_nothing_else() {
        let pod = |uid: &str, image: &str| Pod {
            metadata: Metadata::new("web", uid),
            spec: PodSpec::new(vec![Container::new("app", image)]),
        };
        let uid = static_uid("here", &pod("made-1", "a"));
        assert_eq!(uid.len(), 32);
        assert_eq!(static_uid("here", &pod("made-2", "a")), uid);
        assert_ne!(static_uid("here", &pod("made-1", "b")), uid);
        assert_ne!(static_uid("there", &pod("made-1", "a")), uid);
    }
}
