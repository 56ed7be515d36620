//! What probes and hooks of one Pod need: where they ask, which commands run, and when they are given up.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::{Executor, Instance};
use crate::network::open_namespace;
use crate::probe::Place;
use crate::probe::exec::{Command, Commands, Ended, Failure};

/// How far a container has come, for who waits for an answer of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Stage {
    /// As far as is known it runs.
    #[default]
    Runs,
    /// Its preStop hook has begun.
    Stops,
    /// A signal was sent to it.
    Signalled,
    /// It has ended.
    Ended,
}

/// The state of a Pod's probes and hooks.
#[derive(Default)]
pub(super) struct Asked {
    commands: Commands,
    stages: RefCell<BTreeMap<String, watch::Sender<Stage>>>,
    /// What a container's commands are like, by container: its init's OCI process.
    processes: RefCell<BTreeMap<String, Rc<Map<String, Value>>>>,
    /// The network namespace of the sandbox with this PID.
    namespace: RefCell<Option<(i32, Rc<OwnedFd>)>>,
}

/// The part of `config.json` that commands are made from.
#[derive(Deserialize)]
struct Config {
    process: Map<String, Value>,
}

impl Asked {
    /// Returns when a container has come that far.
    pub(super) async fn reached(&self, id: &str, wanted: Stage) {
        let mut stage = self.stage(id).subscribe();
        // The sender only goes when the container is forgotten.
        let _ = stage.wait_for(|stage| *stage >= wanted).await;
    }

    /// A container has come that far.
    pub(super) fn advance(&self, id: &str, to: Stage) {
        self.stage(id).send_if_modified(|stage| {
            let further = to > *stage;
            *stage = to.max(*stage);
            further
        });
    }

    /// A container is gone: whatever is asked of it is given up.
    pub(super) fn forget(&self, id: &str) {
        self.stages.borrow_mut().remove(id);
        self.processes.borrow_mut().remove(id);
        self.commands.forget(id);
    }

    /// The sandbox is gone; nothing of ours keeps its namespace alive.
    pub(super) fn leave(&self) {
        self.namespace.take();
    }

    fn stage(&self, id: &str) -> watch::Sender<Stage> {
        let mut stages = self.stages.borrow_mut();
        stages.entry(id.to_owned()).or_default().clone()
    }
}

impl Executor {
    /// Where the Pod's handlers ask.
    ///
    /// # Errors
    /// When there is no sandbox, or its namespace can't be opened.
    pub(super) fn place(&self) -> Result<Place, String> {
        let live = self.live.borrow();
        let sandbox = live.sandbox.as_ref().ok_or("the Pod's sandbox is gone")?;
        let own = self.pod.spec.host_network;
        let ip = match own {
            true => Some(self.engine.machine.host_ip),
            false => sandbox.ips.first().copied(),
        };
        let namespace = match own {
            true => None,
            false => Some(self.asked.namespace_of(sandbox.pid)?),
        };
        Ok(Place {
            ip,
            namespace,
            sockets: self.engine.sockets.clone(),
        })
    }

    /// Runs a command in a container.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) async fn command(
        &self,
        instance: &Instance,
        name: &'static str,
        words: &[String],
        limit: Option<std::time::Duration>,
    ) -> Result<Ended, Failure> {
        let id = self.id(&instance.name, instance.attempt);
        let tasks = self.tasks();
        let command = Command {
            tasks: tasks.map_err(|error| Failure::Refused(error.to_string()))?,
            name,
            process: self
                .process(&id, instance, words)
                .map_err(Failure::Refused)?,
            dir: self.bundle(&instance.name, instance.attempt),
            id,
        };
        self.asked.commands.run(command, limit).await
    }

    /// An OCI process like the container's own that executes something else, and can be killed with all that it
    /// starts.
    fn process(&self, id: &str, instance: &Instance, words: &[String]) -> Result<Vec<u8>, String> {
        let known = self.asked.processes.borrow().get(id).cloned();
        let process = match known {
            Some(process) => process,
            None => {
                let path = self
                    .bundle(&instance.name, instance.attempt)
                    .join("config.json");
                let text = fs::read(&path).map_err(|e| format!("cannot read {path:?}: {e}"))?;
                let config: Config =
                    serde_json::from_slice(&text).map_err(|e| format!("{path:?}: {e}"))?;
                let process = Rc::new(config.process);
                let mut processes = self.asked.processes.borrow_mut();
                processes.insert(id.to_owned(), process.clone());
                process
            }
        };
        let mut process = Map::clone(&process);
        process.remove("consoleSize");
        process.insert("terminal".to_owned(), json!(false));
        process.insert("args".to_owned(), json!(words));
        process.insert("childSubreaper".to_owned(), json!(true));
        serde_json::to_vec(&process).map_err(|e| e.to_string())
    }
}

impl Asked {
    fn namespace_of(&self, pid: i32) -> Result<Rc<OwnedFd>, String> {
        let mut namespace = self.namespace.borrow_mut();
        if let Some((known, namespace)) = &*namespace
            && *known == pid
        {
            return Ok(namespace.clone());
        }
        let opened = open_namespace(pid).map_err(|error| error.to_string())?;
        let opened = Rc::new(opened);
        *namespace = Some((pid, opened.clone()));
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn stages_are_passed_in_order_and_never_back() {
        let asked = Asked::default();
        let mut context = Context::from_waker(Waker::noop());
        let mut stops = pin!(asked.reached("a", Stage::Stops));
        let mut ends = pin!(asked.reached("a", Stage::Ended));
        assert!(stops.as_mut().poll(&mut context).is_pending());
        asked.advance("b", Stage::Ended);
        assert!(stops.as_mut().poll(&mut context).is_pending());
        asked.advance("a", Stage::Signalled);
        asked.advance("a", Stage::Stops);
        assert!(stops.as_mut().poll(&mut context).is_ready());
        assert!(ends.as_mut().poll(&mut context).is_pending());
        asked.advance("a", Stage::Ended);
        assert!(ends.as_mut().poll(&mut context).is_ready());
        let mut later = pin!(asked.reached("a", Stage::Ended));
        assert!(later.as_mut().poll(&mut context).is_ready());
    }
}
