//! A Pod as its watchers see it: at one moment, with a version.

use std::rc::Rc;

use carob_core::encode;
use carob_core::pod::Pod;
use carob_core::registry::Origin;
use carob_core::status::{PodStatus, Time};
use jiff::Timestamp;
use serde_json::{Value, json};

/// A Pod at one moment.
#[derive(Debug, Clone)]
pub struct PodObject {
    /// What it shall be.
    pub pod: Rc<Pod>,
    /// What it is.
    pub status: Rc<PodStatus>,
    /// Who asked for it.
    pub origin: Origin,
    /// The version of the change that made it so.
    pub resource_version: u64,
    /// When it was accepted.
    pub created: Timestamp,
    /// Set once someone has deleted it.
    pub deletion: Option<Deletion>,
    /// The machine.
    pub node_name: Rc<str>,
}

/// A deletion that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletion {
    /// The end of the grace period.
    pub at: Timestamp,
    /// How long that is.
    pub grace_seconds: u64,
}

impl PodObject {
    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        let meta = &self.pod.metadata;
        format!("{}/{}", meta.namespace, meta.name)
    }

    /// The Pod as Kubernetes' API shows it (`v1.Pod`).
    pub fn to_value(&self) -> Value {
        let mut object = encode::object(&self.pod);
        let meta = &mut object["metadata"];
        meta["resourceVersion"] = json!(self.resource_version.to_string());
        meta["creationTimestamp"] = json!(Time(self.created));
        if let Some(Deletion { at, grace_seconds }) = self.deletion {
            meta["deletionTimestamp"] = json!(Time(at));
            meta["deletionGracePeriodSeconds"] = json!(grace_seconds);
        }
        if self.origin == Origin::File {
            // As a kubelet marks static Pods; the hash is the UID that it gives them.
            let annotations = &mut meta["annotations"];
            annotations[Origin::ANNOTATION] = json!(self.origin.as_str());
            annotations[Origin::HASH_ANNOTATION] = json!(self.pod.metadata.uid);
        }
        object["spec"]["nodeName"] = json!(*self.node_name);
        object["status"] = json!(*self.status);
        object
    }
}
