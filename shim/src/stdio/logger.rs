//! A logging program (`binary://`), as containerd documents it: descriptors 3 and 4 are the
//! container's standard output and error, and it closes descriptor 5 when it is ready; the container
//! is made only then. It gets the container's id and namespace in its environment, and nothing else.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::Interest;

use super::{Owner, StdioError, Stream};
use crate::ready;
use crate::reap::Exited;
use crate::worker::{Packet, Reporter, Worker, pipe};

/// How long it may take to become ready (containerd's own limit).
const READY: Duration = Duration::from_secs(10);
/// How long it may take to end once its input has.
const END: Duration = Duration::from_secs(10);

/// A running logging program.
pub struct Logger {
    program: PathBuf,
    worker: Worker,
    ended: Option<Exited>,
    ready: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Logger {
    /// Starts the program.
    ///
    /// # Errors
    /// When no process can be made. That the program doesn't exist is told by [`Logger::ready`].
    pub fn start(program: &Path, args: &[String], owner: Owner<'_>) -> io::Result<Self> {
        let (stdout, stdout_writer) = pipe()?;
        let (stderr, stderr_writer) = pipe()?;
        let (ready, ready_writer) = pipe()?;
        let mut command = Command::new(program);
        command.args(args).env_clear();
        command
            .env("CONTAINER_ID", owner.container)
            .env("CONTAINER_NAMESPACE", owner.namespace);
        let keep = [stdout.as_fd(), stderr.as_fd(), ready_writer.as_fd()];
        let worker = Worker::fork(None, &keep, |start, kept| {
            become_program(&mut command, start.reporter, kept);
        })?;
        let ended = Some(owner.children.watch(worker.pid));
        Ok(Self {
            program: program.to_owned(),
            worker,
            ended,
            ready: Some(ready),
            stdout: Some(stdout_writer),
            stderr: Some(stderr_writer),
        })
    }

    /// Waits until the program is ready.
    ///
    /// # Errors
    /// [`StdioError::Logger`] when it can't be executed or isn't ready in time.
    pub async fn ready(&mut self) -> Result<(), StdioError> {
        let failed = |cause| StdioError::Logger {
            path: self.program.clone(),
            cause,
        };
        // The socket is closed by `execve`.
        match self.worker.receive().await {
            Ok(Some(Packet::Failed(why))) => return Err(failed(io::Error::other(why))),
            Ok(_) => {}
            Err(error) => return Err(failed(error)),
        }
        let Some(ready) = self.ready.take() else {
            return Ok(());
        };
        let wait = async {
            let ready = ready::watch(ready, Interest::READABLE)?;
            // A byte or the end: both mean ready.
            ready::read(&ready, &mut [0]).await
        };
        match tokio::time::timeout(READY, wait).await {
            Ok(done) => done.map(drop).map_err(failed),
            Err(_) => Err(failed(io::Error::other(
                "it did not close descriptor 5 in 10 seconds",
            ))),
        }
    }

    /// The end that the container writes `stream` to. Once.
    pub fn writer(&mut self, stream: Stream) -> Option<OwnedFd> {
        match stream {
            Stream::Stdout => self.stdout.take(),
            Stream::Stderr => self.stderr.take(),
        }
    }
}

impl Drop for Logger {
    /// Its input has ended with the container; if it doesn't end soon, it is killed.
    fn drop(&mut self) {
        let Some(ended) = self.ended.take() else {
            return;
        };
        let pid = Pid::from_raw(self.worker.pid);
        tokio::spawn(async move {
            if tokio::time::timeout(END, ended).await.is_err() {
                // It is reaped only after `ended`, so the id is still its own.
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
    }
}

/// Puts the descriptors into their places and executes the program. Returns only on failure.
fn become_program(command: &mut Command, reporter: Reporter, kept: Vec<OwnedFd>) {
    let up = |fd: BorrowedFd<'_>| fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(16));
    // The worker's own socket, and the descriptors themselves, are in the way: all move up first.
    let Ok(reporter) = reporter.moved(up) else {
        return;
    };
    let Ok(moved) = kept
        .iter()
        .map(|fd| up(fd.as_fd()))
        .collect::<Result<Vec<i32>, _>>()
    else {
        return reporter.failed("there are too many open files");
    };
    drop(kept);
    for (fd, place) in moved.iter().zip(3..) {
        // SAFETY: nothing owns the places any more, and the duplicates outlive `exec`.
        if unsafe { libc::dup2(*fd, place) } < 0 {
            return reporter.failed(&io::Error::last_os_error().to_string());
        }
    }
    reporter.failed(&command.exec().to_string());
}
