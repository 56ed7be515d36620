//! One system call makes the process: with its pidfd, and in its v2 cgroup.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Who we are after the clone.
#[derive(Debug)]
pub enum Clone {
    /// The caller, with its new child.
    Parent { pid: i32, pidfd: OwnedFd },
    /// The child; whether it is in the v2 cgroup already.
    Child { in_cgroup: bool },
}

/// `struct clone_args` (clone3(2)), version 2.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// The size of version 0, before `set_tid`: Linux 5.3.
const VERSION_0: usize = 64;
const CLONE_PIDFD: u64 = 0x1000;
/// How long a process may take to end, in milliseconds.
const DYING: i32 = 100;
/// Since Linux 5.7.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks the calling process, which has one thread only.
pub fn clone(cgroup: Option<BorrowedFd<'_>>) -> io::Result<Clone> {
    match clone3(cgroup) {
        // Before Linux 5.7: the child has to go into the cgroup itself.
        Err(cause) if cgroup.is_some() && is_unknown(&cause) => clone3(None),
        result => result,
    }
}

fn is_unknown(cause: &io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(libc::EINVAL | libc::E2BIG))
}

fn clone3(cgroup: Option<BorrowedFd<'_>>) -> io::Result<Clone> {
    let mut pidfd: i32 = -1;
    let mut args = CloneArgs {
        flags: CLONE_PIDFD,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    let mut size = VERSION_0;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        // An open descriptor is never negative.
        args.cgroup = cgroup.as_raw_fd() as u64;
        size = size_of::<CloneArgs>();
    }
    // SAFETY: without CLONE_VM the child has its own copy of everything, as after fork(2), and
    // without a stack it goes on on this one. The process has one thread, so no lock is held by
    // another that the child would wait for. `pidfd` outlives the call.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size) } {
        0 => Ok(Clone::Child {
            in_cgroup: cgroup.is_some(),
        }),
        pid if pid > 0 => Ok(Clone::Parent {
            pid: i32::try_from(pid).map_err(|_| io::ErrorKind::InvalidData)?,
            // SAFETY: the kernel just gave us this descriptor.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends SIGKILL. A process that is gone is what is wanted.
pub fn kill(pidfd: BorrowedFd<'_>) {
    // SAFETY: plain numbers and no information to pass.
    unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            libc::SIGKILL,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
}

/// Reaps our child, which is about to end, waiting a moment for that. One that is frozen or hangs in
/// the kernel is left to whoever reaps the caller's children, and so is one already reaped.
pub fn reap(pidfd: BorrowedFd<'_>) {
    let mut poll = libc::pollfd {
        fd: pidfd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one valid structure.
    unsafe { libc::poll(&raw mut poll, 1, DYING) };
    // SAFETY: all-zero is a valid value, and a valid place for the result. An open descriptor is
    // never negative.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let id = pidfd.as_raw_fd().cast_unsigned();
        libc::waitid(
            libc::P_PIDFD,
            id,
            &raw mut info,
            libc::WEXITED | libc::WNOHANG,
        );
    }
}
