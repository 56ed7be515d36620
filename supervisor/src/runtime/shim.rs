//! A client of one shim: containerd's Task service, version 2, over ttrpc.

use std::path::PathBuf;

use containerd_shim_protos::api;
use containerd_shim_protos::shim_async::{Client, TaskClient};
use containerd_shim_protos::ttrpc::{self, context};
use jiff::Timestamp;

/// A shim that answers on its socket; one per Pod.
#[derive(Clone)]
pub struct Shim {
    pub(super) client: TaskClient,
}

/// Why the shim did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TaskError {
    /// The shim has no such task or process.
    #[error("{0}")]
    NotFound(String),
    /// The shim has it already.
    #[error("{0}")]
    Exists(String),
    /// The task is in no state for that; the shim's own words.
    #[error("{0}")]
    NotNow(String),
    /// The shim refused; its own words.
    #[error("{0}")]
    Refused(String),
    /// The shim is gone or doesn't answer.
    #[error("the shim does not answer ({0}); it was killed or the machine is overloaded")]
    Gone(String),
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

/// A mount as containerd describes it, for the root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `overlay` or `bind`.
    pub kind: String,
    /// Device or directory.
    pub source: String,
    /// As for mount(8).
    pub options: Vec<String>,
}

/// What makes a task.
#[derive(Debug, Clone)]
pub struct CreateTask {
    /// Container ID.
    pub id: String,
    /// Directory with `config.json`.
    pub bundle: PathBuf,
    /// Mounted at `rootfs` in the bundle; none when `config.json` names a directory.
    pub rootfs: Vec<Mount>,
    /// URI or FIFO, empty for none; see `ARCHITECTURE.md`.
    pub stdin: String,
    /// The same.
    pub stdout: String,
    /// The same.
    pub stderr: String,
    /// A terminal instead of three streams.
    pub terminal: bool,
}

impl CreateTask {
    /// A task whose root file system is named by its `config.json` and whose standard streams are `/dev/null`.
    pub fn new(id: impl Into<String>, bundle: PathBuf) -> Self {
        Self {
            id: id.into(),
            bundle,
            rootfs: Vec::new(),
            stdin: String::new(),
            stdout: String::new(),
            stderr: String::new(),
            terminal: false,
        }
    }
}

/// What adds a process to a running container.
#[derive(Debug, Clone)]
pub struct ExecTask {
    /// The container.
    pub id: String,
    /// The process's own name.
    pub exec_id: String,
    /// An OCI process in JSON; with `childSubreaper` it can be killed with all that it started.
    pub process: Vec<u8>,
    /// A FIFO, or empty for none.
    pub stdout: String,
    /// The same.
    pub stderr: String,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// The shim is making it, or starting what it has made.
    Created {
        /// Its init; absent while the container is being made.
        pid: Option<i32>,
    },
    /// Its program runs, or is frozen.
    Running {
        /// Its init.
        pid: i32,
    },
    /// Its init has ended.
    Stopped(Exited),
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exited {
    /// Exit code, or 128 plus the signal's number.
    pub status: u32,
    /// When.
    pub at: Timestamp,
}

/// Calls that fork a worker, mount and start programs may take long on a loaded machine.
pub(super) const SLOW: i64 = 120_000_000_000;
/// The others answer from memory. Nanoseconds.
pub(super) const QUICK: i64 = 30_000_000_000;

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

    /// Creates a container and returns the PID of its init, which waits for [`start`](Self::start).
    ///
    /// # Errors
    /// The shim's own sentence.
    pub async fn create(&self, task: CreateTask) -> Result<i32, TaskError> {
        let request = api::CreateTaskRequest {
            id: task.id,
            bundle: task.bundle.to_string_lossy().into_owned(),
            rootfs: task
                .rootfs
                .into_iter()
                .map(|m| api::Mount {
                    type_: m.kind,
                    source: m.source,
                    options: m.options,
                    ..Default::default()
                })
                .collect(),
            terminal: task.terminal,
            stdin: task.stdin,
            stdout: task.stdout,
            stderr: task.stderr,
            ..Default::default()
        };
        let response = self
            .client
            .create(context::with_timeout(SLOW), &request)
            .await?;
        Ok(response.pid as i32)
    }

