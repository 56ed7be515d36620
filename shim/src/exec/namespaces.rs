//! The namespaces of a container that differ from ours.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;

use super::ExecError;
use super::clone::Clone;

/// Names below `/proc/PID/ns` with their flags (namespaces(7)).
const KINDS: [(&str, i32); 8] = [
    ("user", libc::CLONE_NEWUSER),
    ("mnt", libc::CLONE_NEWNS),
    ("net", libc::CLONE_NEWNET),
    ("ipc", libc::CLONE_NEWIPC),
    ("uts", libc::CLONE_NEWUTS),
    ("cgroup", libc::CLONE_NEWCGROUP),
    ("pid", libc::CLONE_NEWPID),
    ("time", CLONE_NEWTIME),
];
const CLONE_NEWTIME: i32 = 0x80;

/// Which namespaces to enter, and whose.
#[derive(Debug)]
pub struct Namespaces<'a> {
    flags: i32,
    init: BorrowedFd<'a>,
}

impl<'a> Namespaces<'a> {
    /// Those of the container's init that are not the caller's.
    pub fn of(pid: i32, pidfd: BorrowedFd<'a>) -> Result<Self, ExecError> {
        let mut flags = 0;
        for (name, flag) in KINDS {
            let id = |process: &str| {
                fs::metadata(format!("/proc/{process}/ns/{name}")).map(|ns| (ns.dev(), ns.ino()))
            };
            match (id(&pid.to_string()), id("self")) {
                (Ok(theirs), Ok(ours)) if theirs == ours => {}
                (Ok(_), Ok(_)) => flags |= flag,
                // A kind that this kernel has not got.
                (_, Err(cause)) if cause.raw_os_error() == Some(libc::ENOENT) => {}
                (Err(cause), Ok(_)) if is_gone(&cause) => return Err(ExecError::Stopped),
                (Err(cause), _) | (_, Err(cause)) => {
                    return Err(ExecError::io("read the container's namespaces", cause));
                }
            }
        }
        // What was read was init's only if init is still there: its number may belong to another.
        // SAFETY: plain numbers and no information to pass; signal 0 only asks.
        let alive = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                pidfd.as_raw_fd(),
                0,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        if alive != 0 {
            return Err(ExecError::Stopped);
        }
        Ok(Self { flags, init: pidfd })
    }

    /// Whether the container has a user namespace of its own.
    pub fn has_user(&self) -> bool {
        self.flags & libc::CLONE_NEWUSER != 0
    }

    /// Runs `clone` with the caller's children going into the container's PID namespace. In the
    /// caller everything is as before when this returns.
    pub fn with_children_inside(
        &self,
        clone: impl FnOnce() -> io::Result<Clone>,
    ) -> io::Result<Clone> {
        if self.flags & libc::CLONE_NEWPID == 0 {
            return clone();
        }
        let own = File::open("/proc/self/ns/pid")?;
        set_namespaces(self.init.as_raw_fd(), libc::CLONE_NEWPID)?;
        let result = clone();
        if !matches!(result, Ok(Clone::Child { .. })) {
            // Every later child would land in the container otherwise.
            set_namespaces(own.as_raw_fd(), libc::CLONE_NEWPID)
                .expect("a process may always return to its own PID namespace");
        }
        result
    }

    /// Enters all of them but the PID namespace, which the caller was cloned into.
    pub fn enter(&self) -> io::Result<()> {
        match self.flags & !libc::CLONE_NEWPID {
            0 => Ok(()),
            flags => set_namespaces(self.init.as_raw_fd(), flags),
        }
    }
}

fn is_gone(cause: &io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

fn set_namespaces(fd: i32, flags: i32) -> io::Result<()> {
    // SAFETY: plain numbers.
    if unsafe { libc::setns(fd, flags) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
