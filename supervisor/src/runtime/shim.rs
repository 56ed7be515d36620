//! A client of one shim: containerd's Task service, version 2, over ttrpc.

use std::path::Path;

use async_trait::async_trait;
use containerd_shim_protos::api;
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::well_known_types::timestamp;
use containerd_shim_protos::shim_async::{Client, TaskClient};
use containerd_shim_protos::ttrpc::{self, context};
use jiff::Timestamp;

use super::task::PROCESS_TYPE;
use super::{CreateTask, ExecTask, Exited, Process, Stdio, TaskError, TaskState, Tasks};

/// A shim that answers on its socket; one per Pod.
#[derive(Clone)]
pub struct Shim {
    client: TaskClient,
}

impl From<ttrpc::Error> for TaskError {
    fn from(error: ttrpc::Error) -> Self {
        match error {
            ttrpc::Error::RpcStatus(status) => match status.code() {
                ttrpc::Code::NOT_FOUND => Self::NotFound(status.message),
                ttrpc::Code::ALREADY_EXISTS => Self::Exists(status.message),
                ttrpc::Code::FAILED_PRECONDITION => Self::NotNow(status.message),
                _ => Self::Refused(status.message),
            },
            other => Self::Gone(other.to_string()),
        }
    }
}

/// Calls that fork a worker, mount and start programs may take long on a loaded machine.
const SLOW: i64 = 120_000_000_000;
/// The others answer from memory. Nanoseconds.
const QUICK: i64 = 30_000_000_000;

impl Shim {
    /// Connects to the address that the shim printed.
    ///
    /// # Errors
    /// [`TaskError::Gone`] when nobody listens there.
    pub async fn connect(address: &str) -> Result<Self, TaskError> {
        let client = Client::connect(address).await?;
        Ok(Self {
            client: TaskClient::new(client),
        })
    }
}

/// Standard streams as our shim takes them; see `ARCHITECTURE.md`.
pub(crate) fn stream_uris(stdio: &Stdio) -> [String; 3] {
    match stdio {
        Stdio::Null => Default::default(),
        Stdio::Log(path) => {
            let uri = format!("cri-log://{}", path.display());
            [String::new(), uri.clone(), uri]
        }
        Stdio::Pipes(pipes) => pipes.each_ref().map(|p| lossy(p)),
    }
}

fn lossy(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[async_trait(?Send)]
impl Tasks for Shim {
    async fn create(&self, task: CreateTask) -> Result<i32, TaskError> {
        let [stdin, stdout, stderr] = stream_uris(&task.stdio);
        let rootfs = task.rootfs.mounts.into_iter().map(|m| api::Mount {
            type_: m.kind,
            source: m.source,
            options: m.options,
            ..Default::default()
        });
        let request = api::CreateTaskRequest {
            id: task.id,
            bundle: lossy(&task.bundle),
            rootfs: rootfs.collect(),
            terminal: task.terminal,
            stdin,
            stdout,
            stderr,
            ..Default::default()
        };
        let created = self.client.create(context::with_timeout(SLOW), &request);
        Ok(created.await?.pid as i32)
    }

    async fn exec(&self, task: ExecTask) -> Result<(), TaskError> {
        let request = api::ExecProcessRequest {
            id: task.id,
            exec_id: task.exec_id,
            stdout: task.stdout,
            stderr: task.stderr,
            spec: MessageField::some(Any {
                type_url: PROCESS_TYPE.to_owned(),
                value: task.process,
                ..Default::default()
            }),
            ..Default::default()
        };
        let added = self.client.exec(context::with_timeout(QUICK), &request);
        added.await?;
        Ok(())
    }

    async fn start(&self, process: Process<'_>) -> Result<i32, TaskError> {
        let request = api::StartRequest {
            id: process.id.to_owned(),
            exec_id: process.exec_id.to_owned(),
            ..Default::default()
        };
        let started = self.client.start(context::with_timeout(SLOW), &request);
        Ok(started.await?.pid as i32)
    }

    async fn kill(&self, process: Process<'_>, signal: u32, all: bool) -> Result<(), TaskError> {
        let request = api::KillRequest {
            id: process.id.to_owned(),
            exec_id: process.exec_id.to_owned(),
            signal,
            all,
            ..Default::default()
        };
        let killed = self.client.kill(context::with_timeout(QUICK), &request);
        killed.await?;
        Ok(())
    }

    async fn delete(&self, process: Process<'_>) -> Result<(), TaskError> {
        let request = api::DeleteRequest {
            id: process.id.to_owned(),
            exec_id: process.exec_id.to_owned(),
            ..Default::default()
        };
        let deleted = self.client.delete(context::with_timeout(SLOW), &request);
        deleted.await?;
        Ok(())
    }

    async fn state(&self, id: &str) -> Result<TaskState, TaskError> {
        let request = api::StateRequest {
            id: id.to_owned(),
            ..Default::default()
        };
        let state = self.client.state(context::with_timeout(QUICK), &request);
        let response = state.await?;
        let pid = response.pid as i32;
        Ok(match response.status.enum_value_or_default() {
            api::Status::STOPPED => TaskState::Stopped(Exited {
                status: response.exit_status,
                at: as_ours(&response.exited_at),
            }),
            api::Status::CREATED | api::Status::UNKNOWN => TaskState::Created {
                pid: (pid > 0).then_some(pid),
            },
            api::Status::RUNNING | api::Status::PAUSED | api::Status::PAUSING => {
                TaskState::Running { pid }
            }
        })
    }

    async fn wait(&self, process: Process<'_>) -> Result<Exited, TaskError> {
        let request = api::WaitRequest {
            id: process.id.to_owned(),
            exec_id: process.exec_id.to_owned(),
            ..Default::default()
        };
        let response = self.client.wait(context::with_timeout(0), &request).await?;
        Ok(Exited {
            status: response.exit_status,
            at: as_ours(&response.exited_at),
        })
    }

    async fn shutdown(&self, id: &str, now: bool) -> Result<(), TaskError> {
        let request = api::ShutdownRequest {
            id: id.to_owned(),
            now,
            ..Default::default()
        };
        let ended = self.client.shutdown(context::with_timeout(QUICK), &request);
        ended.await?;
        Ok(())
    }
}

/// A protobuf timestamp as ours; nonsense from the wire counts as the epoch.
pub(super) fn as_ours(at: &timestamp::Timestamp) -> Timestamp {
    Timestamp::new(at.seconds, at.nanos).unwrap_or(Timestamp::UNIX_EPOCH)
}
