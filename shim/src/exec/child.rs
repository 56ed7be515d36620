//! What the new process does before the last steps.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::process::{StartError, become_root};

use super::namespaces::Namespaces;
use super::{ExecRequest, Streams, report, terminal};

/// The exit status of a process that never was its program, as a shell's.
const STATUS: i32 = 127;

/// Becomes the program, or reports why not and ends. Everything here has only this one thread.
pub fn run(
    request: &ExecRequest<'_>,
    namespaces: &Namespaces<'_>,
    in_cgroup: bool,
    socket: OwnedFd,
) -> ! {
    let error = match enter(request, namespaces, in_cgroup, socket.as_fd()) {
        Ok(()) => request.setup.exec(),
        Err(error) => error,
    };
    report::fail(socket.as_fd(), &error);
    // SAFETY: ends this process, running nothing that was the parent's.
    unsafe { libc::_exit(STATUS) }
}

/// Goes into the container.
fn enter(
    request: &ExecRequest<'_>,
    namespaces: &Namespaces<'_>,
    in_cgroup: bool,
    socket: BorrowedFd<'_>,
) -> Result<(), StartError> {
    request.setup.before_namespaces()?;
    let joined = if in_cgroup {
        request.cgroup.join_v1()
    } else {
        request.cgroup.join(0)
    };
    joined.map_err(|error| StartError::other(error.to_string()))?;
    if let Streams::Given(streams) = &request.streams {
        place(streams)?;
    }
    // From the moment we can be seen in the container, nothing in it may look into us
    // (CVE-2016-9962). `execve` ends that.
    // SAFETY: plain numbers.
    if unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) } != 0 {
        return Err(last("become undumpable"));
    }
    namespaces
        .enter()
        .map_err(|cause| failed("enter the container's namespaces", &cause))?;
    if namespaces.has_user() {
        become_root().map_err(|cause| failed("become the container's root", &cause))?;
    }
    // SAFETY: plain numbers.
    if request.subreaper && unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } != 0 {
        return Err(last("become the subreaper of the descendants"));
    }
    // SAFETY: takes nothing; fails only for a leader of a process group, which a new process isn't.
    unsafe { libc::setsid() };
    if let Streams::Terminal(size) = request.streams {
        let (master, slave) =
            terminal::open(size).map_err(|cause| failed("open a terminal", &cause))?;
        for stream in 0..3 {
            duplicate(slave.as_fd(), stream)?;
        }
        terminal::control(&slave).map_err(|cause| failed("take over the terminal", &cause))?;
        report::send_console(socket, master.as_fd())
            .map_err(|cause| failed("hand over the terminal", &cause))?;
    }
    close_all_but(socket);
    Ok(())
}

/// Puts the streams at 0, 1 and 2.
fn place(streams: &[OwnedFd; 3]) -> Result<(), StartError> {
    let mut copies = [-1; 3];
    for (copy, stream) in copies.iter_mut().zip(streams) {
        // Out of the way first: one of them may be at another's place.
        // SAFETY: plain numbers.
        *copy = unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) };
        if *copy < 0 {
            return Err(last("duplicate a standard stream"));
        }
    }
    for (copy, stream) in copies.into_iter().zip(0..) {
        // SAFETY: the copies were just made and are closed by `close_all_but` only.
        duplicate(unsafe { BorrowedFd::borrow_raw(copy) }, stream)?;
    }
    Ok(())
}

/// `dup2`, which also takes the close-on-exec mark off.
fn duplicate(from: BorrowedFd<'_>, to: i32) -> Result<(), StartError> {
    // SAFETY: the numbers 0 to 2 are nobody's property here.
    if unsafe { libc::dup2(from.as_raw_fd(), to) } < 0 {
        return Err(last("set up a standard stream"));
    }
    Ok(())
}

/// Closes all that was the shim's. Before Linux 5.9 it stays open until `execve`, at which all of it
/// closes by its marks.
fn close_all_but(socket: BorrowedFd<'_>) {
    // An open descriptor is never negative, and is above the streams.
    let kept = socket.as_raw_fd().cast_unsigned();
    for (first, last) in [(3, kept - 1), (kept + 1, u32::MAX)] {
        if first <= last {
            // SAFETY: nobody uses any of these descriptors again: this process only goes on to
            // `execve` or ends without running destructors.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
}

fn failed(action: &str, cause: &io::Error) -> StartError {
    StartError::other(format!("can't {action}: {cause}"))
}

fn last(action: &str) -> StartError {
    failed(action, &io::Error::last_os_error())
}
