//! How a container's end is heard: by waiting for it, not by containerd's events.
//!
//! A wait is asked again when containerd comes back, and is then answered with what happened meanwhile; an event that
//! nobody heard is lost.

use std::time::Duration;

use containerd_client::tonic::{Code, Status};
use tokio::task;
use tokio::time::sleep;

use super::tasks::ContainerdTasks;
use crate::cgroup;
use crate::runtime::{Exited, Process, TaskError, TaskEvent, TaskState, Tasks};

/// Between two looks at a task whose shim has broken off, while containerd cleans up after it.
const PAUSE: Duration = Duration::from_millis(50);

/// Tells the Pod when a container has ended, once, and first whether the kernel killed something of it: its cgroup is
/// there until its task is removed.
pub fn watch(tasks: ContainerdTasks, id: String, cgroup: String) {
    task::spawn_local(async move {
        let event = match tasks.wait(Process::init(&id)).await {
            Ok(Exited { status, at }) => {
                if status != 0 && cgroup::had_oom_kill(&cgroup) {
                    let _ = tasks.sink.send(TaskEvent::Oom { id: id.clone() });
                }
                TaskEvent::Exit { id, status, at }
            }
            Err(error) => TaskEvent::Lost {
                id,
                why: error.to_string(),
            },
        };
        // A closed sink means that the supervisor is ending: nobody is left to hear it.
        let _ = tasks.sink.send(event);
    });
}

/// What became of a process for which the wait broke off: `status` is what containerd said.
pub async fn settle(
    tasks: &ContainerdTasks,
    process: Process<'_>,
    status: Status,
) -> Result<Exited, TaskError> {
    if status.code() == Code::NotFound {
        return Err(status.into());
    }
    loop {
        match tasks.look(process).await {
            Ok(TaskState::Stopped(exited)) => return Ok(exited),
            Err(TaskError::NotFound(_)) => {
                return Err(TaskError::Gone(status.message().to_owned()));
            }
            Ok(TaskState::Created { .. } | TaskState::Running { .. }) | Err(_) => {}
        }
        sleep(PAUSE).await;
    }
}
