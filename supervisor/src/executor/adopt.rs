//! Finds what a supervisor that was killed left of a Pod, so that its decisions can go on from where they were.
//!
//! Everything is asked of the runtime, by names that follow from the Pod's UID. Nothing is believed of another boot:
//! not a PID, not a namespace, not a socket.

use std::fs;
use std::rc::Rc;
use std::time::Duration;

use carob_core::event::Event;
use carob_core::state::{PodState, SandboxRecord, SandboxStage, Stage};
use jiff::{SignedDuration, Timestamp};
use nix::unistd::{SysconfVar, sysconf};

use super::sandbox::{NAME, Sandbox};
use super::{Executor, Instance, task};
use crate::clock;
use crate::runtime::{TaskError, TaskState, Tasks};

/// Why nobody knows how a container of an earlier boot ended.
const REBOOTED: &str = "the machine was restarted while the container ran";
/// Why nobody knows how one ended that the runtime does not know.
const UNKNOWN: &str = "the container was gone when its supervisor came back";

impl Executor {
    /// Takes over what the record of the Pod says there is, and tells what became of it since. What it tells is to
    /// be observed before the next decision.
    pub(super) async fn find(self: &Rc<Self>, state: &PodState, same_boot: bool) {
        self.adopt_images(state).await;
        let instances = instances(state);
        let Some(record) = &state.observed.sandbox else {
            return;
        };
        if !same_boot {
            return self.rebooted(record, instances);
        }
        let attempt = record.attempt;
        let mut tasks = self.runtime.find(&self.bundle(NAME, attempt)).await;
        if tasks.is_none() && record.stage == SandboxStage::Creating {
            // The shim may have been about to start, or was killed half-way.
            self.delete_orphan(NAME, attempt).await;
            tasks = self.open_tasks(attempt).await.ok();
        }
        let found = match &tasks {
            Some(tasks) => task::settled(&**tasks, &self.id(NAME, attempt)).await,
            None => Err(TaskError::Gone("nobody listens".to_owned())),
        };
        // One that was killed just now still took the connection.
        let tasks = tasks.filter(|_| !matches!(found, Err(TaskError::Gone(_))));
        match tasks {
            Some(tasks) => {
                self.adopt_sandbox(record, state, &tasks, found.ok());
                for (instance, stage) in instances {
                    self.adopt_container(instance, stage, &*tasks).await;
                }
            }
            // There never was one, so there is nothing else.
            None if record.stage == SandboxStage::Creating => {}
            None => {
                let ran = |stage: &Stage| !matches!(stage, Stage::Creating | Stage::Exited);
                let containers = instances.into_iter().filter(|(_, stage)| ran(stage));
                let containers = containers.map(|(instance, _)| instance).collect();
                self.shim_died(attempt, containers).await;
            }
        }
    }

    /// The images that containers were or are to be made of. One that was removed since is asked for again when
    /// it is needed.
    async fn adopt_images(&self, state: &PodState) {
        for (name, record) in &state.observed.containers {
            let Some(image) = record.image.as_ref().filter(|image| !image.id.is_empty()) else {
                continue;
            };
            match self.engine.images.again(&image.id, &self.owner()).await {
                Ok(image) => {
                    let mut live = self.live.borrow_mut();
                    live.images.insert(name.clone(), Rc::new(image));
                }
                Err(error) => tracing::warn!(%error, container = name, "its image is gone"),
            }
        }
    }

