//! The sandbox: pause container, network, volumes and generated files.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::Context;
use carob_bundles::spec::{self, SandboxInput};
use carob_core::event::Event;
use jiff::Timestamp;
use tokio::task::spawn_local;

use super::container::private_dir;
use super::{Executor, Instance, task};
use crate::cgroup;
use crate::failpoint::boundary;
use crate::private;
use crate::prune::ID_FILE;
use crate::record::make_pod_dir;
use crate::runtime::{CreateTask, Process, RuntimeError, TaskError, TaskState, Tasks};
use crate::sentence::sentence;
use crate::volume::VolumeError;

/// The name of the sandbox's bundle; no container's name has an underscore.
pub(super) const NAME: &str = "_sandbox";

/// A sandbox that was made.
#[derive(Clone)]
pub(super) struct Sandbox {
    pub attempt: u32,
    pub id: String,
    /// The pause program's, whose namespaces are the Pod's.
    pub pid: i32,
    pub tasks: Rc<dyn Tasks>,
    pub ips: Vec<IpAddr>,
    /// Containers can be made in it; else it is known only to be removed.
    pub ready: bool,
}

impl Executor {
    pub(super) async fn create_sandbox(self: &Rc<Self>, attempt: u32) {
        let made = self.sandbox_of(attempt).filter(|s| s.ready);
        let created = match made {
            Some(sandbox) => Ok(sandbox),
            None => self.try_create_sandbox(attempt).await,
        };
        match created {
            Ok(Sandbox { id, pid, ips, .. }) => self.tell(Event::SandboxCreated {
                attempt,
                id,
                pid,
                ips,
            }),
            Err(error) => {
                let of_volume = error.is::<VolumeError>();
                let mut message = sentence(&error);
                if let Err(error) = self.clean_sandbox(attempt).await {
                    message = format!("{message}; and cleaning up failed: {}", sentence(&error));
                }
                self.tell(match of_volume {
                    true => Event::VolumesFailed { attempt, message },
                    false => Event::SandboxFailed { attempt, message },
                });
            }
        }
    }

    /// Each step finds what an earlier try left of it and goes on from there.
    async fn try_create_sandbox(self: &Rc<Self>, attempt: u32) -> anyhow::Result<Sandbox> {
        let id = self.id(NAME, attempt);
        let bundle = self.bundle(NAME, attempt);
        private_dir(&bundle).with_context(|| format!("cannot make {bundle:?}"))?;
        make_pod_dir(&self.engine.dirs, self.uid())
            .with_context(|| format!("cannot make {:?}", self.pod_dir()))?;
        let cgroup = format!("{}/{id}", self.engine.dirs.pod_cgroup(self.uid()));
        let input = SandboxInput {
            pod: &self.pod,
            id: &id,
            hostname: &self.hostname(),
            rootfs: &self.engine.pause_root,
            cgroups_path: Path::new(&cgroup),
        };
        let config = serde_json::to_vec(&spec::sandbox(&input)?)?;
        fs::write(bundle.join(ID_FILE), &id)
            .with_context(|| format!("cannot write in {bundle:?}"))?;
        private::write(&bundle.join("config.json"), &config)
            .with_context(|| format!("cannot write the bundle {bundle:?}"))?;
        self.set_up_volumes()?;
        boundary();
        let tasks = self.open_tasks(attempt).await?;
        boundary();
        // From here on cleaning up needs to find what serves it.
        let mut sandbox = Sandbox {
            attempt,
            id: id.clone(),
            pid: 0,
            tasks: tasks.clone(),
            ips: Vec::new(),
            ready: false,
        };
        self.live.borrow_mut().sandbox = Some(sandbox.clone());
        let pause = CreateTask {
            attempt,
            ..CreateTask::of_bundle(&id, NAME, bundle, config)
        };
        sandbox.pid = task::create(&*tasks, pause)
            .await
            .context("cannot create the pause container")?;
        boundary();
        if !self.pod.spec.host_network {
            let namespace = PathBuf::from(format!("/proc/{}/ns/net", sandbox.pid));
            let attachment = self
                .engine
                .network
                .attach(self.uid(), &namespace, None)
                .await
                .context("cannot connect the Pod to the network")?;
            sandbox.ips = attachment.ips;
            for notice in self.engine.network.take_notices() {
                match notice.is_warning() {
                    true => tracing::warn!("{notice}"),
                    false => tracing::info!("{notice}"),
                }
            }
        }
        boundary();
        self.write_etc(&sandbox)
            .context("cannot write /etc/hosts and its like")?;
        task::start(&*tasks, &id)
            .await
            .context("cannot start the pause program")?;
        sandbox.ready = true;
        self.live.borrow_mut().sandbox = Some(sandbox.clone());
        self.watch_sandbox(sandbox.clone());
        Ok(sandbox)
    }

    /// What serves the tasks of a sandbox, made ready unless it is.
    pub(super) async fn open_tasks(&self, attempt: u32) -> Result<Rc<dyn Tasks>, RuntimeError> {
        let (id, bundle) = (self.id(NAME, attempt), self.bundle(NAME, attempt));
        self.runtime.open(&id, &bundle).await
    }

    /// Tells when the pause program ends by itself or its shim is killed.
    pub(super) fn watch_sandbox(self: &Rc<Self>, sandbox: Sandbox) {
        let executor = Rc::downgrade(self);
        spawn_local(async move {
            let ended = sandbox.tasks.wait(Process::init(&sandbox.id)).await;
            let Some(executor) = executor.upgrade() else {
                return;
            };
            let live = executor.sandbox_of(sandbox.attempt).is_some();
            match ended {
                // Being removed on purpose looks the same, but then it is not the live one any more.
                Err(TaskError::Gone(error)) if live => {
                    tracing::warn!(%error, pod = executor.pod.metadata.name, "the Pod's shim was killed");
                    let containers = executor.live.borrow().containers.clone();
                    let containers = containers.into_values().collect();
                    executor.shim_died(sandbox.attempt, containers).await;
                }
                _ => executor.tell(Event::SandboxExited {
                    attempt: sandbox.attempt,
                }),
            }
        });
    }

