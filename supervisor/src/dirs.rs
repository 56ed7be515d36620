//! The directories of one supervisor: what survives a reboot (`--root`) and what doesn't (`--state`).

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;
use nix::unistd::geteuid;
use sha2::{Digest, Sha256};

use crate::private;

/// Where one supervisor keeps its things.
#[derive(Debug, Clone)]
pub struct Dirs {
    /// Images, logs, volumes: kept across reboots.
    pub root: PathBuf,
    /// Bundles, records, sockets: gone with a reboot.
    pub state: PathBuf,
}

/// Why a directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DirsError {
    /// Not run by root.
    #[error("carob needs root to make namespaces, mounts and cgroups; run it with sudo")]
    NotRoot,
    /// The path is relative.
    #[error("the directory {0:?} is relative; give an absolute path")]
    Relative(PathBuf),
    /// It belongs to someone who could change what root runs.
    #[error(
        "the directory {path:?} belongs to user {owner}; chown it to root or choose another one"
    )]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Its owner's user ID.
        owner: u32,
    },
    /// It can't be made or opened.
    #[error("cannot prepare {path:?}: {source}")]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl Dirs {
    /// Makes both directories (0700) and returns them with symbolic links resolved, so that two names
    /// of one directory are one supervisor's state.
    ///
    /// # Errors
    /// When not root, when a path is relative, owned by another user, or can't be made.
    pub fn prepare(root: &Path, state: &Path) -> Result<Self, DirsError> {
        if !geteuid().is_root() {
            return Err(DirsError::NotRoot);
        }
        let dirs = Self {
            root: private_dir(root)?,
            state: private_dir(state)?,
        };
        for sub in [dirs.bundles(), dirs.records(), dirs.pods()] {
            private_dir(&sub)?;
        }
        Ok(dirs)
    }

    /// A short name for this state directory, for kernel objects that have no path.
    pub fn tag(&self) -> String {
        tag(&self.state)
    }

    /// Bundles by Pod UID, then container and attempt.
    pub fn bundles(&self) -> PathBuf {
        self.state.join("bundles")
    }

    /// One record per Pod.
    pub fn records(&self) -> PathBuf {
        self.state.join("pods")
    }

    /// How far a Pod's logs were shown; beside its record, and gone with it.
    pub fn shown(&self, uid: &str) -> PathBuf {
        self.records().join(format!("{uid}.shown"))
    }

    /// Copies of the records that survive the machine, of the Pods of this state directory.
    pub fn durable_records(&self) -> PathBuf {
        durable_records(&self.root, &self.state)
    }

    /// The event logs of the Pods of this state directory.
    pub fn events(&self) -> PathBuf {
        self.root.join("events").join(self.tag())
    }

    /// Volumes, generated files and writable layers by Pod UID.
    pub fn pods(&self) -> PathBuf {
        self.root.join("pods")
    }

    /// The logs of one Pod, by the rule of a kubelet's `BuildPodLogsDirectory`.
    pub fn pod_logs(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.root
            .join("logs/pods")
            .join(format!("{namespace}_{name}_{uid}"))
    }

    /// Where the shim of a Pod delivers its events. Short, as a socket's path is at most 107 bytes.
    pub fn event_socket(&self, uid: &str) -> PathBuf {
        let name = hex(&Sha256::digest(uid));
        self.state.join(format!("events-{}.sock", &name[..12]))
    }

    /// The named pipes of a Pod whose output a script reads.
    pub fn pipes(&self, uid: &str) -> PathBuf {
        self.state.join(format!("io-{uid}"))
    }

    /// The cgroup that holds every process of a Pod's containers, in each hierarchy.
    pub fn pod_cgroup(&self, uid: &str) -> String {
        format!("{}/pod{uid}", self.cgroup())
    }

    /// The cgroup of all Pods of this state directory.
    pub fn cgroup(&self) -> String {
        format!("/carob/{}", self.tag())
    }

    /// Serialises what concerns all supervisors of this state directory. Held until dropped.
    ///
    /// # Errors
    /// When the lock file can't be made.
    pub fn lock(&self) -> Result<Flock<File>, DirsError> {
        let path = self.state.join("lock");
        private::lock(&path).map_err(|source| DirsError::Io { path, source })
    }
}

/// Where the records of a state directory are kept below a root directory.
pub fn durable_records(root: &Path, state: &Path) -> PathBuf {
    root.join("records").join(tag(state))
}

fn tag(state: &Path) -> String {
    hex(&Sha256::digest(state.as_os_str().as_encoded_bytes()))[..8].to_owned()
}

/// Makes `path` and what leads to it, and takes all rights on it from everyone else.
fn private_dir(path: &Path) -> Result<PathBuf, DirsError> {
    if path.is_relative() {
        return Err(DirsError::Relative(path.to_owned()));
    }
    let io = |source| DirsError::Io {
        path: path.to_owned(),
        source,
    };
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(io)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(io(e)),
        _ => {}
    }
    let meta = fs::metadata(path).map_err(io)?;
    if meta.uid() != 0 {
        return Err(DirsError::Owner {
            path: path.to_owned(),
            owner: meta.uid(),
        });
    }
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(io)?;
    }
    fs::canonicalize(path).map_err(io)
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c21_directories_are_private() {
        let temp = tempfile::tempdir().unwrap();
        let dirs = Dirs::prepare(&temp.path().join("a/root"), &temp.path().join("state")).unwrap();
        for dir in [&dirs.root, &dirs.state, &dirs.bundles(), &dirs.pods()] {
            assert_eq!(fs::metadata(dir).unwrap().mode() & 0o777, 0o700, "{dir:?}");
        }
    }

    #[test]
    fn b56_a_strangers_directory_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let foreign = temp.path().join("foreign");
        fs::create_dir(&foreign).unwrap();
        std::os::unix::fs::chown(&foreign, Some(1234), None).unwrap();
        let err = Dirs::prepare(&temp.path().join("root"), &foreign).unwrap_err();
        assert!(err.to_string().contains("belongs to user 1234"), "{err}");
    }

    #[test]
    fn two_names_of_one_state_directory_have_one_tag() {
        let temp = tempfile::tempdir().unwrap();
        let real = Dirs::prepare(&temp.path().join("root"), &temp.path().join("state")).unwrap();
        std::os::unix::fs::symlink(&real.state, temp.path().join("alias")).unwrap();
        let alias = Dirs::prepare(&temp.path().join("root"), &temp.path().join("alias")).unwrap();
        assert_eq!(real.tag(), alias.tag());
    }
}
