//! What runs containers: OCI bundles go in, task events come out.
//!
//! Two backends do it, and who keeps Pods can't tell them apart: [`embedded`], the shim driven directly with no daemon
//! installed, and [`crate::containerd`], which has any runtime-v2 shim. A [`Runtime`] gives each Pod its [`PodRuntime`],
//! and that gives each sandbox its [`Tasks`].

pub mod embedded;
mod events;
mod shim;
mod task;

use std::path::Path;
use std::rc::Rc;

use async_trait::async_trait;
use carob_core::pod::Pod;

pub use events::{EventServer, TaskEvent, decode};
pub use shim::Shim;
pub(crate) use shim::stream_uris;
pub(crate) use task::PROCESS_TYPE;
pub use task::{
    CreateTask, ExecTask, Exited, Mount, Process, Rootfs, Snapshot, Stdio, TaskError, TaskState,
};

/// Why a Pod's containers can't be run or cleaned up; one sentence.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct RuntimeError(#[from] pub anyhow::Error);

/// The names of a Pod.
#[derive(Debug, Clone)]
pub struct PodName {
    /// Its UID.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl PodName {
    /// Those of a manifest.
    pub fn of(pod: &Pod) -> Self {
        let meta = &pod.metadata;
        Self {
            uid: meta.uid.clone(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
        }
    }
}

/// What runs the containers of all Pods.
#[async_trait(?Send)]
pub trait Runtime {
    /// What runs those of one Pod. Its events are heard from now on, those among them that nobody took yet too. Only
    /// who runs the Pod may.
    ///
    /// # Errors
    /// When its events can't be heard.
    async fn pod(&self, pod: PodName) -> Result<Rc<dyn PodRuntime>, RuntimeError>;
}

/// What runs the containers of one Pod.
#[async_trait(?Send)]
pub trait PodRuntime {
    /// What serves the tasks of a sandbox, made ready unless it is already.
    ///
    /// # Errors
    /// When it does not start.
    async fn open(&self, sandbox: &str, bundle: &Path) -> Result<Rc<dyn Tasks>, RuntimeError>;

    /// What serves the tasks of a sandbox that was made before; `None` when nothing does any more.
    async fn find(&self, bundle: &Path) -> Option<Rc<dyn Tasks>>;

    /// Cleans up a container that nothing serves any more: its processes, cgroup and mounts.
    ///
    /// # Errors
    /// When something of it stays.
    async fn delete_orphan(&self, id: &str, bundle: &Path) -> Result<(), RuntimeError>;

    /// Nothing is left of the Pod to be heard of.
    async fn close(&self);
}

/// What serves the tasks of one sandbox: containerd's Task service, whoever it is asked of.
#[async_trait(?Send)]
pub trait Tasks {
    /// Creates a container and returns the PID of its init, which waits for [`start`](Self::start).
    ///
    /// # Errors
    /// [`TaskError::Exists`] when there is one of this ID; the runtime's own sentence.
    async fn create(&self, task: CreateTask) -> Result<i32, TaskError>;

    /// Adds a process to a running container, for [`start`](Self::start).
    ///
    /// # Errors
    /// [`TaskError::Exists`] when the container has a process of this name; the runtime's own sentence.
    async fn exec(&self, task: ExecTask) -> Result<(), TaskError>;

    /// Lets a created process run, and returns its PID.
    ///
    /// # Errors
    /// [`TaskError::NotNow`] when it was started before; the runtime's own sentence, such as that the program is not
    /// there.
    async fn start(&self, process: Process<'_>) -> Result<i32, TaskError>;

    /// Sends a signal to a process, or with `all` to all processes of the container. An exec with `childSubreaper`
    /// takes all that it started with it.
    ///
    /// # Errors
    /// [`TaskError::NotFound`] when it has already ended.
    async fn kill(&self, process: Process<'_>, signal: u32, all: bool) -> Result<(), TaskError>;

    /// Removes a process that has ended or was never started.
    ///
    /// # Errors
    /// The runtime's own sentence; [`TaskError::NotFound`] when it is not there.
    async fn delete(&self, process: Process<'_>) -> Result<(), TaskError>;

    /// How far the container is.
    ///
    /// # Errors
    /// [`TaskError::NotFound`] when there is none of that name.
    async fn state(&self, id: &str) -> Result<TaskState, TaskError>;

    /// Returns when a process has ended.
    ///
    /// # Errors
    /// [`TaskError::Gone`] when what serves it dies before.
    async fn wait(&self, process: Process<'_>) -> Result<Exited, TaskError>;

    /// The sandbox of this ID has no container any more; `now` without waiting for events to be taken.
    ///
    /// # Errors
    /// [`TaskError::Gone`] when what served it went before it could answer, which is what was wanted.
    async fn shutdown(&self, id: &str, now: bool) -> Result<(), TaskError>;

    /// From now on the end of a container that was started is told as a [`TaskEvent`]; `cgroup` is the container's.
    /// Where events come by themselves there is nothing to do.
    fn watch(&self, _id: &str, _cgroup: &str) {}
}
