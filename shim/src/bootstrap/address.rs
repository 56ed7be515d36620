//! Where a group's shim listens: a path that is ours alone, never an abstract socket
//! (CVE-2020-15257), and the same for every container of the group.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

/// The directory of all shims' sockets. Short, because a socket's path is at most 107 bytes.
pub const DIRECTORY: &str = "/run/carob-shim";

/// The socket of one group of containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    path: PathBuf,
}

/// The address that a running shim listens on, until it releases it.
#[derive(Debug)]
pub struct Held {
    address: Address,
    held: AtomicBool,
}

impl Held {
    /// Takes the address from the socket that `start` made.
    ///
    /// # Errors
    /// [`AddressError::Bind`] when it has no path.
    pub fn of_listener(listener: &UnixListener) -> Result<Self, AddressError> {
        Ok(Self {
            address: Address::of_listener(listener)?,
            held: AtomicBool::new(true),
        })
    }

    /// The address in the form that containerd reads.
    pub fn url(&self) -> String {
        self.address.url()
    }

    /// Removes the socket. Later calls do nothing: by then it can be a successor's.
    pub fn release(&self) {
        if self.held.swap(false, Ordering::Relaxed) {
            self.address.release();
        }
    }
}

/// What can go wrong with the socket.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The directory of the sockets can't be used.
    #[error("the directory of the shims' sockets, {}, can't be used: {why}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The socket can't be made.
    #[error("the shim's socket {} can't be made: {cause}", path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
}

/// Who serves the group.
pub enum Claim {
    /// A running shim.
    Running,
    /// Nobody yet: serve on this socket.
    Ours(UnixListener),
}

impl Address {
    /// The address of `group` in containerd's `namespace`, for the containerd (or supervisor) that
    /// listens at `address`: two of them with the same names don't meet.
    pub fn of_group(directory: &Path, namespace: &str, address: &str, group: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [namespace, address, group] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let name: String = hash.finalize()[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            path: directory.join(name + ".sock"),
        }
    }

    fn of_listener(listener: &UnixListener) -> Result<Self, AddressError> {
        let path = listener
            .local_addr()
            .map(|address| address.as_pathname().map(Path::to_owned));
        match path {
            Ok(Some(path)) if path.is_absolute() => Ok(Self { path }),
            other => Err(AddressError::Bind {
                path: PathBuf::new(),
                cause: other
                    .err()
                    .unwrap_or_else(|| io::Error::other("it has no absolute path")),
            }),
        }
    }

    /// The address in the form that containerd reads.
    pub fn url(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// Finds the group's running shim, or makes its socket. A socket left by a killed shim is
    /// replaced. Two callers at a time get one answer: the second finds the first's socket.
    ///
    /// # Errors
    /// [`AddressError`] when the directory isn't ours alone or the socket can't be made.
    pub fn claim(&self) -> Result<Claim, AddressError> {
        let _lock = self.lock()?;
        if UnixStream::connect(&self.path).is_ok() {
            return Ok(Claim::Running);
        }
        let bind = |cause| AddressError::Bind {
            path: self.path.clone(),
            cause,
        };
        match std::fs::remove_file(&self.path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(bind(cause)),
            _ => {}
        }
        let listener = UnixListener::bind(&self.path).map_err(bind)?;
        // The directory lets nobody else in meanwhile.
        std::fs::set_permissions(&self.path, Permissions::from_mode(0o600)).map_err(bind)?;
        Ok(Claim::Ours(listener))
    }

    /// Removes the socket, which must be the caller's.
    pub fn release(&self) {
        // Without the lock a successor's socket could go; without the directory there is nothing.
        if let Ok(_lock) = self.lock() {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Removes the socket of a shim that was killed. One that answers is left alone.
    ///
    /// # Errors
    /// [`AddressError::Directory`].
    pub fn remove_stale(&self) -> Result<(), AddressError> {
        let _lock = self.lock()?;
        if UnixStream::connect(&self.path).is_err() {
            // Mostly there is none.
            let _ = std::fs::remove_file(&self.path);
        }
        Ok(())
    }

    fn directory(&self) -> &Path {
        self.path
            .parent()
            .expect("the path was made by joining a name to a directory")
    }

    fn lock(&self) -> Result<Flock<File>, AddressError> {
        let directory = self.directory();
        let bad = |why: String| AddressError::Directory {
            path: directory.to_owned(),
            why,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|cause| bad(cause.to_string()))?;
        let metadata =
            std::fs::symlink_metadata(directory).map_err(|cause| bad(cause.to_string()))?;
        if !metadata.is_dir() {
            return Err(bad("it is not a directory".into()));
        }
        if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
            return Err(bad(
                "others than its owner may enter it: make it 0700 and root's".into(),
            ));
        }
        let file = File::open(directory).map_err(|cause| bad(cause.to_string()))?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, cause)| bad(cause.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(directory: &Path) -> Address {
        Address::of_group(&directory.join("s"), "ns", "/run/x.sock", "pod1")
    }

    #[test]
    fn namespaces_addresses_and_groups_do_not_meet() {
        let directory = Path::new(DIRECTORY);
        let one = Address::of_group(directory, "a", "b", "c");
        for other in [
            ("a", "b", "d"),
            ("a", "bc", ""),
            ("ab", "", "c"),
            ("", "ab", "c"),
        ] {
            assert_ne!(one, Address::of_group(directory, other.0, other.1, other.2));
        }
        assert_eq!(one, Address::of_group(directory, "a", "b", "c"));
    }

    #[test]
    fn the_path_fits_into_a_socket_address() {
        assert!(address(Path::new("/run")).path.as_os_str().len() < 107);
        assert!(!address(Path::new("/run")).url().contains('@'));
    }

    #[test]
    fn c9_the_socket_is_for_root_alone() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let address = address(temp.path());
        assert!(matches!(address.claim(), Ok(Claim::Ours(_))));
        let mode = |path: &Path| std::fs::metadata(path).expect("it exists").mode() & 0o777;
        assert_eq!(mode(&address.path), 0o600);
        assert_eq!(mode(&temp.path().join("s")), 0o700);
    }

    #[test]
    fn a_running_shim_is_found_and_a_dead_ones_socket_replaced() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let address = address(temp.path());
        let Ok(Claim::Ours(first)) = address.claim() else {
            panic!("nobody listens")
        };
        assert!(matches!(address.claim(), Ok(Claim::Running)));
        address.remove_stale().expect("usable");
        assert!(matches!(address.claim(), Ok(Claim::Running)));
        drop(first);
        assert!(matches!(address.claim(), Ok(Claim::Ours(_))));
        address.remove_stale().expect("usable");
        assert!(!address.path.exists());
        address.release();
        assert!(!address.path.exists());
    }

    #[test]
    fn a_shim_that_ends_leaves_its_successors_socket() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let address = address(temp.path());
        let Ok(Claim::Ours(first)) = address.claim() else {
            panic!("nobody listens")
        };
        let held = Held::of_listener(&first).expect("it has a path");
        held.release();
        assert!(!address.path.exists());
        // While the first still listens.
        let Ok(Claim::Ours(_second)) = address.claim() else {
            panic!("the first has released it")
        };
        held.release();
        assert!(address.path.exists());
    }

    #[test]
    fn a_directory_that_others_may_enter_is_refused() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let directory = temp.path().join("s");
        std::fs::create_dir(&directory).expect("created");
        std::fs::set_permissions(&directory, Permissions::from_mode(0o755)).expect("changed");
        assert!(matches!(
            address(temp.path()).claim(),
            Err(AddressError::Directory { .. })
        ));
    }
}
