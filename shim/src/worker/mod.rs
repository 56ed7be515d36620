//! Workers: processes forked for one operation, so that what is slow, leaks or may hang never
//! happens in the shim.
//!
//! The shim has one thread, so a plain `fork` is safe and costs no second resident process. A worker
//! keeps only the descriptors it is given, reports in packets on a socket, and exits; when it takes
//! too long it is killed. The code that names libcontainer is in [`container`], [`executor`] and
//! [`hooks`] alone.

mod console;
mod container;
mod destination;
mod executor;
mod failure;
pub mod hooks;
mod late;
mod mounts;
mod report;
mod rootfs;
mod run;
mod sources;
mod spec;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

pub use container::{CreateJob, Created, SECCOMP_CACHE};
pub use failure::WorkerError;
pub use report::{Packet, Reporter};
pub use rootfs::RootMount;
pub use run::{Given, create, remove_cgroup, run};

use crate::exec::clone::{self, Clone, clone};
use report::Receiver;

/// How long an operation may take before its worker is killed. Hooks and network file systems
/// may be slow; a container that takes longer than this is given up by every client.
pub const TIMEOUT: Duration = Duration::from_secs(120);

/// A running worker.
pub struct Worker {
    /// Its process id. The shim reaps it.
    pub pid: i32,
    pidfd: OwnedFd,
    receiver: Receiver,
}

impl Worker {
    /// Forks a worker that runs `operation`. It keeps the descriptors in `keep` and no others; in
    /// `operation` they have new numbers, those in the same order that it is called with.
    ///
    /// It starts in the v2 cgroup whose directory is `cgroup`: to move a process there later, the
    /// kernel would wait until every CPU has passed a quiet moment, some milliseconds.
    ///
    /// # Errors
    /// When the process has other threads or can't be forked.
    pub fn fork(
        cgroup: Option<BorrowedFd<'_>>,
        keep: &[BorrowedFd<'_>],
        operation: impl FnOnce(Start, Vec<OwnedFd>),
    ) -> io::Result<Self> {
        // Tests are multi-threaded, and theirs do nothing in the child that could hang it.
        if !cfg!(test) && !is_single_threaded()? {
            return Err(io::Error::other(
                "the shim has more than one thread, so it can't fork",
            ));
        }
        let (receiver, sender) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        match clone(cgroup)? {
            Clone::Parent { pid, pidfd } => {
                drop(sender);
                Ok(Self {
                    pid,
                    pidfd,
                    receiver: Receiver::new(receiver)?,
                })
            }
            Clone::Child { in_cgroup } => {
                let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    let (reporter, kept) = enter(&sender, keep);
                    operation(
                        Start {
                            reporter,
                            in_cgroup,
                        },
                        kept,
                    );
                }));
                // SAFETY: ends the process without running what the shim registered for its own
                // end; nothing of the worker's is left to be written.
                unsafe { libc::_exit(i32::from(ended.is_err())) }
            }
        }
    }

    /// The next packet. `None` when the worker, and whoever it left the socket to, is gone.
    ///
    /// # Errors
    /// When the socket can't be read.
    pub async fn receive(&mut self) -> io::Result<Option<Packet>> {
        self.receiver.receive().await
    }

    /// The next packet that has arrived already.
    ///
    /// # Errors
    /// `WouldBlock` when there is none, or when the socket can't be read.
    pub fn receive_now(&mut self) -> io::Result<Option<Packet>> {
        self.receiver.receive_now()
    }

    /// Kills the worker.
    pub fn kill(&self) {
        clone::kill(self.pidfd.as_fd());
    }
}

/// What an operation starts with.
pub struct Start {
    /// Where it reports to.
    pub reporter: Reporter,
    /// Whether it is in the v2 cgroup that it was to start in.
    pub in_cgroup: bool,
}

/// Sets up a new worker: no signals blocked, no descriptors but standard streams and `keep`.
fn enter(sender: &OwnedFd, keep: &[BorrowedFd<'_>]) -> (Reporter, Vec<OwnedFd>) {
    // The mask is inherited by hooks and by the container.
    let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    let wanted: Vec<i32> = std::iter::once(sender.as_raw_fd())
        .chain(keep.iter().map(AsRawFd::as_raw_fd))
        .collect();
    let mut kept = close_all_but(&wanted);
    let sender = kept.remove(0);
    crate::log::to_packets(sender.as_raw_fd());
    (Reporter::new(sender), kept)
}

/// Moves the wanted descriptors to the lowest numbers after the standard streams, and closes all
/// others: the listening socket, clients' connections and other containers' streams must not live
/// on in a container that waits for its start.
fn close_all_but(wanted: &[i32]) -> Vec<OwnedFd> {
    use std::os::fd::FromRawFd;
    const FIRST: i32 = 3;
    let above = FIRST + wanted.len() as i32;
    // First out of the way, then into their places: no number is overwritten that is still wanted.
    let moved: Vec<i32> = wanted
        .iter()
        // SAFETY: duplicating a descriptor number touches no memory.
        .map(|fd| unsafe { libc::fcntl(*fd, libc::F_DUPFD_CLOEXEC, above) })
        .collect();
    let placed = moved.iter().zip(FIRST..).map(|(fd, place)| {
        // SAFETY: as above; a failed duplicate is -1, which dup3 refuses.
        unsafe { libc::dup3(*fd, place, libc::O_CLOEXEC) }
    });
    let placed: Vec<i32> = placed.collect();
    // SAFETY: the numbers from `above` on belong to the shim's values, none of which is used or
    // dropped in the worker.
    unsafe { libc::syscall(libc::SYS_close_range, above as u32, u32::MAX, 0) };
    // SAFETY: each place was just filled and belongs to nobody else here.
    placed
        .into_iter()
        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
        .collect()
}

/// Whether this process has one thread: `/proc/self/task` has a link for itself, its parent and
/// each thread.
fn is_single_threaded() -> io::Result<bool> {
    Ok(std::fs::metadata("/proc/self/task")?.nlink() == 3)
}

/// Makes a pipe whose ends are closed by `execve`: (reading end, writing end).
///
/// # Errors
/// When there are too many descriptors.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?)
}
