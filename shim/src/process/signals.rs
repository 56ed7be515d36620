//! Signals: nothing that we block or ignore may reach the container's program.

use std::io;
use std::mem::zeroed;
use std::ptr;

/// The largest signal number (SIGRTMAX, with glibc's own two real-time signals counted).
const LAST: i32 = 64;

/// Blocks every signal of the calling thread and returns the old mask. Around a fork this keeps
/// handlers of ours from running in the child, where they would speak through the parent's
/// descriptors.
///
/// # Errors
/// What sigprocmask(2) says; in practice never.
pub fn block_signals() -> io::Result<libc::sigset_t> {
    // SAFETY: all-zero is a valid signal set, and both are valid places.
    unsafe {
        let (mut all, mut old): (libc::sigset_t, libc::sigset_t) = (zeroed(), zeroed());
        libc::sigfillset(&raw mut all);
        if libc::sigprocmask(libc::SIG_SETMASK, &raw const all, &raw mut old) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(old)
    }
}

/// Sets the mask that [`block_signals`] returned.
pub fn restore_signals(mask: &libc::sigset_t) {
    // SAFETY: `mask` is a valid signal set; there is nothing else that could fail.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, ptr::from_ref(mask), ptr::null_mut()) };
}

/// Gives every signal its default action: ignored ones (Rust ignores SIGPIPE) stay ignored after
/// `execve` otherwise.
pub fn reset_actions() {
    for signal in 1..=LAST {
        let mut default = KernelAction::default();
        // The C library refuses its own two signals, the kernel knows no such exception. SIGKILL and
        // SIGSTOP give EINVAL: they have no action to reset.
        // SAFETY: the structure is the kernel's; SIG_DFL (0) needs no handler.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                &raw mut default,
                ptr::null_mut::<KernelAction>(),
                size_of::<u64>(),
            )
        };
    }
}

/// The kernel's `struct sigaction`; all-zero is SIG_DFL. Some architectures have no restorer: then
/// the mask comes earlier and the rest is not read.
#[repr(C)]
#[derive(Default)]
struct KernelAction {
    handler: usize,
    flags: libc::c_ulong,
    restorer: usize,
    mask: u64,
}

/// Lets every signal through.
pub fn unblock() {
    // SAFETY: all-zero with sigemptyset is a valid signal set.
    unsafe {
        let mut none: libc::sigset_t = zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}
