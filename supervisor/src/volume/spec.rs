//! The volumes of a Pod as this module is told of them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::error::VolumeError;

/// One entry of `spec.volumes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSpec {
    /// Its name, a DNS label.
    pub name: String,
    /// What it is.
    pub source: VolumeSource,
}

/// What a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeSource {
    /// `emptyDir`
    EmptyDir {
        /// Where it is kept.
        medium: Medium,
        /// In bytes: how much a volume in memory holds. As the kubelet, give the smaller of `sizeLimit` and the Pod's
        /// memory limit. `None` or 0 is the kernel's own limit, half of the memory. A volume on disk is not limited
        /// here; its Pod is evicted when it is too large.
        size_limit: Option<u64>,
    },
    /// `hostPath`
    HostPath {
        /// An absolute path of the host.
        path: PathBuf,
        /// What must be, or is made, there.
        kind: HostPathType,
    },
}

/// `emptyDir.medium`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// `""`: the disk that holds the root directory.
    Disk,
    /// `Memory`: a tmpfs.
    Memory,
}

impl FromStr for Medium {
    type Err = VolumeError;

    fn from_str(text: &str) -> Result<Medium, VolumeError> {
        match text {
            "" => Ok(Medium::Disk),
            "Memory" => Ok(Medium::Memory),
            // HugePages and HugePages-SIZE among them.
            other => Err(VolumeError::BadMedium(other.to_owned())),
        }
    }
}

/// `hostPath.type`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostPathType {
    /// `""`: nothing is checked; what is missing is made as a directory.
    Unset,
    /// `DirectoryOrCreate`: a directory, made with mode 0755 if missing.
    DirectoryOrCreate,
    /// `Directory`
    Directory,
    /// `FileOrCreate`: a file, made with mode 0644 if missing; its directory must be there.
    FileOrCreate,
    /// `File`
    File,
    /// `Socket`
    Socket,
    /// `CharDevice`
    CharDevice,
    /// `BlockDevice`
    BlockDevice,
}

impl FromStr for HostPathType {
    type Err = VolumeError;

    fn from_str(text: &str) -> Result<HostPathType, VolumeError> {
        Ok(match text {
            "" => HostPathType::Unset,
            "DirectoryOrCreate" => HostPathType::DirectoryOrCreate,
            "Directory" => HostPathType::Directory,
            "FileOrCreate" => HostPathType::FileOrCreate,
            "File" => HostPathType::File,
            "Socket" => HostPathType::Socket,
            "CharDevice" => HostPathType::CharDevice,
            "BlockDevice" => HostPathType::BlockDevice,
            other => return Err(VolumeError::BadHostPathType(other.to_owned())),
        })
    }
}

impl fmt::Display for HostPathType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HostPathType::Unset => "",
            HostPathType::DirectoryOrCreate => "DirectoryOrCreate",
            HostPathType::Directory => "Directory",
            HostPathType::FileOrCreate => "FileOrCreate",
            HostPathType::File => "File",
            HostPathType::Socket => "Socket",
            HostPathType::CharDevice => "CharDevice",
            HostPathType::BlockDevice => "BlockDevice",
        })
    }
}

/// Refuses a name that would not be one component of a path.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), VolumeError> {
    let good = (1..=253).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
    if good {
        Ok(())
    } else {
        Err(VolumeError::BadName {
            what,
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_kubernetes_words_and_huge_pages_are_refused_by_name() {
        for word in [
            "",
            "DirectoryOrCreate",
            "Directory",
            "FileOrCreate",
            "File",
            "Socket",
            "CharDevice",
            "BlockDevice",
        ] {
            assert_eq!(word.parse::<HostPathType>().unwrap().to_string(), word);
        }
        let error = "directory".parse::<HostPathType>().unwrap_err();
        assert_eq!(error.to_string(), "directory is an invalid volume type");
        assert_eq!("Memory".parse::<Medium>().unwrap(), Medium::Memory);
        for word in ["HugePages", "HugePages-2Mi", "memory"] {
            let error = word.parse::<Medium>().unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn names_are_file_names() {
        for bad in ["", ".", "..", "a/b", "/", "a\0b", "a b", &"x".repeat(254)] {
            assert!(check_name("volume name", bad).is_err(), "{bad:?}");
        }
        check_name("volume name", "cache-1").unwrap();
    }
}