    /// Nothing runs that ran before the machine did.
    fn rebooted(&self, record: &SandboxRecord, instances: Vec<(Instance, Stage)>) {
        let bundles = self.engine.dirs.bundles().join(self.uid());
        match fs::remove_dir_all(&bundles) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, ?bundles, "bundles of an earlier boot stay until the Pod is removed");
            }
            _ => {}
        }
        if matches!(record.stage, SandboxStage::Ready) {
            self.tell(Event::SandboxExited {
                attempt: record.attempt,
            });
        }
        for (instance, stage) in instances {
            if matches!(stage, Stage::Created | Stage::Running { .. }) {
                self.lost(instance, REBOOTED);
            }
        }
    }

    fn adopt_sandbox(
        self: &Rc<Self>,
        record: &SandboxRecord,
        state: &PodState,
        tasks: &Rc<dyn Tasks>,
        found: Option<TaskState>,
    ) {
        let attempt = record.attempt;
        let pid = match found {
            Some(TaskState::Running { pid }) => pid,
            _ => 0,
        };
        let sandbox = Sandbox {
            attempt,
            id: self.id(NAME, attempt),
            pid,
            tasks: tasks.clone(),
            ips: match self.pod.spec.host_network {
                true => Vec::new(),
                false => state.observed.pod_ips.clone(),
            },
            ready: record.stage == SandboxStage::Ready,
        };
        self.live.borrow_mut().sandbox = Some(sandbox.clone());
        if record.stage != SandboxStage::Ready {
            return;
        }
        match found {
            Some(TaskState::Running { .. }) => self.watch_sandbox(sandbox),
            _ => self.tell(Event::SandboxExited { attempt }),
        }
    }

    async fn adopt_container(self: &Rc<Self>, instance: Instance, stage: Stage, tasks: &dyn Tasks) {
        let id = self.id(&instance.name, instance.attempt);
        let found = match task::settled(tasks, &id).await {
            Ok(TaskState::Created { pid: None }) => Err(TaskError::NotNow(UNKNOWN.to_owned())),
            found => found,
        };
        let ran = matches!(stage, Stage::Running { .. });
        let found = match found {
            Ok(found) => found,
            // Who waits for the sandbox hears of it too, and cleans up.
            Err(TaskError::Gone(_)) => {
                self.live.borrow_mut().containers.insert(id, instance);
                return;
            }
            Err(error) => {
                if ran {
                    tracing::warn!(%error, container = instance.name, "a container is gone");
                    self.lost(instance, UNKNOWN);
                }
                return;
            }
        };
        self.engine.route(&id, self);
        let mut live = self.live.borrow_mut();
        live.containers.insert(id.clone(), instance.clone());
        drop(live);
        self.tell_log(&instance);
        match found {
            TaskState::Created { .. } => {}
            TaskState::Running { pid } => {
                tasks.watch(&id, &self.container_cgroup(&instance));
                let at = started_at(pid).unwrap_or_else(Timestamp::now);
                self.started(&instance, pid, at);
            }
            TaskState::Stopped(_) if stage == Stage::Exited => {}
            TaskState::Stopped(exited) => {
                if !ran {
                    self.started(&instance, 0, exited.at);
                }
                self.asked.advance(&id, super::Stage::Ended);
                self.exited(instance, exited.status, exited.at);
            }
        }
    }

    fn started(&self, instance: &Instance, pid: i32, at: Timestamp) {
        self.tell(Event::ContainerStarted {
            container: instance.name.clone(),
            attempt: instance.attempt,
            pid,
            at,
        });
    }
}

/// The instances that exist or may exist, in the order of the record.
fn instances(state: &PodState) -> Vec<(Instance, Stage)> {
    let all = state.observed.containers.iter();
    all.filter_map(|(name, record)| {
        let found = record.instance.as_ref()?;
        let instance = Instance {
            name: name.clone(),
            attempt: found.attempt,
        };
        Some((instance, found.stage))
    })
    .collect()
}

/// When a process of this boot was started (proc_pid_stat(5), field 22).
fn started_at(pid: i32) -> Option<Timestamp> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may have anything in it; field 3 follows it.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    let per_second = sysconf(SysconfVar::CLK_TCK).ok()??.unsigned_abs();
    let started = Duration::from_millis(ticks.saturating_mul(1000) / per_second);
    let age = clock::since_boot().checked_sub(started)?;
    Timestamp::now()
        .checked_sub(SignedDuration::try_from(age).ok()?)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_tells_when_it_was_started() {
        let before = Timestamp::now();
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let at = started_at(child.id().cast_signed()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let off = at.duration_since(before);
        // A tick is 10 ms, and reading two clocks takes time.
        assert!(off > SignedDuration::from_millis(-30), "{off:?}");
        assert!(at <= Timestamp::now(), "{at}");
        assert_eq!(started_at(i32::MAX), None);
    }
}
