//! What can go wrong with an image, sorted as Kubernetes reports it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::digest::Digest;
use super::unpack::LayerError;

/// Why an image could not be named, found, pulled, imported, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The reference cannot be parsed; trying again is pointless.
    #[error("image name {name:?} is not valid: {reason}")]
    InvalidName {
        /// The text, shortened when it is very long.
        name: String,
        /// The rule it breaks.
        reason: String,
    },
    /// The store has no such image.
    #[error("image {0:?} is not on this machine: pull or import it first")]
    NotPresent(String),
    /// An abbreviated image ID fits several images.
    #[error("image ID {0:?} fits several images: give more of its digits")]
    Ambiguous(String),
    /// The registry says that there is no such image.
    #[error("image {image} does not exist in its registry (or needs a login): {detail}")]
    NotFound {
        /// The reference that was asked for.
        image: String,
        /// What the registry said.
        detail: String,
    },
    /// The registry wants other credentials.
    #[error("registry {registry} refuses access to {image}: {detail}; check the credentials")]
    Unauthorized {
        /// The reference that was asked for.
        image: String,
        /// Host and port.
        registry: String,
        /// What the registry said.
        detail: String,
    },
    /// The registry asks to be left alone for a while (HTTP 429).
    #[error("registry {registry} limits the rate of requests: try again {}", after(.retry_after))]
    RateLimited {
        /// Host and port.
        registry: String,
        /// How long it asks us to wait, when it says so.
        retry_after: Option<Duration>,
    },
    /// The registry cannot be reached or answers with an error of its own.
    #[error("registry {registry} cannot serve {image}: {reason}")]
    Unavailable {
        /// The reference that was asked for.
        image: String,
        /// Host and port.
        registry: String,
        /// The cause.
        reason: String,
    },
    /// The image itself is broken, dangerous or not for this machine.
    #[error("{what} is refused: {reason}")]
    Refused {
        /// The manifest, configuration, archive or file that is meant.
        what: String,
        /// The rule it breaks.
        reason: String,
    },
    /// A layer is broken, dangerous or too large.
    #[error("layer {layer} is refused: {source}")]
    Layer {
        /// The digest of the layer: of the blob where one is known, else its diffID.
        layer: Digest,
        /// The rule it breaks.
        source: LayerError,
    },
    /// A live container uses the image.
    #[error("image {image} is in use by {}: delete that first", .owners.join(", "))]
    InUse {
        /// What was to be removed.
        image: String,
        /// The names under which it was taken.
        owners: Vec<String>,
    },
    /// containerd, which has the images, refuses something.
    #[error("containerd cannot {action}: {reason}")]
    Containerd {
        /// What it was asked for: `prepare the snapshot X`, ….
        action: String,
        /// Its own words.
        reason: String,
    },
    /// The local disk failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// A verb: `read`, `create`, ….
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl ImageError {
    /// Kubernetes' reason for a container that waits because of this error
    /// (`pkg/kubelet/images/types.go`).
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidName { .. } => "InvalidImageName",
            Self::NotPresent(_) => "ErrImageNeverPull",
            Self::Unavailable { .. } => "RegistryUnavailable",
            Self::Ambiguous(_) | Self::InUse { .. } => "ImageInspectError",
            Self::NotFound { .. }
            | Self::Unauthorized { .. }
            | Self::RateLimited { .. }
            | Self::Refused { .. }
            | Self::Layer { .. }
            | Self::Containerd { .. }
            | Self::Io { .. } => "ErrImagePull",
        }
    }

    /// The same, with what was said by those who were asked before.
    pub(crate) fn after(mut self, others: &[String]) -> Self {
        if others.is_empty() {
            return self;
        }
        let others = format!(" (mirrors: {})", others.join("; "));
        match &mut self {
            Self::NotFound { detail: text, .. }
            | Self::Unauthorized { detail: text, .. }
            | Self::Unavailable { reason: text, .. }
            | Self::Refused { reason: text, .. } => text.push_str(&others),
            _ => {}
        }
        self
    }

    pub(crate) fn refused(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Refused {
            what: what.into(),
            reason: reason.into(),
        }
    }
}

fn after(wait: &Option<Duration>) -> String {
    wait.map_or_else(
        || "later".to_owned(),
        |wait| format!("in {} s", wait.as_secs()),
    )
}

/// Shorthand for the module.
pub type Result<T, E = ImageError> = std::result::Result<T, E>;

/// Names the file and the action that an I/O error belongs to.
pub(crate) trait IoContext<T> {
    /// `action` is a verb that reads well after "cannot".
    fn at(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> IoContext<T> for std::result::Result<T, E> {
    fn at(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|error| ImageError::Io {
            action,
            path: path.to_owned(),
            source: error.into(),
        })
    }
}
