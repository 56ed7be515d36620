//! The shim's side of a worker's operation: waits for its report, with a limit, and tidies up.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use tokio::sync::Notify;

use super::container::{self, CreateJob, Created, Streams};
use super::failure::explain;
use super::{Packet, Start, TIMEOUT, Worker, WorkerError};
use crate::bundle::{forget_init, note_init};
use crate::cgroup::Cgroup;
use crate::reap::{Children, Exited};

/// The descriptors for a new container.
pub struct Given {
    /// Where init reports why its program can't be executed.
    pub start_error: OwnedFd,
    /// Standard input, output and error; none with a terminal.
    pub stdio: Vec<OwnedFd>,
}

/// The process that was made, and descriptors for the shim.
type Made = (i32, Vec<OwnedFd>);

/// Makes a container, in its cgroup, unless `stop` is notified before it is made. Of one that isn't made, nothing is
/// left.
///
/// # Errors
/// [`WorkerError`], one sentence.
pub async fn create(
    children: &Children,
    job: CreateJob,
    given: Given,
    stop: &Notify,
) -> Result<Created, WorkerError> {
    // systemd makes it around a process: the worker.
    if !job.cgroup.is_systemds() {
        job.cgroup.create(job.resources.as_ref())?;
    }
    let created = match note_init(&job.bundle, 0) {
        Ok(()) => create_in_cgroup(children, &job, given, stop).await,
        Err(error) => Err(error.into()),
    };
    if created.is_err() {
        match remove_cgroup(children, &job.cgroup).await {
            Ok(()) => forget_init(&job.bundle),
            Err(left) => tracing::error!("after a failed create: {left}"),
        }
    }
    created
}

async fn create_in_cgroup(
    children: &Children,
    job: &CreateJob,
    given: Given,
    stop: &Notify,
) -> Result<Created, WorkerError> {
    let keep: Vec<BorrowedFd<'_>> = std::iter::once(&given.start_error)
        .chain(&given.stdio)
        .map(AsFd::as_fd)
        .collect();
    let directory = match job.cgroup.is_systemds() {
        true => None,
        false => job.cgroup.open_unified()?,
    };
    let mut worker = Worker::fork(
        directory.as_ref().map(AsFd::as_fd),
        &keep,
        |start, mut kept| {
            let stdio = kept.split_off(1);
            if let Some(start_error) = kept.pop() {
                container::create(job, Streams { start_error, stdio }, start);
            }
        },
    )
    .map_err(|cause| WorkerError::step("a worker can't be forked", cause))?;
    drop(given);
    let ended = children.watch(worker.pid);
    let (pid, mut fds) = finish(&mut worker, ended, TIMEOUT, stop).await?;
    let console = if fds.len() > 1 { fds.pop() } else { None };
    match fds.pop() {
        Some(start) => Ok(Created {
            pid,
            start,
            console,
        }),
        None => Err(WorkerError::Container(
            "the worker's report lacks the start socket".into(),
        )),
    }
}

/// Kills what is left in the cgroup and removes it. Blocks only a worker.
///
/// # Errors
/// When processes don't die, or the kernel refuses.
pub async fn remove_cgroup(children: &Children, cgroup: &Cgroup) -> Result<(), WorkerError> {
    if cgroup.pids()?.is_empty() && cgroup.remove_unused()? {
        return Ok(());
    }
    run(children, "the cgroup", || {
        cgroup
            .remove()
            .map_err(|error| crate::sentence::sentence(&error))
    })
    .await
}

/// Runs something that may block in a worker.
///
/// # Errors
/// What `operation` says, or that it took too long.
pub async fn run(
    children: &Children,
    what: &str,
    operation: impl FnOnce() -> Result<(), String>,
) -> Result<(), WorkerError> {
    let mut worker = Worker::fork(None, &[], |Start { reporter, .. }, _| match operation() {
        Ok(()) => reporter.done(0, &[]),
        Err(error) => reporter.failed(&error),
    })
    .map_err(|cause| WorkerError::step(format!("a worker for {what} can't be forked"), cause))?;
    let ended = children.watch(worker.pid);
    let never = Notify::new();
    finish(&mut worker, ended, TIMEOUT, &never).await.map(drop)
}

