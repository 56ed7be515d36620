//! Delete: frees all that a stopped container, or exec, still has.

use std::sync::Arc;

use containerd_shim_protos::events::task::TaskDelete;
use containerd_shim_protos::protobuf::MessageField;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Container, Error, Kind, Phase, Shim, find};
use crate::bundle;
use crate::events::timestamp;
use crate::reap::Exit;
use crate::worker::hooks::Moment;
use crate::worker::remove_cgroup;

/// What was deleted.
#[derive(Debug, Clone, Copy)]
pub struct Deleted {
    /// The process id it had, 0 if it never ran.
    pub pid: i32,
    /// How it ended; `None` if it never ran.
    pub exit: Option<Exit>,
}

impl Shim {
    /// Deletes a container whose init has ended (or never started), or an exec that has ended (or
    /// never started). A container that is being made is given up.
    ///
    /// # Errors
    /// `NotFound`, `FailedPrecondition` while it runs, or what can't be removed; it can be tried
    /// again then.
    pub async fn delete(self: Arc<Self>, id: String, exec_id: String) -> Result<Deleted, Error> {
        if exec_id.is_empty() {
            self.delete_container(&id).await
        } else {
            self.delete_exec(&id, &exec_id)
        }
    }

    fn delete_exec(&self, id: &str, exec_id: &str) -> Result<Deleted, Error> {
        let mut containers = self.containers();
        let container = find(&mut containers, id)?;
        let process = container.process(id, exec_id)?;
        if !matches!(process.phase(), Phase::Created | Phase::Stopped) {
            return Err(still(&format!("exec {exec_id:?}"), process.phase()));
        }
        let deleted = Deleted {
            pid: process.pid(),
            exit: process.exit(),
        };
        if let Some(process) = container.execs.remove(exec_id) {
            process.streams.close();
        }
        Ok(deleted)
    }

    async fn delete_container(&self, id: &str) -> Result<Deleted, Error> {
        if self.give_up_creation(id).await? {
            return Ok(Deleted {
                pid: 0,
                exit: Some(Exit::now(128 + libc::SIGKILL.unsigned_abs())),
            });
        }
        let (cgroup, mut done) = {
            let mut containers = self.containers();
            let container = find(&mut containers, id)?;
            let phase = container.init.phase();
            match phase {
                Phase::Stopped => {}
                Phase::Created => self.kill_init(id, container, libc::SIGKILL)?,
                _ => return Err(still(&format!("container {id:?}"), phase)),
            }
            container.deleting = true;
            (container.cgroup.clone(), container.init.done())
        };
        // At once, unless the init was only killed above.
        let exit = done
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|exit| *exit);
        if let Some(cgroup) = cgroup
            && let Err(error) = remove_cgroup(&self.children, &cgroup).await
        {
            if let Some(container) = self.containers().get_mut(id) {
                container.deleting = false;
            }
            return Err(Error::internal(error));
        }
        self.execs_ended(id).await;
        let Some(container) = self.take(id) else {
            return Err(Error::not_found(id, ""));
        };
        let pid = container.init.pid();
        let (bundle, hooks) = (container.bundle.clone(), container.hooks.1);
        close(container);
        if hooks {
            self.run_hooks(Moment::Poststop, &bundle, id, pid).await;
        }
        let exit = exit.unwrap_or_else(|| Exit::now(0));
        self.publisher.publish(TaskDelete {
            container_id: id.to_owned(),
            id: id.to_owned(),
            pid: pid as u32,
            exit_status: exit.status,
            exited_at: MessageField::some(timestamp(exit.at)),
            ..TaskDelete::default()
        });
        Ok(Deleted {
            pid,
            exit: Some(exit),
        })
    }
}

impl Shim {
    /// Stops the creation of a container that is being made, and returns whether it was never made. So does containerd
    /// (since 1.7) when it is restarted meanwhile: nobody waits for the container any more.
    async fn give_up_creation(&self, id: &str) -> Result<bool, Error> {
        let mut made = {
            let mut containers = self.containers();
            let container = find(&mut containers, id)?;
            if container.init.phase() != Phase::Creating {
                return Ok(false);
            }
            container.creation.stop.notify_one();
            container.creation.made.subscribe()
        };
        Ok(made.wait_for(|made| *made).await.is_err())
    }

    /// Waits for the events of execs that died with the container: that need not have been heard yet. None is started any more, as the container is being deleted.
    async fn execs_ended(&self, id: &str) {
        let running: Vec<_> = {
            let containers = self.containers();
            let execs = containers.get(id).map(|container| container.execs.values());
            execs
                .into_iter()
                .flatten()
                .filter(|exec| exec.phase() == Phase::Running)
                .map(|exec| {
                    // One that has left the cgroup is alive. That it is gone is no matter.
                    let _ = kill(Pid::from_raw(exec.pid()), Signal::SIGKILL);
                    exec.done()
                })
                .collect()
        };
        for mut done in running {
            // An error means that the exec was deleted by itself.
            let _ = done.wait_for(Option::is_some).await;
        }
    }
}

fn close(container: Container) {
    bundle::forget_init(&container.bundle);
    container.init.streams.close();
    for process in container.execs.into_values() {
        process.streams.close();
    }
}

fn still(what: &str, phase: Phase) -> Error {
    Error::new(
        Kind::FailedPrecondition,
        format!("{what} can't be deleted: it is {phase}"),
    )
}
