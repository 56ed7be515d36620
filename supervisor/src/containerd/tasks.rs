//! A Pod's tasks, asked of containerd: its Tasks service in place of a shim's own.

use std::rc::Rc;

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

use super::client::{Client, QUICK, SLOW};
use super::container;
use super::watch;
use crate::runtime::{
    CreateTask, ExecTask, Exited, PROCESS_TYPE, PodName, Process, TaskError, TaskEvent, TaskState,
    Tasks, stream_uris,
};

/// The tasks of one Pod.
#[derive(Clone)]
pub struct ContainerdTasks {
    pub client: Client,
    pub pod: PodName,
    /// containerd's name for the shim.
    pub runtime: Rc<str>,
    /// Hears how containers end.
    pub sink: mpsc::UnboundedSender<TaskEvent>,
}

impl From<Status> for TaskError {
    fn from(status: Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            Code::NotFound => Self::NotFound(message),
            Code::AlreadyExists => Self::Exists(message),
            Code::FailedPrecondition => Self::NotNow(message),
            _ => Self::Refused(message),
        }
    }
}

#[async_trait(?Send)]
impl Tasks for ContainerdTasks {
    async fn create(&self, task: CreateTask) -> Result<i32, TaskError> {
        container::record(&self.client, &self.pod, &self.runtime, &task).await?;
        let [stdin, stdout, stderr] = stream_uris(&task.stdio);
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
        let created = self
            .client
            .ask(SLOW, message, |services, request| async move {
                services.tasks().create(request).await
            });
        Ok(created.await?.pid as i32)
    }

    async fn exec(&self, task: ExecTask) -> Result<(), TaskError> {
        let message = ExecProcessRequest {
            container_id: task.id,
            exec_id: task.exec_id,
            stdout: task.stdout,
            stderr: task.stderr,
            spec: Some(Any {
                type_url: PROCESS_TYPE.to_owned(),
                value: task.process,
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

    fn watch(&self, id: &str) {
        watch::watch(self.clone(), id.to_owned());
    }
}

impl ContainerdTasks {
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