/// Takes the worker's packets until it is done, has failed, is out of time or not wanted any more.
async fn finish(
    worker: &mut Worker,
    mut ended: Exited,
    limit: Duration,
    stop: &Notify,
) -> Result<Made, WorkerError> {
    let mut outcome = Outcome::default();
    let deadline = tokio::time::sleep(limit);
    tokio::pin!(deadline);
    loop {
        let packet = tokio::select! {
            packet = worker.receive() => packet,
            exit = &mut ended => {
                // The runtime may hear of the end before it hears of the last packets. Its children
                // may still hold the socket open, so there need be no end of packets.
                while let Ok(Some(packet)) = worker.receive_now() {
                    if let Some(made) = outcome.take(packet)? {
                        return Ok(made);
                    }
                }
                return Err(WorkerError::Died(exit.map_or(0, |exit| exit.status)));
            }
            () = &mut deadline => {
                worker.kill();
                return Err(WorkerError::TimedOut(limit.as_secs()));
            }
            () = stop.notified() => {
                worker.kill();
                return Err(WorkerError::Stopped);
            }
        };
        match packet {
            Ok(Some(packet)) => {
                if let Some(made) = outcome.take(packet)? {
                    return Ok(made);
                }
            }
            Ok(None) => {
                let status = ended.await.map_or(0, |exit| exit.status);
                return Err(WorkerError::Died(status));
            }
            Err(cause) => {
                worker.kill();
                return Err(WorkerError::step("the worker can't be heard", cause));
            }
        }
    }
}

/// What has been heard so far.
#[derive(Default)]
struct Outcome {
    diagnostics: Vec<String>,
}

impl Outcome {
    /// Takes one packet; the last one has what was made.
    fn take(&mut self, packet: Packet) -> Result<Option<Made>, WorkerError> {
        match packet {
            Packet::Diagnostic(text) => self.diagnostics.push(text),
            Packet::Failed(why) => {
                return Err(WorkerError::Container(explain(&why, &self.diagnostics)));
            }
            Packet::Done { pid, fds } => return Ok(Some((pid, fds))),
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a worker with `operation` and reaps it.
    fn outcome(limit: Duration, operation: impl FnOnce(Start)) -> Result<Made, WorkerError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let children = Children::default();
            let mut worker = Worker::fork(None, &[], |start, _| operation(start)).expect("forked");
            // This process doesn't reap by signals, so the end is never heard here.
            let ended = children.watch(worker.pid);
            let result = finish(&mut worker, ended, limit, &Notify::new()).await;
            worker.kill();
            let pid = nix::unistd::Pid::from_raw(worker.pid);
            nix::sys::wait::waitpid(pid, None).expect("it is ours and ends");
            result
        })
    }

    #[test]
    fn trap_12_an_operation_that_hangs_is_given_up() {
        let result = outcome(Duration::from_millis(50), |_| {
            loop {
                // SAFETY: waits for a signal; touches no memory.
                unsafe { libc::pause() };
            }
        });
        let why = result.expect_err("it hangs").to_string();
        assert!(why.contains("given up"), "{why}");
    }

    #[test]
    fn trap_9_a_failure_comes_with_what_was_logged_first() {
        let result = outcome(TIMEOUT, |start| {
            start.reporter.diagnostic("mount /data: no such device");
            start.reporter.diagnostic("failed to prepare rootfs");
            start.reporter.failed("failed to create container");
        });
        let why = result.expect_err("it failed").to_string();
        assert_eq!(
            why,
            "failed to create container: mount /data: no such device"
        );
    }

    #[test]
    fn what_was_made_is_reported() {
        let (pid, fds) = outcome(TIMEOUT, |start| start.reporter.done(42, &[])).expect("made");
        assert_eq!((pid, fds.len()), (42, 0));
    }
}
