//! Waiting for a descriptor in the runtime, and reading and writing without ever blocking it.

use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Makes the descriptor non-blocking and has the current runtime watch it.
///
/// # Errors
/// When it can't be watched: regular files can't.
pub fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    // SAFETY: an `OwnedFd` always names the same open descriptor, and `AsyncFd` keeps it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// Reads what is there, waiting for it. 0 is the end.
///
/// # Errors
/// What the kernel says.
pub async fn read(fd: &AsyncFd<OwnedFd>, into: &mut [u8]) -> io::Result<usize> {
    loop {
        let mut ready = fd.readable().await?;
        if let Ok(done) = ready.try_io(|fd| read_now(fd.get_ref(), into)) {
            return done;
        }
    }
}

/// Reads what is there. 0 is the end.
///
/// # Errors
/// `WouldBlock` when nothing is there, or what the kernel says.
pub fn read_now(fd: &OwnedFd, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match nix::unistd::read(fd, into) {
            Err(Errno::EINTR) => {}
            done => return Ok(done?),
        }
    }
}
