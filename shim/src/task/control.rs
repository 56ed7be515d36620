//! Signals, pausing, limits, usage and terminals of what runs.

use std::sync::Arc;
use std::time::Duration;

use containerd_shim_protos::events::task::{TaskPaused, TaskResumed};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use oci_spec::runtime::LinuxResources;
use tokio::time::{Instant, sleep};

use super::{Container, Error, Event, Kind, Phase, Shim, find};
use crate::cgroup::{Cgroup, CgroupError};
use crate::exec;
use crate::sentence::sentence;
use crate::stdio::Size;
use crate::worker::run;

/// How long processes may take to freeze.
const FREEZE: Duration = Duration::from_secs(2);
/// After so long a freeze is begun anew.
const ANEW: Duration = Duration::from_millis(10);
/// The largest signal number (SIGRTMAX).
const LAST_SIGNAL: u32 = 64;

impl Shim {
    /// Sends a signal to a process, or to all of the container's; SIGKILL to all of an exec goes to its descendants
    /// as well.
    ///
    /// # Errors
    /// `NotFound` also when the process has ended (as containerd's shims say it), `InvalidArgument`
    /// for a number that is no signal.
    pub fn kill(&self, id: &str, exec_id: &str, signal: u32, all: bool) -> Result<(), Error> {
        if signal == 0 || signal > LAST_SIGNAL {
            let message = format!("{signal} is not a signal: they are 1 to {LAST_SIGNAL}");
            return Err(Error::new(Kind::InvalidArgument, message));
        }
        let mut containers = self.containers();
        let container = find(&mut containers, id)?;
        if !exec_id.is_empty() {
            let process = container.process(id, exec_id)?;
            let (pid, phase) = (process.pid(), process.phase());
            return match &container.cgroup {
                Some(cgroup) if all && signal == libc::SIGKILL.unsigned_abs() => {
                    kill_tree(pid, phase, cgroup)
                }
                _ => signal_process(pid, phase, signal as i32),
            };
        }
        if all {
            let Some(cgroup) = &container.cgroup else {
                return Err(finished());
            };
            cgroup.kill(signal as i32).map_err(Error::internal)?;
            return self.wake_to_die(container, signal as i32);
        }
        self.kill_init(id, container, signal as i32)
    }

    /// Sends a signal to the init.
    pub(super) fn kill_init(
        &self,
        _id: &str,
        container: &mut Container,
        signal: i32,
    ) -> Result<(), Error> {
        signal_process(container.init.pid(), container.init.phase(), signal)?;
        self.wake_to_die(container, signal)
    }

    /// A frozen process doesn't die: SIGKILL thaws the container, and ends a freeze that is under way.
    fn wake_to_die(&self, container: &mut Container, signal: i32) -> Result<(), Error> {
        let phase = container.init.phase();
        if signal != libc::SIGKILL || !matches!(phase, Phase::Pausing | Phase::Paused) {
            return Ok(());
        }
        if phase == Phase::Pausing {
            container.init.on(Event::PauseFailed)?;
        }
        match &container.cgroup {
            Some(cgroup) => cgroup.thaw().map_err(Error::internal),
            None => Ok(()),
        }
    }

