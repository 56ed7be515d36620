//! Tells when a directory changes, by inotify: nothing polls.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

/// A log file was written, made or renamed.
pub const LOGS: AddWatchFlags = AddWatchFlags::IN_MODIFY
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_MOVED_TO);

/// A manifest appeared, is whole, or is gone; so is the directory.
pub const MANIFESTS: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF);

/// Watches directories; wakes whenever something that was asked for happens in one of them.
pub struct Follow {
    inotify: AsyncFd<Watcher>,
}

struct Watcher(Inotify);

impl AsRawFd for Watcher {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Follow {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// When the user's inotify instances are used up.
    pub fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        // SAFETY: the watcher owns its descriptor and always returns the same one.
        let inotify = unsafe { AsyncFd::register(Watcher(inotify)) }?;
        Ok(Self { inotify })
    }

    /// Watches one more directory, for these events; again for others.
    ///
    /// # Errors
    /// When it does not exist or the user's watches are used up.
    pub fn watch(&self, dir: &Path, events: AddWatchFlags) -> io::Result<()> {
        self.inotify.get_ref().0.add_watch(dir, events)?;
        Ok(())
    }

    /// Returns when something has changed since the last call.
    ///
    /// # Errors
    /// When the kernel's queue can't be read.
    pub async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.inotify.readable().await?;
            match ready.get_inner().0.read_events() {
                Ok(_) => return Ok(()),
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