    /// Lets a created container run.
    ///
    /// # Errors
    /// The shim's own sentence, such as that the program is not there.
    pub async fn start(&self, id: &str) -> Result<i32, TaskError> {
        let request = api::StartRequest {
            id: id.to_owned(),
            ..Default::default()
        };
        Ok(self
            .client
            .start(context::with_timeout(SLOW), &request)
            .await?
            .pid as i32)
    }

    /// Sends a signal to a container's init, or to all its processes.
    ///
    /// # Errors
    /// [`TaskError::NotFound`] when it has already ended.
    pub async fn kill(&self, id: &str, signal: u32, all: bool) -> Result<(), TaskError> {
        let request = api::KillRequest {
            id: id.to_owned(),
            signal,
            all,
            ..Default::default()
        };
        self.client
            .kill(context::with_timeout(QUICK), &request)
            .await?;
        Ok(())
    }

    /// Removes a container that has ended and returns how it did.
    ///
    /// # Errors
    /// The shim's own sentence; [`TaskError::NotFound`] when it is not there.
    pub async fn delete(&self, id: &str) -> Result<Exited, TaskError> {
        let request = api::DeleteRequest {
            id: id.to_owned(),
            ..Default::default()
        };
        let response = self
            .client
            .delete(context::with_timeout(SLOW), &request)
            .await?;
        Ok(Exited {
            status: response.exit_status,
            at: super::timestamp(&response.exited_at),
        })
    }

    /// How far the container is.
    ///
    /// # Errors
    /// [`TaskError::NotFound`] when the shim has none of that name.
    pub async fn state(&self, id: &str) -> Result<TaskState, TaskError> {
        let request = api::StateRequest {
            id: id.to_owned(),
            ..Default::default()
        };
        let response = self
            .client
            .state(context::with_timeout(QUICK), &request)
            .await?;
        let pid = response.pid as i32;
        Ok(match response.status.enum_value_or_default() {
            api::Status::STOPPED => TaskState::Stopped(Exited {
                status: response.exit_status,
                at: super::timestamp(&response.exited_at),
            }),
            api::Status::CREATED | api::Status::UNKNOWN => TaskState::Created {
                pid: (pid > 0).then_some(pid),
            },
            api::Status::RUNNING | api::Status::PAUSED | api::Status::PAUSING => {
                TaskState::Running { pid }
            }
        })
    }

    /// Returns when the container's init has ended.
    ///
    /// # Errors
    /// [`TaskError::Gone`] when the shim dies before.
    pub async fn wait(&self, id: &str) -> Result<Exited, TaskError> {
        let request = api::WaitRequest {
            id: id.to_owned(),
            ..Default::default()
        };
        let response = self.client.wait(context::with_timeout(0), &request).await?;
        Ok(Exited {
            status: response.exit_status,
            at: super::timestamp(&response.exited_at),
        })
    }

    /// Closes a container's standard input.
    ///
    /// # Errors
    /// The shim's own sentence.
    pub async fn close_stdin(&self, id: &str) -> Result<(), TaskError> {
        let request = api::CloseIORequest {
            id: id.to_owned(),
            stdin: true,
            ..Default::default()
        };
        self.client
            .close_io(context::with_timeout(QUICK), &request)
            .await?;
        Ok(())
    }

    /// Ends the shim when it serves no container any more; `now` without waiting for events to be taken.
    ///
    /// # Errors
    /// [`TaskError::Gone`] when it went before it could answer, which is what was wanted.
    pub async fn shutdown(&self, id: &str, now: bool) -> Result<(), TaskError> {
        let request = api::ShutdownRequest {
            id: id.to_owned(),
            now,
            ..Default::default()
        };
        self.client
            .shutdown(context::with_timeout(QUICK), &request)
            .await?;
        Ok(())
    }
}