    /// Freezes the container.
    ///
    /// # Errors
    /// `NotFound`, also when it ends or is killed meanwhile; `FailedPrecondition` when it doesn't run; or why it can't
    /// be frozen: it runs on then.
    pub async fn pause(self: Arc<Self>, id: String) -> Result<(), Error> {
        find(&mut self.containers(), &id)?.init.on(Event::Pause)?;
        let begun = Instant::now();
        let mut anew = begun + ANEW;
        while !self.freeze(&id, begun + FREEZE, anew <= Instant::now())? {
            if anew <= Instant::now() {
                anew += ANEW;
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// One attempt to freeze a container that is to be paused. Whether it is.
    fn freeze(&self, id: &str, deadline: Instant, anew: bool) -> Result<bool, Error> {
        let mut containers = self.containers();
        let container = find(&mut containers, id)?;
        let Some(cgroup) = &container.cgroup else {
            return Err(Error::not_found(id, ""));
        };
        if container.init.phase() != Phase::Pausing {
            return Err(finished());
        }
        let failure = match cgroup.try_freeze(anew) {
            Ok(true) => {
                container.init.on(Event::Frozen)?;
                self.publisher.publish(TaskPaused {
                    container_id: id.to_owned(),
                    ..TaskPaused::default()
                });
                return Ok(true);
            }
            Ok(false) if Instant::now() < deadline => return Ok(false),
            Ok(false) => Error::new(
                Kind::Unknown,
                format!(
                    "container {id:?} can't be paused: its processes didn't freeze in {} s",
                    FREEZE.as_secs()
                ),
            ),
            Err(error) => Error::internal(error),
        };
        let thawed = cgroup.thaw();
        container.init.on(Event::PauseFailed)?;
        thawed.map_err(Error::internal)?;
        Err(failure)
    }

    /// Thaws the container.
    ///
    /// # Errors
    /// `NotFound`, `FailedPrecondition` when it isn't paused, or why it can't be thawed.
    pub fn resume(&self, id: &str) -> Result<(), Error> {
        let mut containers = self.containers();
        let container = find(&mut containers, id)?;
        container.init.phase().on(Event::Resumed)?;
        if let Some(cgroup) = &container.cgroup {
            cgroup.thaw().map_err(Error::internal)?;
        }
        container.init.on(Event::Resumed)?;
        self.publisher.publish(TaskResumed {
            container_id: id.to_owned(),
            ..TaskResumed::default()
        });
        Ok(())
    }

    /// Changes limits. `resources` is an OCI `LinuxResources` in JSON.
    ///
    /// # Errors
    /// `NotFound`, `InvalidArgument` for what is not one, or which limit can't be set.
    pub async fn update(self: Arc<Self>, id: String, resources: Vec<u8>) -> Result<(), Error> {
        let resources: LinuxResources = serde_json::from_slice(&resources).map_err(|error| {
            Error::new(
                Kind::InvalidArgument,
                format!("the resources can't be read: {error}"),
            )
        })?;
        let cgroup = {
            let mut containers = self.containers();
            let container = find(&mut containers, &id)?;
            if !container.init.phase().is_alive() {
                return Err(finished());
            }
            container.cgroup.clone()
        };
        let Some(cgroup) = cgroup else {
            return Err(Error::not_found(&id, ""));
        };
        if cgroup.is_systemds() {
            let update = || cgroup.update(&resources).map_err(|error| sentence(&error));
            return run(&self.children, "an update", update)
                .await
                .map_err(Error::internal);
        }
        cgroup.update(&resources).map_err(|error| match error {
            CgroupError::BadLimit { .. } => Error::invalid(error),
            error => Error::internal(error),
        })
    }

    /// What the container uses: containerd's message for this machine's cgroups, and its type.
    ///
    /// # Errors
    /// `NotFound`, or what can't be read.
    pub fn stats(&self, id: &str) -> Result<(&'static str, Vec<u8>), Error> {
        let mut containers = self.containers();
        let container = find(&mut containers, id)?;
        let Some(cgroup) = &container.cgroup else {
            return Err(Error::not_found(id, ""));
        };
        let metrics = cgroup.metrics().map_err(Error::internal)?;
        Ok((
            metrics.type_url(),
            metrics.encode().map_err(Error::internal)?,
        ))
    }

    /// Changes a terminal's size.
    ///
    /// # Errors
    /// `NotFound`, or `FailedPrecondition` when the process has no terminal.
    pub fn resize(&self, id: &str, exec_id: &str, size: Size) -> Result<(), Error> {
        let mut containers = self.containers();
        let process = find(&mut containers, id)?.process(id, exec_id)?;
        match process.streams.resize(size) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::new(
                Kind::FailedPrecondition,
                "the process has no terminal to resize",
            )),
            Err(error) => Err(Error::internal(error)),
        }
    }

    /// Closes the shim's side of a standard input.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn close_stdin(&self, id: &str, exec_id: &str) -> Result<(), Error> {
        let mut containers = self.containers();
        find(&mut containers, id)?
            .process(id, exec_id)?
            .streams
            .close_stdin();
        Ok(())
    }
}

fn signal_process(pid: i32, phase: Phase, signal: i32) -> Result<(), Error> {
    if !phase.is_alive() || pid <= 0 {
        return Err(finished());
    }
    // The shim alone reaps it, and in this same thread, so the id is still its own.
    let pid = Pid::from_raw(pid);
    let signal = match nix::sys::signal::Signal::try_from(signal) {
        Ok(signal) => kill(pid, signal),
        // A real-time signal, for which nix has no name.
        // SAFETY: sends a signal to another process; no memory is touched.
        Err(_) => nix::errno::Errno::result(unsafe { libc::kill(pid.as_raw(), signal) }).map(drop),
    };
    match signal {
        Ok(()) => Ok(()),
        Err(nix::errno::Errno::ESRCH) => Err(finished()),
        Err(error) => Err(Error::internal(error)),
    }
}

/// SIGKILL to an exec and its descendants.
fn kill_tree(pid: i32, phase: Phase, cgroup: &Cgroup) -> Result<(), Error> {
    if !phase.is_alive() || pid <= 0 {
        return Err(finished());
    }
    exec::tree::kill(pid, cgroup).map_err(Error::internal)
}

/// containerd's words, which clients look for.
fn finished() -> Error {
    Error::new(Kind::NotFound, "process already finished")
}
