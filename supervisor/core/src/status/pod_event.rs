//! Entries of a Pod's event log, with a kubelet's reasons and texts (`pkg/kubelet/events/event.go`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{ImageFailure, Pulled};
use crate::pod::Pod;
use crate::time::{Now, go_duration};

/// What `kubectl describe` lists under Events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodEvent {
    /// When.
    pub at: Timestamp,
    /// Normal or a warning.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// Such as `Started`.
    pub reason: String,
    /// For people.
    pub message: String,
    /// The part of the Pod that it is about, such as `spec.containers{web}`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field_path: Option<String>,
}

/// `type` of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventType {
    /// As it should be.
    Normal,
    /// Something for someone to look at.
    Warning,
}

impl PodEvent {
    pub(crate) fn normal(now: Now, reason: &str, message: impl Into<String>) -> Self {
        Self {
            at: now.wall,
            kind: EventType::Normal,
            reason: reason.to_owned(),
            message: message.into(),
            field_path: None,
        }
    }

    pub(crate) fn warning(now: Now, reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind: EventType::Warning,
            ..Self::normal(now, reason, message)
        }
    }

    /// The same about a container.
    pub(crate) fn of(mut self, pod: &Pod, container: &str) -> Self {
        let init = pod.spec.init_containers.iter().any(|c| c.name == container);
        let list = if init { "initContainers" } else { "containers" };
        self.field_path = Some(format!("spec.{list}{{{container}}}"));
        self
    }

    pub(crate) fn pulled(now: Now, image: &str, pulled: Option<Pulled>) -> Self {
        let text = match pulled {
            Some(p) => format!(
                "Successfully pulled image {image:?} in {} ({} including waiting). Image size: {} bytes.",
                go_duration(p.took_ms),
                go_duration(p.waited_ms),
                p.bytes
            ),
            None => format!(
                "Container image {image:?} already present on machine and can be accessed by the pod"
            ),
        };
        Self::normal(now, "Pulled", text)
    }

    /// What a kubelet tells of an image that it could not get: what went wrong, and that the container
    /// does not start for it.
    pub(crate) fn image_failed(
        now: Now,
        image: &str,
        failure: ImageFailure,
        message: &str,
    ) -> [Self; 2] {
        let what = match failure {
            ImageFailure::ErrImageNeverPull => {
                let text =
                    format!("Container image {image:?} is not present with pull policy of Never");
                Self::warning(now, "ErrImageNeverPull", text)
            }
            ImageFailure::InvalidImageName => {
                let text = format!("Failed to apply default image tag {image:?}: {message}");
                Self::warning(now, "InspectFailed", text)
            }
            ImageFailure::ImageInspectError => {
                let text = format!("Failed to inspect image {image:?}: {message}");
                Self::warning(now, "InspectFailed", text)
            }
            ImageFailure::ErrImagePull
            | ImageFailure::RegistryUnavailable
            | ImageFailure::SignatureValidationFailed => {
                let text = format!("Failed to pull image {image:?}: {message}");
                Self::warning(now, "Failed", text)
            }
        };
        let then = Self::warning(now, "Failed", format!("Error: {}", failure.as_str()));
        [what, then]
    }
}
