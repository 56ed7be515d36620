//! Reaps every child of the shim, and says what became of it.
//!
//! Children are workers, what libcontainer clones as the worker's siblings (its short-lived
//! intermediate process and the container's init), exec'd processes, loggers, and orphans that the
//! kernel gives to the shim as their subreaper. Whoever waits for a child must not wait by itself:
//! only [`Children::reap`] does.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code, or 128 plus the signal's number.
    pub status: u32,
    /// When the shim learned of it.
    pub at: Timestamp,
}

impl Exit {
    /// An exit with `status`, now.
    pub fn now(status: u32) -> Self {
        Self {
            status,
            at: Timestamp::now(),
        }
    }
}

/// The signals that the shim waits for, blocked for the process and read from a descriptor.
pub struct Signals {
    fd: SignalFd,
    /// The same, as the runtime watches it.
    ready: AsyncFd<OwnedFd>,
}

/// What a signal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Some child ended: call [`Children::reap`].
    Child,
    /// The shim is asked to end.
    End,
}

impl Signals {
    /// Blocks the signals. To be called in the runtime, before the first child is forked.
    ///
    /// # Errors
    /// When the descriptor can't be made.
    pub fn new() -> io::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGCHLD);
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGINT);
        set.thread_block()?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let ready = crate::ready::watch(fd.as_fd().try_clone_to_owned()?, Interest::READABLE)?;
        Ok(Self { fd, ready })
    }

    /// The next signal's meaning.
    ///
    /// # Errors
    /// When the descriptor can't be read, which doesn't happen on a healthy machine.
    pub async fn next(&self) -> io::Result<Notice> {
        loop {
            let mut ready = self.ready.readable().await?;
            match self.fd.read_signal() {
                Ok(Some(info)) if info.ssi_signo == Signal::SIGCHLD as u32 => {
                    return Ok(Notice::Child);
                }
                Ok(Some(_)) => return Ok(Notice::End),
                Ok(None) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Comes when a child has ended.
pub type Exited = oneshot::Receiver<Exit>;

/// Who waits for which child.
#[derive(Default)]
pub struct Children {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    watched: HashMap<i32, oneshot::Sender<Exit>>,
    /// Children that ended while somebody was about to learn of a new one: it may be theirs.
    strays: HashMap<i32, Exit>,
    expecting: usize,
}

/// While this exists, an exit that nobody watches yet is kept.
pub struct Expecting<'a>(&'a Children);

impl Children {
    /// To be held from before a process can be made until it is watched: it may end before its
    /// parent even knows its id.
    pub fn expect(&self) -> Expecting<'_> {
        self.state().expecting += 1;
        Expecting(self)
    }

    /// The end of child `pid`.
    pub fn watch(&self, pid: i32) -> Exited {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        match state.strays.remove(&pid) {
            // The receiver is right here.
            Some(exit) => drop(sender.send(exit)),
            None => drop(state.watched.insert(pid, sender)),
        }
        receiver
    }

    /// Reaps all children that have ended, and tells those who wait for them.
    pub fn reap(&self) {
        while let Some((pid, exit)) = next() {
            let mut state = self.state();
            match state.watched.remove(&pid) {
                // Whoever waited may have given up.
                Some(sender) => drop(sender.send(exit)),
                None if state.expecting > 0 => drop(state.strays.insert(pid, exit)),
                None => tracing::debug!("reaped orphan {pid} with status {}", exit.status),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no code panics while it holds the children")
    }
}

impl Drop for Expecting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.expecting -= 1;
        if state.expecting == 0 {
            state.strays.clear();
        }
    }
}

/// Reaps one ended child. `None` when no other has ended.
///
/// The child is first looked at and then reaped by its id, so that a process which somebody asks
/// the kernel about is never one that took over a reaped child's id.
fn next() -> Option<(i32, Exit)> {
    loop {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let (pid, status) = match waitid(Id::All, look) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, code as u32),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as u32),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return None,
            Ok(_) | Err(Errno::EINTR) => continue,
            // A real-time signal has no name, and nix refuses to decode it.
            Err(Errno::EINVAL) => return reap_unnamed(),
            Err(error) => {
                tracing::error!("children can't be waited for: {error}");
                return None;
            }
        };
        let exit = Exit::now(status);
        reap(pid);
        return Some((pid.as_raw(), exit));
    }
}

fn reap(pid: Pid) {
    // It has ended and is ours, so this returns at once; its status is known already.
    let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
}

/// Reaps a child that was killed by a real-time signal.
fn reap_unnamed() -> Option<(i32, Exit)> {
    let mut status = 0;
    // SAFETY: the kernel writes one integer to a valid place.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    (pid > 0).then(|| {
        let code = if libc::WIFSIGNALED(status) {
            128 + libc::WTERMSIG(status)
        } else {
            libc::WEXITSTATUS(status)
        };
        (pid, Exit::now(code as u32))
    })
}
