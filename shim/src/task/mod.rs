//! The containers of one Pod: every operation of the Task service, free of its wire format.
//!
//! All state is in [`Shim`], behind one lock that is never held while waiting. Whatever outlives a
//! client's connection (a create, an exit) runs in a task of its own.

mod control;
mod create;
mod delete;
mod error;
mod exec;
mod exit;
mod inherited;
mod oom;
mod process;
mod start;
mod state;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::cgroup::Cgroup;
use crate::events::Publisher;
use crate::options::Options;
use crate::reap::{Children, Exit};
use crate::stdio::Owner;

pub use create::CreateRequest;
pub use delete::Deleted;
pub use error::{Error, Kind};
pub use exec::ExecRequest;
pub use process::Snapshot;
pub use state::{Event, Phase, Refused};

use create::{Creation, StartHandles};
use inherited::Inherited;
use oom::Oom;
use process::Process;

/// All that the shim knows.
pub struct Shim {
    namespace: String,
    /// A directory that workers cover with their own files.
    scratch: PathBuf,
    publisher: Publisher,
    children: Children,
    containers: Mutex<BTreeMap<String, Container>>,
    shutdown: Notify,
    emptied: Notify,
}

/// One container.
struct Container {
    creation: Arc<Creation>,
    bundle: PathBuf,
    cgroup: Option<Cgroup>,
    /// Its init is the first process of a PID namespace, so the kernel kills the others with it.
    owns_pid_namespace: bool,
    /// Hooks are to run after start, and after the end.
    hooks: (bool, bool),
    init: Process,
    /// Names the init for as long as it isn't reaped.
    init_pidfd: Option<OwnedFd>,
    start: Option<StartHandles>,
    oom: Option<Oom>,
    execs: BTreeMap<String, Process>,
    /// Read for the first exec.
    inherited: Option<Arc<Inherited>>,
    /// What the client wants of the runtime.
    options: Options,
    /// A Delete is under way.
    deleting: bool,
}

impl Shim {
    /// A shim without containers, for `namespace`. Must be made in the runtime.
    pub fn new(namespace: &str, scratch: PathBuf, publisher: Publisher) -> Self {
        Self {
            namespace: namespace.to_owned(),
            scratch,
            publisher,
            children: Children::default(),
            containers: Mutex::default(),
            shutdown: Notify::new(),
            emptied: Notify::new(),
        }
    }

    /// The shim's children, which the server's loop reaps.
    pub fn children(&self) -> &Children {
        &self.children
    }

    /// What a process is like now.
    ///
    /// # Errors
    /// When there is no such container or exec.
    pub fn state(&self, id: &str, exec_id: &str) -> Result<Snapshot, Error> {
        let mut containers = self.containers();
        let container = find(&mut containers, id)?;
        let bundle = container.bundle.clone();
        Ok(container
            .process(id, exec_id)?
            .snapshot(id, exec_id, bundle))
    }

    /// Waits for a process to end.
    ///
    /// # Errors
    /// When there is no such container or exec.
    pub async fn wait(&self, id: &str, exec_id: &str) -> Result<Exit, Error> {
        let mut done = {
            let mut containers = self.containers();
            find(&mut containers, id)?.process(id, exec_id)?.done()
        };
        match done.wait_for(Option::is_some).await.map(|exit| *exit) {
            Ok(Some(exit)) => Ok(exit),
            // It went without ever having run: a failed create, or an exec that was deleted.
            _ => Err(Error::not_found(id, exec_id)),
        }
    }

    /// All processes of the container: (process id, exec id where it is one). An init that has ended stays in the
    /// list until it is deleted, as a zombie would: when containerd (since 1.7) is restarted, it takes a task without
    /// processes for one that was never made, and deletes it, exit code and all.
    ///
    /// # Errors
    /// When there is no such container, or the cgroup can't be read.
    pub fn pids(&self, id: &str) -> Result<Vec<(i32, Option<String>)>, Error> {
        let mut containers = self.containers();
        let container = find(&mut containers, id)?;
        let mut pids = match &container.cgroup {
            Some(cgroup) => cgroup.pids().map_err(Error::internal)?,
            None => Vec::new(),
        };
        if pids.is_empty() && container.init.phase() == Phase::Stopped {
            pids.push(container.init.pid());
        }
        let exec = |pid: i32| {
            let found = container
                .execs
                .iter()
                .find(|(_, process)| process.pid() == pid);
            found.map(|(exec_id, _)| exec_id.clone())
        };
        Ok(pids.into_iter().map(|pid| (pid, exec(pid))).collect())
    }

    /// Asks the shim to end, which it does once it has no container. `now` also gives up events that nobody
    /// has taken yet. Returns whether it ends.
    pub fn shutdown(&self, now: bool) -> bool {
        let ends = self.is_empty();
        if ends {
            if now {
                self.publisher.give_up();
            }
            self.shutdown.notify_one();
        }
        ends
    }

    /// Waits until the shim is to end.
    pub async fn ended(&self) {
        self.shutdown.notified().await;
    }

    /// Whether there is no container, not even one that is being made.
    pub fn is_empty(&self) -> bool {
        self.containers().is_empty()
    }

    /// Waits until the last container is gone.
    pub async fn emptied(&self) {
        self.emptied.notified().await;
    }

    /// Takes the container out, when nobody needs it any more.
    fn take(&self, id: &str) -> Option<Container> {
        let mut containers = self.containers();
        let container = containers.remove(id);
        if containers.is_empty() {
            self.emptied.notify_one();
        }
        container
    }

    /// Delivers the events that are still queued.
    pub async fn flush(&self, limit: std::time::Duration) {
        self.publisher.flush(limit).await;
    }

    /// Who streams of a container belong to.
    fn owner<'a>(&'a self, id: &'a str) -> Owner<'a> {
        Owner {
            namespace: &self.namespace,
            container: id,
            children: &self.children,
        }
    }

    fn containers(&self) -> MutexGuard<'_, BTreeMap<String, Container>> {
        self.containers
            .lock()
            .expect("no code panics while it holds the containers")
    }
}

impl Container {
    /// The init process for an empty `exec_id`, else the exec.
    fn process(&mut self, id: &str, exec_id: &str) -> Result<&mut Process, Error> {
        if exec_id.is_empty() {
            return Ok(&mut self.init);
        }
        self.execs
            .get_mut(exec_id)
            .ok_or_else(|| Error::not_found(id, exec_id))
    }
}

/// The container, unless it is being deleted.
fn find<'a>(
    containers: &'a mut BTreeMap<String, Container>,
    id: &str,
) -> Result<&'a mut Container, Error> {
    containers
        .get_mut(id)
        .filter(|container| !container.deleting)
        .ok_or_else(|| Error::not_found(id, ""))
}
