//! The annotations by which shims and tools know Pods (containerd, `internal/cri/annotations`).
//!
//! They come from the Pod and its IDs alone: nothing of an image but the name that the Pod calls it by.

use std::collections::HashMap;

use carob_core::pod::Metadata;

const CONTAINER_TYPE: &str = "io.kubernetes.cri.container-type";
const SANDBOX_ID: &str = "io.kubernetes.cri.sandbox-id";
const SANDBOX_NAME: &str = "io.kubernetes.cri.sandbox-name";
const SANDBOX_NAMESPACE: &str = "io.kubernetes.cri.sandbox-namespace";
const SANDBOX_UID: &str = "io.kubernetes.cri.sandbox-uid";
pub(super) const CONTAINER_NAME: &str = "io.kubernetes.cri.container-name";
pub(super) const IMAGE_NAME: &str = "io.kubernetes.cri.image-name";

/// Which of a Pod's containers it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Type {
    Sandbox,
    Container,
}

pub(super) fn of(pod: &Metadata, sandbox_id: &str, kind: Type) -> HashMap<String, String> {
    let kind = match kind {
        Type::Sandbox => "sandbox",
        Type::Container => "container",
    };
    let pairs = [
        (CONTAINER_TYPE, kind),
        (SANDBOX_ID, sandbox_id),
        (SANDBOX_NAME, &pod.name),
        (SANDBOX_NAMESPACE, &pod.namespace),
        (SANDBOX_UID, &pod.uid),
    ];
    pairs
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}