    /// A container without its shim can't be waited for: all of them are killed and cleaned up, as
    /// containerd does.
    pub(super) async fn shim_died(&self, attempt: u32, containers: Vec<Instance>) {
        for instance in &containers {
            self.delete_orphan(&instance.name, instance.attempt).await;
        }
        self.delete_orphan(NAME, attempt).await;
        // The sandbox first, so that no container is started again in one that is gone.
        self.tell(Event::SandboxExited { attempt });
        for instance in containers {
            self.lost(instance, "the shim that served the container was killed");
        }
    }

    /// Cleans up what a shim that was killed left of a container; nothing when it never had a bundle.
    pub(super) async fn delete_orphan(&self, what: &str, attempt: u32) {
        let (id, bundle) = (self.id(what, attempt), self.bundle(what, attempt));
        if !bundle.exists() {
            return;
        }
        if let Err(error) = self.runtime.delete_orphan(&id, &bundle).await {
            tracing::warn!(%error, id, "a container without a shim was not cleaned up completely");
        }
    }

    /// A container is gone from the runtime. When its sandbox is too, that is told first, by who watches it.
    pub(super) async fn maybe_lost(&self, instance: Instance, why: &str) {
        let Some(sandbox) = self.live.borrow().sandbox.clone() else {
            return;
        };
        if let Ok(TaskState::Running { .. }) = sandbox.tasks.state(&sandbox.id).await {
            self.lost(instance, why);
        }
    }

    /// Nobody will ever know how the instance ended.
    pub(super) fn lost(&self, instance: Instance, why: &str) {
        self.tell(Event::ContainerLost {
            container: instance.name,
            attempt: instance.attempt,
            at: Timestamp::now(),
            message: why.to_owned(),
        });
    }

    pub(super) async fn remove_sandbox(&self, attempt: u32, last: bool) {
        let mut removed = self.clean_sandbox(attempt).await;
        if last && removed.is_ok() {
            removed = self.clean_pod();
        }
        self.tell(match removed {
            Ok(()) => Event::SandboxRemoved { attempt, last },
            Err(error) => Event::SandboxRemoveFailed {
                attempt,
                last,
                message: sentence(&error),
            },
        });
    }

    /// The live sandbox, if it is this one.
    fn sandbox_of(&self, attempt: u32) -> Option<Sandbox> {
        let live = self.live.borrow();
        live.sandbox.clone().filter(|s| s.attempt == attempt)
    }

    /// Removes whatever there is of a sandbox; can be repeated until nothing is left.
    async fn clean_sandbox(&self, attempt: u32) -> anyhow::Result<()> {
        let sandbox = self.sandbox_of(attempt);
        if let Some(Sandbox { id, tasks, .. }) = &sandbox {
            boundary();
            // Before anything ends, so that its watcher does not take it for an accident.
            self.live.borrow_mut().sandbox = None;
            self.asked.leave();
            match stop(&**tasks, id).await {
                Ok(()) => {}
                // Killed: then nobody else ends what it served.
                Err(TaskError::Gone(_)) => self.delete_orphan(NAME, attempt).await,
                Err(error) => {
                    self.live.borrow_mut().sandbox = sandbox.clone();
                    return Err(error).context("cannot stop the pause container");
                }
            }
        }
        boundary();
        self.engine
            .network
            .detach(self.uid())
            .await
            .context("cannot disconnect the Pod from the network")?;
        boundary();
        let left: Vec<Instance> = self.live.borrow().containers.values().cloned().collect();
        for instance in left {
            let id = self.id(&instance.name, instance.attempt);
            let removed = self.engine.images.remove_rootfs(&id).await;
            removed.context("cannot remove a container's root file system")?;
            self.forget(&id, &instance);
        }
        let bundles = self.engine.dirs.bundles().join(self.uid());
        remove_dir(&bundles).with_context(|| format!("cannot remove {bundles:?}"))?;
        boundary();
        cgroup::remove(&self.engine.dirs.pod_cgroup(self.uid()));
        Ok(())
    }

    /// Removes what outlives a sandbox: the Pod's volumes, and its directory with all that is left in it.
    fn clean_pod(&self) -> anyhow::Result<()> {
        boundary();
        self.engine
            .volumes
            .remove_pod(self.uid())
            .context("cannot remove the Pod's volumes")
    }
}

/// Ends the pause program and its shim.
async fn stop(tasks: &dyn Tasks, id: &str) -> Result<(), TaskError> {
    let init = Process::init(id);
    match tasks
        .kill(init, nix::libc::SIGKILL.unsigned_abs(), true)
        .await
    {
        Ok(()) => {
            tasks.wait(init).await?;
        }
        Err(TaskError::NotFound(_)) => {}
        Err(TaskError::Gone(error)) => return Err(TaskError::Gone(error)),
        Err(refused) => tracing::debug!(%refused, "the pause program has ended already"),
    }
    match tasks.delete(init).await {
        Ok(()) | Err(TaskError::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    match tasks.shutdown(id, false).await {
        // It may be gone before it has answered.
        Ok(()) | Err(TaskError::Gone(_)) => Ok(()),
        Err(refused) => Err(refused),
    }
}

fn remove_dir(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
