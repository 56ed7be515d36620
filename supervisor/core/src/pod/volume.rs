//! A volume of a Pod.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::FileVolume;

/// One entry of `spec.volumes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// A DNS label, unique in the Pod.
    pub name: String,
    /// What it is.
    pub source: VolumeSource,
}

/// What a volume is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeSource {
    /// A directory that lives as long as the Pod's sandbox.
    EmptyDir {
        /// Disk or memory.
        medium: Medium,
        /// Bytes it may hold; without, a volume in memory has the kernel's own limit.
        size_limit: Option<u64>,
    },
    /// A path of the machine.
    HostPath {
        /// Absolute, without `..`.
        path: String,
        /// What must be there, or be made.
        kind: HostPathType,
    },
    /// Files that Carob writes and keeps as their sources are.
    Files(FileVolume),
}

/// `emptyDir.medium`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Medium {
    /// The disk below Carob's root.
    #[default]
    Disk,
    /// A tmpfs.
    Memory,
}

/// `hostPath.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum HostPathType {
    /// Not checked; made as a directory when absent.
    #[default]
    Unset,
    /// A directory, made with mode 0755 when absent.
    DirectoryOrCreate,
    /// Must exist.
    Directory,
    /// A file, made with mode 0644 when absent; its directory must exist.
    FileOrCreate,
    /// Must exist.
    File,
    /// Must exist.
    Socket,
    /// Must exist.
    CharDevice,
    /// Must exist.
    BlockDevice,
}

/// As manifests have it; empty when unset.
impl fmt::Display for HostPathType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unset => "",
            Self::DirectoryOrCreate => "DirectoryOrCreate",
            Self::Directory => "Directory",
            Self::FileOrCreate => "FileOrCreate",
            Self::File => "File",
            Self::Socket => "Socket",
            Self::CharDevice => "CharDevice",
            Self::BlockDevice => "BlockDevice",
        })
    }
}
