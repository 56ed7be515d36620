//! What happens when a process ends: its last output, the event, and everybody who waits.

use std::sync::Arc;

use containerd_shim_protos::events::task::TaskExit;
use containerd_shim_protos::protobuf::MessageField;

use super::{Container, Event, Phase, Shim};
use crate::events::timestamp;
use crate::reap::{Exit, Exited};

impl Shim {
    /// Follows a process that was just made.
    pub(super) fn watch(self: &Arc<Self>, id: &str, exec_id: &str, exited: Exited) {
        let (shim, id, exec_id) = (self.clone(), id.to_owned(), exec_id.to_owned());
        tokio::spawn(async move {
            // The sender only goes when the shim itself ends.
            if let Ok(exit) = exited.await {
                shim.process_ended(&id, &exec_id, exit);
            }
        });
    }

    fn process_ended(&self, id: &str, exec_id: &str, exit: Exit) {
        let mut containers = self.containers();
        let Some(container) = containers.get_mut(id) else {
            return;
        };
        let Ok(process) = container.process(id, exec_id) else {
            return;
        };
        process.ended(exit);
        match process.on(Event::Exited) {
            Ok(Phase::Stopped) => self.finish(id, exec_id, container),
            // Start answers first.
            Ok(_) => {}
            Err(refused) => tracing::error!("container {id:?}, exec {exec_id:?}: {refused}"),
        }
    }

    /// Tells of a process that is stopped.
    pub(super) fn finish(&self, id: &str, exec_id: &str, container: &mut Container) {
        if exec_id.is_empty() && !container.owns_pid_namespace {
            // As runc does: what the init leaves behind in a shared PID namespace ends with it.
            self.kill_rest(id, container);
        }
        // The counter rises before the kernel kills, so this precedes the exit's event.
        if let Some(oom) = &container.oom {
            oom.tell(id, &self.publisher);
        }
        let Ok(process) = container.process(id, exec_id) else {
            return;
        };
        process.streams.exited();
        let Some(exit) = process.exit() else { return };
        let pid = process.pid();
        self.publisher.publish(TaskExit {
            container_id: id.to_owned(),
            id: if exec_id.is_empty() {
                id.to_owned()
            } else {
                exec_id.to_owned()
            },
            pid: pid as u32,
            exit_status: exit.status,
            exited_at: MessageField::some(timestamp(exit.at)),
            ..TaskExit::default()
        });
        process.announce();
    }

    fn kill_rest(&self, id: &str, container: &Container) {
        let Some(cgroup) = &container.cgroup else {
            return;
        };
        if let Err(error) = cgroup.kill(libc::SIGKILL) {
            tracing::warn!("the processes left of container {id:?} can't be killed: {error}");
        }
    }
}
