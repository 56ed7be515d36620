//! A Pod's tasks, asked of containerd: its Tasks service in place of a shim's own.

use std::time::Duration;

use async_trait::async_trait;
use containerd_client::services::v1::{
    CreateTaskRequest, DeleteProcessRequest, ExecProcessRequest, GetRequest, KillRequest,
    StartRequest, WaitRequest,
};
use containerd_client::tonic::{Code, Status};
use containerd_client::types::Mount;
use containerd_client::types::v1::{self, Status as Stage};
use jiff::Timestamp;
use prost_types::Any;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::client::{Client, QUICK, SLOW};
use super::container;
use super::shim::ShimKind;
use super::watch;
use crate::process_tree::kill_tree;
use crate::runtime::{
    CreateTask, ExecTask, Exited, PROCESS_TYPE, PodName, Process, TaskError, TaskEvent, TaskState,
    Tasks,
};

/// The tasks of one Pod.
#[derive(Clone)]
pub struct ContainerdTasks {
    /// containerd.
    pub client: Client,
    /// The Pod.
    pub pod: PodName,
    /// What runs them.
    pub shim: ShimKind,
    /// Hears how containers end.
    pub sink: mpsc::UnboundedSender<TaskEvent>,
}

impl From<Status> for TaskError {
    fn from(status: Status) -> Self {
        let message = unwrapped(status.message()).to_owned();
        match status.code() {
            Code::NotFound => Self::NotFound(message),
            Code::AlreadyExists => Self::Exists(message),
            Code::FailedPrecondition => Self::NotNow(message),
            _ => Self::Refused(message),
        }
    }
}

/// Between two looks at a task that containerd is making for someone else.
const PAUSE: Duration = Duration::from_millis(20);
/// So often it is looked at.
const LOOKS: u32 = 6_000;

/// True when containerd is just making this task, or undoing it, for a supervisor that was killed while it asked: it
/// has the task's directory, and not yet the task.
fn is_under_way(status: &Status) -> bool {
    let message = status.message();
    message.contains("mkdir ") && message.contains(": file exists")
}

/// What the shim said, without what containerd says around it.
fn unwrapped(message: &str) -> &str {
    let message = message.strip_suffix(": unknown").unwrap_or(message);
    let around = "failed to create shim task: ";
    message.strip_prefix(around).unwrap_or(message)
}

#[async_trait(?Send)]
impl Tasks for ContainerdTasks {
    async fn create(&self, task: CreateTask) -> Result<i32, TaskError> {
        let task = self.shim.adapted(task).map_err(TaskError::Refused)?;
        container::record(&self.client, &self.pod, self.shim.name(), &task).await?;
        let [stdin, stdout, stderr] = self.shim.stream_uris(&task).map_err(TaskError::Refused)?;
        let rootfs = task.rootfs.mounts.into_iter().map(|mount| Mount {
            r#type: mount.kind,
            source: mount.source,
            options: mount.options,
            ..Mount::default()
        });
        let message = CreateTaskRequest {
            container_id: task.id,
            rootfs: rootfs.collect(),
            stdin,
            stdout,
            stderr,
            terminal: task.terminal,
            ..CreateTaskRequest::default()
        };
        let id = message.container_id.clone();
        for _ in 0..LOOKS {
            let created = self
                .client
                .ask(SLOW, message.clone(), |services, request| async move {
                    services.tasks().create(request).await
                });
            match created.await {
                Err(status) if is_under_way(&status) => {}
                created => return Ok(created?.pid as i32),
            }
            if self.state(&id).await.is_ok() {
                return Err(TaskError::Exists(format!("there is a task {id}")));
            }
            sleep(PAUSE).await;
        }
        Err(TaskError::Refused(format!(
            "containerd has been making or removing the task {id} for {} s",
            (PAUSE * LOOKS).as_secs()
        )))
    }

    async fn exec(&self, task: ExecTask) -> Result<(), TaskError> {
        let process = self.shim.marked(task.process).map_err(TaskError::Refused)?;
        let message = ExecProcessRequest {
            container_id: task.id,
            exec_id: task.exec_id,
            stdout: task.stdout,
            stderr: task.stderr,
            spec: Some(Any {
                type_url: PROCESS_TYPE.to_owned(),
                value: process,
            }),
            ..ExecProcessRequest::default()
        };
        let added = self
            .client
            .ask(QUICK, message, |services, request| async move {
                services.tasks().exec(request).await
            });
        Ok(added.await.map(drop)?)
    }

