//! What can go wrong with a Pod's volumes.

use std::io;
use std::path::{Path, PathBuf};

use carob_core::config::PayloadError;
use carob_core::pod::HostPathType;

/// An error of a volume, in one sentence that names it. Where the kubelet has a text for it, it is the kubelet's.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A file system operation failed.
    #[error("cannot {what} {path}: {source}")]
    File {
        /// What was tried: "create", "remove", "mount", …
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A name that cannot be one component of a path.
    #[error("{name:?} is not a {what}: it would not be a file name")]
    BadName {
        /// "Pod UID", "volume name" or "container name".
        what: &'static str,
        /// The name.
        name: String,
    },
    /// `hostPath.path` is not what Kubernetes takes.
    #[error("invalid HostPath `{path}`: {reason}")]
    BadHostPath {
        /// The path.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// The path of a `hostPath` with a type does not exist.
    #[error("hostPath {0} doesn't exist")]
    HostPathMissing(PathBuf),
    /// The path of a `hostPath` is of another type.
    #[error("hostPath type check failed: {path} is not a {wanted}, it's a {found}")]
    HostPathType {
        /// The path.
        path: PathBuf,
        /// What it should be, in words.
        wanted: &'static str,
        /// What it is: a `hostPath.type`.
        found: HostPathType,
    },
    /// The path of a `hostPath` is of no type that Kubernetes knows.
    #[error(
        "hostPath type check failed, {path} is not a {wanted}, unable to determine its type: only recognise file, directory, socket, block device and character device"
    )]
    HostPathUnknown {
        /// The path.
        path: PathBuf,
        /// What it should be, in words.
        wanted: &'static str,
    },
    /// A volume was to be mounted that was not set up.
    #[error("volume {volume} of Pod {uid} is not set up")]
    NotSetUp {
        /// The Pod.
        uid: String,
        /// The volume.
        volume: String,
    },
    /// A sub-path could not be used.
    #[error(
        "failed to prepare subPath {sub_path:?} of volumeMount {volume:?} of container {container:?}: {reason}"
    )]
    SubPath {
        /// The volume.
        volume: String,
        /// The container.
        container: String,
        /// The sub-path.
        sub_path: String,
        /// Why.
        reason: String,
    },
    /// There is nothing to fill a volume with.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {source}")]
    Payload {
        /// The volume.
        volume: String,
        /// Why.
        source: PayloadError,
    },
    /// A mount of the Pod stays in use.
    #[error(
        "cannot unmount {path}: something still uses it (see `fuser -vm {path}`); nothing was removed, try again when it is gone"
    )]
    Busy {
        /// The mount point.
        path: PathBuf,
    },
    /// Something is mounted within a directory that is to be removed.
    #[error("did not remove {path}: something is mounted there, unmount it and try again")]
    Mounted {
        /// The mount point.
        path: PathBuf,
    },
}

impl VolumeError {
    pub(super) fn file(
        what: &'static str,
        path: &Path,
        source: impl Into<io::Error>,
    ) -> VolumeError {
        VolumeError::File {
            what,
            path: path.to_owned(),
            source: source.into(),
        }
    }
}
