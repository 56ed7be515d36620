//! A Pod's network namespace, entered only by threads that end in it.

use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sched::{CloneFlags, setns};
use tokio::sync::oneshot;

use super::error::NetworkError;

/// The namespace of the calling thread; `/proc/self` would be that of the process's first thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// An open namespace: it lives as long as this value.
pub(super) struct Netns {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

impl Netns {
    /// Opens the namespace that a path (`/proc/PID/ns/net`) names.
    pub(super) fn open(path: &Path) -> Result<Netns, NetworkError> {
        let file = OpenOptions::new()
            .read(true)
            // A FIFO in its place must not make the supervisor wait.
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(|e| NetworkError::file("open the network namespace", path, e))?;
        let netns = Netns {
            file,
            path: path.to_owned(),
        };
        if netns.identity()? == own()?.identity()? {
            return Err(netns.refuse("it is the host's own"));
        }
        Ok(netns)
    }

    fn identity(&self) -> Result<(u64, u64), NetworkError> {
        let meta = self
            .file
            .metadata()
            .map_err(|e| NetworkError::file("read", &self.path, e))?;
        Ok((meta.dev(), meta.ino()))
    }

    fn refuse(&self, reason: &str) -> NetworkError {
        NetworkError::BadNamespace {
            path: self.path.clone(),
            reason: reason.to_owned(),
        }
    }

    /// Moves the calling thread into the namespace for good: to be called only within [`on_own_thread`].
    pub(super) fn enter(&self) -> Result<(), NetworkError> {
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(|error| match error {
            nix::Error::EINVAL => self.refuse("it is another kind of file"),
            other => NetworkError::kernel(
                format!("enter the network namespace {}", self.path.display()),
                other.into(),
            ),
        })
    }
}

/// Opens the network namespace of a process that has one of its own. It lives at least as long as the descriptor.
///
/// # Errors
/// [`NetworkError`], also when the process is in our own namespace.
pub fn open_namespace(pid: i32) -> Result<OwnedFd, NetworkError> {
    let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
    Ok(Netns::open(&path)?.file.into())
}

/// The calling thread's own namespace.
fn own() -> Result<Netns, NetworkError> {
    let path = Path::new(OWN);
    Ok(Netns {
        file: File::open(path).map_err(|e| NetworkError::file("open", path, e))?,
        path: path.to_owned(),
    })
}

/// Keeps other supervisors of this network namespace from choosing a subnet at the same time (a flock on the
/// namespace itself: gone with its holder, and no file has to be agreed on). Freed when dropped.
pub(super) fn lock_own() -> Result<File, NetworkError> {
    let own = own()?;
    own.file
        .lock()
        .map_err(|e| NetworkError::file("lock", &own.path, e))?;
    Ok(own.file)
}

/// Runs blocking work on a thread of its own, which ends with it: it may change its namespaces. The work goes on to its
/// end when the caller stops waiting.
pub(super) async fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NetworkError> + Send + 'static,
) -> Result<T, NetworkError> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name("carob-network".to_owned())
        .spawn(move || {
            // The receiver is gone when the caller stopped waiting; the work's effects are on record all the same.
            let _ = sender.send(work());
        })
        .map_err(|e| NetworkError::kernel("start a thread", e))?;
    receiver.await.map_err(|_| {
        NetworkError::kernel(
            "set up a network",
            std::io::Error::other("the thread that did it panicked"),
        )
    })?
}
