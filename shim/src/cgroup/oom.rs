//! Notices when the kernel kills a process of a container for lack of memory.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::{Cgroup, CgroupError, dir};

/// How to wait for an [`OomWatch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The descriptor becomes readable (`POLLIN`): v1.
    Readable,
    /// The descriptor has an exceptional condition (`POLLPRI`): v2. It is always readable, so don't
    /// ask for that.
    Priority,
}

/// What a wake-up was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OomEvent {
    /// Nothing that concerns us.
    None,
    /// v1 only: memory has run out but nobody was killed yet. The kill that follows wakes nobody,
    /// so ask again shortly, and when a process of the container has ended.
    Imminent,
    /// So many processes were killed since the last question.
    Killed(u64),
    /// The cgroup is gone.
    Gone,
}

/// Watches one container's cgroup.
///
/// v1 has an event descriptor on `memory.oom_control`. On v2 `memory.events` itself is polled,
/// rather than watched by inotify, of which a user has only 128 instances.
#[derive(Debug)]
pub struct OomWatch {
    /// v1: the event descriptor; v2: `memory.events`.
    fd: OwnedFd,
    wake: Wake,
    /// The file with the counter.
    file: File,
    path: PathBuf,
    seen: u64,
}

impl OomWatch {
    pub(super) fn new(cgroup: &Cgroup) -> Result<Self, CgroupError> {
        let dir = cgroup.dir_for("memory", "watching for lack of memory")?;
        let wake = if dir.hierarchy.unified {
            Wake::Priority
        } else {
            Wake::Readable
        };
        let name = if wake == Wake::Priority {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        let path = dir.path.join(name);
        let file = File::open(&path).map_err(|cause| CgroupError::io("open", &path, cause))?;
        let fd = match wake {
            Wake::Priority => file.try_clone().map(OwnedFd::from),
            Wake::Readable => event_fd(),
        }
        .map_err(|cause| CgroupError::io("watch", &path, cause))?;
        if wake == Wake::Readable {
            let line = format!("{} {}", fd.as_raw_fd(), file.as_raw_fd());
            dir.write("cgroup.event_control", &line)?;
        }
        let mut watch = Self {
            fd,
            wake,
            file,
            path,
            seen: 0,
        };
        // What happened before is not news. Reading also arms the v2 poll.
        watch.seen = watch.count()?.unwrap_or(0);
        Ok(watch)
    }

    /// How to wait for the descriptor.
    pub fn wake(&self) -> Wake {
        self.wake
    }

    /// What has happened since the last question. To be asked when the descriptor wakes, and once
    /// more when the container's process has ended: the counter rises before the process is killed,
    /// so the answer is then final. Never blocks.
    ///
    /// # Errors
    /// [`CgroupError::Io`] when the counter can't be read.
    pub fn check(&mut self) -> Result<OomEvent, CgroupError> {
        let mut woken = false;
        if self.wake == Wake::Readable {
            let mut count = [0; 8];
            let mut events = File::from(
                self.fd
                    .try_clone()
                    .map_err(|cause| CgroupError::io("read", &self.path, cause))?,
            );
            woken = events.read(&mut count).is_ok();
        }
        let Some(count) = self.count()? else {
            return Ok(OomEvent::Gone);
        };
        let killed = count.saturating_sub(self.seen);
        self.seen = count;
        Ok(match (killed, woken) {
            (0, false) => OomEvent::None,
            (0, true) => OomEvent::Imminent,
            (killed, _) => OomEvent::Killed(killed),
        })
    }

    /// The `oom_kill` counter; `None` when the cgroup is gone.
    fn count(&self) -> Result<Option<u64>, CgroupError> {
        let mut text = [0; 512];
        match self.file.read_at(&mut text, 0) {
            Ok(length) => Ok(Some(oom_kill(&text[..length]))),
            Err(cause) if dir::gone(&cause) => Ok(None),
            Err(cause) => Err(CgroupError::io("read", &self.path, cause)),
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for OomWatch {
    fn as_raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}

fn event_fd() -> io::Result<OwnedFd> {
    // SAFETY: eventfd(2) takes plain numbers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn oom_kill(text: &[u8]) -> u64 {
    String::from_utf8_lossy(text)
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::oom_kill;

    #[test]
    fn the_counter_is_found_in_both_versions() {
        assert_eq!(
            oom_kill(b"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
            3
        );
        assert_eq!(
            oom_kill(b"low 0\nhigh 0\nmax 5\noom 2\noom_kill 1\noom_group_kill 0\n"),
            1
        );
        assert_eq!(oom_kill(b""), 0);
    }
}
