//! A further process in a running container.
//!
//! The shim clones itself once: straight into the container's PID namespace (which it enters for its
//! children just for that moment) and, where the kernel can, straight into its v2 cgroup. So the new
//! process is the shim's child and nobody stands in between. The child joins the v1 cgroups, enters
//! the other namespaces by init's pidfd in one call, and goes through the same last steps as init.
//!
//! Needs Linux 5.8, and a caller with one thread only.

mod child;
pub(crate) mod clone;
mod namespaces;
mod report;
mod terminal;
pub mod tree;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::cgroup::{Cgroup, CgroupError};
use crate::process::{ProcessSetup, StartError, block_signals, restore_signals};

use clone::Clone;
use namespaces::Namespaces;
use report::Message;

pub use terminal::Size;

/// What to start, and where.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    /// The container's init, as we see it.
    pub init_pid: i32,
    /// Its pidfd, opened while it was certainly our child.
    pub init_pidfd: BorrowedFd<'a>,
    /// From [`ProcessSetup::for_exec`].
    pub setup: &'a ProcessSetup,
    /// The container's cgroup.
    pub cgroup: &'a Cgroup,
    /// Standard input, output and error.
    pub streams: Streams,
    /// Its orphaned descendants become its children instead of the container's init's, so that [`tree::kill`] finds
    /// them all. Something that the program may see, so only for those who ask.
    pub subreaper: bool,
}

/// The standard streams of the new process.
#[derive(Debug)]
pub enum Streams {
    /// These descriptors.
    Given([OwnedFd; 3]),
    /// A new terminal of this size, made in the container's own devpts. Its master comes back in
    /// [`ExecProcess::console`].
    Terminal(Size),
}

/// Why a process could not be started in a container.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The container's init is gone.
    #[error("the container has stopped: nothing can be started in it any more")]
    Stopped,
    /// The process itself could not become the program.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its cgroup could not be used.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// It did not get to its program in time and was killed.
    #[error("the process did not start within {0:?} (is the container paused, or its disk hung?)")]
    TimedOut(Duration),
    /// A system call failed.
    #[error("can't {action}: {cause}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
}

impl ExecError {
    fn io(action: &'static str, cause: io::Error) -> Self {
        Self::Io { action, cause }
    }
}

/// A started process. It is a child of the caller, who has to reap it.
#[derive(Debug)]
pub struct ExecProcess {
    /// The number by which we know it.
    pub pid: i32,
    /// Its pidfd.
    pub pidfd: OwnedFd,
    /// The master of its terminal, when one was asked for.
    pub console: Option<OwnedFd>,
}

/// A process on its way to its program. Readable (`AsFd`) when it is there or has failed; dropping
/// it does not end the process.
#[derive(Debug)]
pub struct Starting {
    process: ExecProcess,
    report: OwnedFd,
}

/// Starts a process in a running container and returns at once; ask [`Starting::finish`] when it is
/// readable, or [`Starting::wait`].
///
/// The caller must have one thread only, and the container must not be paused.
///
/// # Errors
/// [`ExecError`], when there is no process at all.
pub fn spawn(request: ExecRequest<'_>) -> Result<Starting, ExecError> {
    let namespaces = Namespaces::of(request.init_pid, request.init_pidfd)?;
    let (report, to_parent) =
        report::pair().map_err(|cause| ExecError::io("make a socket pair", cause))?;
    let unified = request.cgroup.open_unified()?;

    let mask = block_signals().map_err(|cause| ExecError::io("block signals", cause))?;
    let cloned = namespaces.with_children_inside(|| {
        let clone = clone::clone(unified.as_ref().map(AsFd::as_fd));
        match clone {
            // A v2 cgroup that hands controllers to cgroups of its own takes no process. Init is
            // then in one of those.
            Err(cause) if cause.raw_os_error() == Some(libc::EBUSY) => {
                let inner = request
                    .cgroup
                    .open_unified_of(request.init_pid)
                    .ok()
                    .flatten();
                inner.map_or(Err(cause), |inner| clone::clone(Some(inner.as_fd())))
            }
            result => result,
        }
    });
    if let Ok(Clone::Child { in_cgroup }) = cloned {
        child::run(&request, &namespaces, in_cgroup, to_parent);
    }
    restore_signals(&mask);
    match cloned.map_err(no_process)? {
        Clone::Parent { pid, pidfd } => Ok(Starting {
            process: ExecProcess {
                pid,
                pidfd,
                console: None,
            },
            report,
        }),
        Clone::Child { .. } => unreachable!("the child never returns from child::run"),
    }
}

fn no_process(cause: io::Error) -> ExecError {
    match cause.raw_os_error() {
        // A PID namespace whose init has died takes no process.
        Some(libc::ENOMEM | libc::ESRCH) => ExecError::Stopped,
        _ => ExecError::io("clone a process into the container", cause),
    }
}

impl AsFd for Starting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }
}

impl AsRawFd for Starting {
    fn as_raw_fd(&self) -> i32 {
        self.report.as_raw_fd()
    }
}

impl Starting {
    /// The process's number; it may still fail to start.
    pub fn pid(&self) -> i32 {
        self.process.pid
    }

    /// Takes what is there without blocking: `Ok(None)` when the process is still on its way. A
    /// process that failed has normally been reaped when this returns; it may as well turn up among
    /// the caller's ended children.
    ///
    /// # Errors
    /// [`ExecError::Start`] with what went wrong in the process.
    pub fn poll(&mut self) -> Result<Option<ExecProcess>, ExecError> {
        loop {
            match report::receive(&self.report) {
                Ok(Message::Console(master)) => self.process.console = Some(master),
                Ok(Message::Failed(error)) => {
                    self.reap();
                    return Err(error.into());
                }
                Ok(Message::End) => return self.take().map(Some),
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(cause) => {
                    self.kill();
                    return Err(ExecError::io("hear from the new process", cause));
                }
            }
        }
    }

    /// Waits at most `timeout` for the process to be at its program. One that isn't is killed.
    ///
    /// # Errors
    /// As [`Starting::poll`], and [`ExecError::TimedOut`].
    pub fn wait(mut self, timeout: Duration) -> Result<ExecProcess, ExecError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(process) = self.poll()? {
                return Ok(process);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.kill();
                return Err(ExecError::TimedOut(timeout));
            }
            report::wait_readable(&self.report, left)
                .map_err(|cause| ExecError::io("wait for the new process", cause))?;
        }
    }

    /// Gives up on the process: kills and reaps it.
    pub fn abandon(self) {
        self.kill();
    }

    fn take(&mut self) -> Result<ExecProcess, ExecError> {
        let pidfd = self.process.pidfd.try_clone();
        Ok(ExecProcess {
            pid: self.process.pid,
            pidfd: pidfd.map_err(|cause| ExecError::io("keep the pidfd", cause))?,
            console: self.process.console.take(),
        })
    }

    fn kill(&self) {
        clone::kill(self.process.pidfd.as_fd());
        self.reap();
    }

    fn reap(&self) {
        clone::reap(self.process.pidfd.as_fd());
    }
}
