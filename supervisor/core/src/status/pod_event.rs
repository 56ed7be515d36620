//! Entries of a Pod's event log, with a kubelet's reasons and texts (`pkg/kubelet/events/event.go`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{ImageFailure, Pulled};
use crate::pod::Pod;
use crate::time::Now;

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
                duration(p.took_ms),
                duration(p.waited_ms),
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

/// Milliseconds as Go writes a `time.Duration`: `312ms`, `1.5s`, `1m0.25s`.
fn duration(ms: u64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let (seconds, rest) = (ms / 1000 % 60, ms % 1000);
    let mut text = String::new();
    if hours > 0 {
        text += &format!("{hours}h");
    }
    if hours > 0 || minutes > 0 {
        text += &format!("{minutes}m");
    }
    text += &seconds.to_string();
    if rest > 0 {
        text += format!(".{rest:03}").trim_end_matches('0');
    }
    text + "s"
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_read_as_go_writes_them() {
        let texts = [0, 312, 1000, 1500, 60_250, 3_600_000, 10_800_005].map(duration);
        let expected = [
            "0s",
            "312ms",
            "1s",
            "1.5s",
            "1m0.25s",
            "1h0m0s",
            "3h0m0.005s",
        ];
        assert_eq!(texts, expected);
    }
}
