//! The words of the Task service: what makes a task, how far it is, and why it did not do what it was asked.

use std::path::PathBuf;

use jiff::Timestamp;

/// Why the runtime did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TaskError {
    /// There is no such task or process.
    #[error("{0}")]
    NotFound(String),
    /// There is one already.
    #[error("{0}")]
    Exists(String),
    /// The task is in no state for that; the runtime's own words.
    #[error("{0}")]
    NotNow(String),
    /// The runtime refused; its own words.
    #[error("{0}")]
    Refused(String),
    /// The shim is gone or doesn't answer.
    #[error("the shim does not answer ({0}); it was killed or the machine is overloaded")]
    Gone(String),
}

/// A process of a container, as the Task service names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process<'a> {
    /// The container.
    pub id: &'a str,
    /// The name of an exec; empty for init.
    pub exec_id: &'a str,
}

impl<'a> Process<'a> {
    /// The container's own.
    pub fn init(id: &'a str) -> Self {
        Self { id, exec_id: "" }
    }

    /// One that was added.
    pub fn exec(id: &'a str, exec_id: &'a str) -> Self {
        Self { id, exec_id }
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

/// A snapshot that a container's root file system is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Who has it.
    pub snapshotter: String,
    /// Its name there.
    pub key: String,
}

/// Where a container's root file system comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rootfs {
    /// Mounted at `rootfs` in the bundle; none when `config.json` names a directory.
    pub mounts: Vec<Mount>,
    /// What containerd has it as, so that its garbage collector leaves it alone while the container is there.
    pub snapshot: Option<Snapshot>,
}

/// Where standard input, output and error go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Stdio {
    /// `/dev/null`.
    #[default]
    Null,
    /// A log file in the Kubernetes format, rotated; no input.
    Log(PathBuf),
    /// Named pipes that someone else has made: standard input, output and error.
    Pipes([PathBuf; 3]),
}

/// What makes a task.
#[derive(Debug, Clone)]
pub struct CreateTask {
    /// Container ID.
    pub id: String,
    /// The container's name in its Pod, for people who look.
    pub name: String,
    /// Which instance of that name.
    pub attempt: u32,
    /// What it is made of, as the manifest has it; empty when of nothing that has a name.
    pub image: String,
    /// Directory with `config.json`.
    pub bundle: PathBuf,
    /// The same `config.json`.
    pub config: Vec<u8>,
    /// Its root file system.
    pub rootfs: Rootfs,
    /// Its standard streams.
    pub stdio: Stdio,
    /// A terminal instead of three streams.
    pub terminal: bool,
}

impl CreateTask {
    /// A task of a bundle alone: its root file system is named by its `config.json`, its standard streams are
    /// `/dev/null`.
    pub fn of_bundle(id: &str, name: &str, bundle: PathBuf, config: Vec<u8>) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            attempt: 0,
            image: String::new(),
            bundle,
            config,
            rootfs: Rootfs::default(),
            stdio: Stdio::Null,
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
    /// It is being made, or what was made is being started.
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

/// What containerd's clients call an OCI process.
pub(crate) const PROCESS_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