    async fn start(&self, process: Process<'_>) -> Result<i32, TaskError> {
        let message = StartRequest {
            container_id: process.id.to_owned(),
            exec_id: process.exec_id.to_owned(),
        };
        let started = self
            .client
            .ask(SLOW, message, |services, request| async move {
                services.tasks().start(request).await
            });
        match started.await.map_err(TaskError::from) {
            Ok(started) => Ok(started.pid as i32),
            // Not every shim says which refusals mean that it was started before.
            Err(TaskError::Refused(why)) => match self.look(process).await? {
                TaskState::Created { .. } => Err(TaskError::Refused(why)),
                TaskState::Running { .. } | TaskState::Stopped(_) => Err(TaskError::NotNow(why)),
            },
            Err(error) => Err(error),
        }
    }

    async fn kill(&self, process: Process<'_>, signal: u32, all: bool) -> Result<(), TaskError> {
        // containerd passes `all` on only for a container.
        if all && !process.exec_id.is_empty() {
            return self.kill_exec(process).await;
        }
        let message = KillRequest {
            container_id: process.id.to_owned(),
            exec_id: process.exec_id.to_owned(),
            signal,
            all,
        };
        let killed = self
            .client
            .ask(QUICK, message, |services, request| async move {
                services.tasks().kill(request).await
            });
        Ok(killed.await.map(drop)?)
    }

    async fn delete(&self, process: Process<'_>) -> Result<(), TaskError> {
        if process.exec_id.is_empty() {
            let deleted = container::delete_task(&self.client, process.id).await;
            if let Err(status) = deleted
                && status.code() != Code::NotFound
            {
                return Err(status.into());
            }
            return Ok(container::forget(&self.client, process.id).await?);
        }
        let message = DeleteProcessRequest {
            container_id: process.id.to_owned(),
            exec_id: process.exec_id.to_owned(),
        };
        let deleted = self
            .client
            .ask(SLOW, message, |services, request| async move {
                services.tasks().delete_process(request).await
            });
        Ok(deleted.await.map(drop)?)
    }

    async fn state(&self, id: &str) -> Result<TaskState, TaskError> {
        self.look(Process::init(id)).await
    }

    async fn wait(&self, process: Process<'_>) -> Result<Exited, TaskError> {
        let message = WaitRequest {
            container_id: process.id.to_owned(),
            exec_id: process.exec_id.to_owned(),
        };
        let waited = self.client.wait(message, |services, request| async move {
            services.tasks().wait(request).await
        });
        match waited.await {
            Ok(ended) => Ok(Exited {
                status: ended.exit_status,
                at: as_ours(ended.exited_at),
            }),
            Err(status) => watch::settle(self, process, status).await,
        }
    }

    async fn shutdown(&self, _: &str, _: bool) -> Result<(), TaskError> {
        // containerd ends the shim with its last task.
        Ok(())
    }

    fn watch(&self, id: &str, cgroup: &str) {
        watch::watch(self.clone(), id.to_owned(), cgroup.to_owned());
    }
}

impl ContainerdTasks {
    /// SIGKILL to an exec and all that it started.
    async fn kill_exec(&self, process: Process<'_>) -> Result<(), TaskError> {
        let TaskState::Running { pid } = self.look(process).await? else {
            return Err(TaskError::NotFound("the process has ended".to_owned()));
        };
        kill_tree(pid).map_err(|errno| TaskError::Refused(format!("cannot kill {pid}: {errno}")))
    }

    /// How far a process is.
    pub async fn look(&self, process: Process<'_>) -> Result<TaskState, TaskError> {
        let message = GetRequest {
            container_id: process.id.to_owned(),
            exec_id: process.exec_id.to_owned(),
        };
        let found = self
            .client
            .ask(QUICK, message, |services, request| async move {
                services.tasks().get(request).await
            });
        Ok(state_of(&found.await?.process.unwrap_or_default()))
    }
}

fn state_of(process: &v1::Process) -> TaskState {
    let pid = process.pid as i32;
    match process.status() {
        Stage::Stopped => TaskState::Stopped(Exited {
            status: process.exit_status,
            at: as_ours(process.exited_at),
        }),
        Stage::Created | Stage::Unknown => TaskState::Created {
            pid: (pid > 0).then_some(pid),
        },
        Stage::Running | Stage::Paused | Stage::Pausing => TaskState::Running { pid },
    }
}

/// A protobuf timestamp as ours; nonsense from the wire counts as the epoch.
fn as_ours(at: Option<prost_types::Timestamp>) -> Timestamp {
    at.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}
