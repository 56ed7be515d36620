//! The system calls of the last steps that `nix` and `libc` have no safe or direct form of.
//!
//! Raw calls where the C library would speak to all threads (setuid and its like): the process here
//! has one, and may be a clone the C library knows nothing of.

use std::ffi::{CStr, CString};
use std::io;
use std::ptr;

/// An OK for 0 (and what is above).
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// prctl(2) with plain numbers.
pub fn prctl(option: i32, second: u64, third: u64) -> io::Result<libc::c_long> {
    // SAFETY: callers use only options whose arguments are numbers.
    check(unsafe { libc::syscall(libc::SYS_prctl, option, second, third, 0u64, 0u64) })
}

/// setgroups(2) for the calling thread.
pub fn setgroups(groups: &[libc::gid_t]) -> io::Result<()> {
    // SAFETY: the pointer and the length are of one slice.
    check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) }).map(drop)
}

/// setresgid(2) for the calling thread.
pub fn setresgid(gid: libc::gid_t) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) }).map(drop)
}

/// setresuid(2) for the calling thread.
pub fn setresuid(uid: libc::uid_t) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

/// Effective, permitted and inheritable capabilities as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
}

/// `_LINUX_CAPABILITY_VERSION_3`: 64 bits in two halves.
const CAP_VERSION: u32 = 0x2008_0522;

/// capget(2) of the calling thread.
pub fn capget() -> io::Result<Caps> {
    let mut header = CapHeader {
        version: CAP_VERSION,
        pid: 0,
    };
    let mut data = [[0u32; 3]; 2];
    // SAFETY: both structures are as the kernel wants them for this version.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    let join = |at: usize| u64::from(data[0][at]) | u64::from(data[1][at]) << 32;
    Ok(Caps {
        effective: join(0),
        permitted: join(1),
        inheritable: join(2),
    })
}

/// capset(2) of the calling thread.
pub fn capset(caps: Caps) -> io::Result<()> {
    let mut header = CapHeader {
        version: CAP_VERSION,
        pid: 0,
    };
    // The halves are cut off on purpose.
    let half = |shift: u32| {
        [caps.effective, caps.permitted, caps.inheritable].map(|set| (set >> shift) as u32)
    };
    let data = [half(0), half(32)];
    // SAFETY: both structures are as the kernel wants them for this version.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) }).map(drop)
}

/// Marks every descriptor from `first` on to be closed at `execve`.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    /// `CLOSE_RANGE_CLOEXEC`, since Linux 5.11.
    const CLOEXEC: u32 = 4;
    // SAFETY: plain numbers; marking closes nothing now.
    match check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOEXEC) }) {
        Ok(_) => Ok(()),
        Err(cause) if matches!(cause.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) => {
            mark_one_by_one(first)
        }
        Err(cause) => Err(cause),
    }
}

fn mark_one_by_one(first: u32) -> io::Result<()> {
    // SAFETY: all-zero is a valid value.
    let mut limit: libc::rlimit = unsafe { std::mem::zeroed() };
    // SAFETY: `limit` is a valid place for the result.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for fd in first..u32::try_from(limit.rlim_cur).unwrap_or(u32::MAX) {
        // SAFETY: plain numbers; one that isn't open gives EBADF, which is as good.
        unsafe { libc::fcntl(fd.cast_signed(), libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// execve(2). Returns only on failure.
pub fn execve(path: &CString, args: &[CString], env: &[&CStr]) -> io::Error {
    let pointers = |list: &mut dyn Iterator<Item = *const libc::c_char>| {
        list.chain([ptr::null()]).collect::<Vec<_>>()
    };
    let args = pointers(&mut args.iter().map(|text| text.as_ptr()));
    let env = pointers(&mut env.iter().map(|text| text.as_ptr()));
    // SAFETY: both lists end with null, and their strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}
