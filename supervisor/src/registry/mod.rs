//! All Pods of a daemon: begun, watched, deleted, and remembered after their end until someone deletes them.
//!
//! It decides nothing about a Pod's life: that is its actor's. Versions count all changes of all Pods; they begin at the
//! microsecond in which the daemon does, so they never go back, and a watcher of an earlier daemon is told to list again.

mod change;
mod object;
mod pods;
mod run;
mod shutdown;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use carob_core::event::Event;
use carob_core::eviction::{self, NodeCondition};
use carob_core::pod::Pod;
use carob_core::registry::{self, Origin, Present, TooOld, Wanted};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

pub use change::{Change, Changes, What};
pub use object::{Deletion, PodObject};

use crate::actor::Kept;
use crate::engine::Engine;
use crate::events::{self, PodEvents};
use crate::executor::{Executor, Source};
use crate::life::{BeginError, Life};
use crate::prune;
use crate::sentence::sentence;
use pods::Pods;

/// The owner of all Pods. Clones are the same registry.
#[derive(Clone)]
pub struct Registry(Rc<Shared>);

struct Shared {
    engine: Rc<Engine>,
    node_name: Rc<str>,
    pods: RefCell<Pods>,
    latest: watch::Sender<u64>,
    /// The machine goes down, and the Pods with it.
    ending: Cell<bool>,
    conditions: RefCell<Vec<NodeCondition>>,
}

/// What became of a Pod that someone wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It begins.
    Begun,
    /// It is here already.
    Unchanged,
    /// It begins once nothing is left of the one that has its name.
    Waits,
}

/// Why a Pod can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Its name is taken.
    #[error("Pod {name} is here already, from another source ({}); delete that one first", origin.as_str())]
    Taken {
        /// `namespace/name`.
        name: String,
        /// Who asked for the one that is here.
        origin: Origin,
    },
    /// It can't be claimed.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The logs of an earlier one are in its way.
    #[error("{0}")]
    Logs(String),
}

/// A Pod that a killed supervisor left and that can't go on.
#[derive(Debug)]
pub struct Stranded {
    /// `namespace/name`, or the UID when the record can't be read.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl Registry {
    /// A registry without Pods.
    pub fn new(engine: Rc<Engine>) -> Self {
        let start = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or_default();
        Self(Rc::new(Shared {
            node_name: engine.machine.node_name.as_str().into(),
            engine,
            pods: RefCell::new(Pods::new(start)),
            latest: watch::Sender::new(start),
            ending: Cell::new(false),
            conditions: RefCell::default(),
        }))
    }

    /// Goes on with all Pods that were left behind, and remembers those that are through. One that can't go on keeps
    /// no other from it.
    ///
    /// # Errors
    /// When the directories can't be read.
    pub fn adopt(&self) -> anyhow::Result<Vec<Stranded>> {
        let dirs = &self.0.engine.dirs;
        let mut stranded = Vec::new();
        for known in prune::leftovers(dirs)? {
            let reason = match Life::take_over(dirs, &known.uid) {
                Ok(Some(life)) => match life.cannot_go_on(&self.0.engine.home) {
                    Some(reason) if life.ended.is_none() => reason,
                    _ => {
                        self.enter(life);
                        continue;
                    }
                },
                // Someone was faster.
                Ok(None) => continue,
                Err(error) => sentence(&error),
            };
            stranded.push(Stranded {
                name: known.name.unwrap_or(known.uid),
                reason,
            });
        }
        Ok(stranded)
    }

    /// Has a Pod run, whose UID is its own. One of the same name and origin but with another manifest is deleted first.
    ///
    /// # Errors
    /// When its name is someone else's, or nothing can be written of it.
    pub fn apply(&self, pod: Pod, origin: Origin) -> Result<Applied, ApplyError> {
        let meta = &pod.metadata;
        let present = self.get(&meta.namespace, &meta.name);
        let present = present.as_ref();
        let what = registry::wanted(
            &pod,
            origin,
            present.map(|object| Present {
                pod: &object.pod,
                origin: object.origin,
                terminating: object.deletion.is_some(),
            }),
        );
        match (what, present) {
            (Wanted::Begin, _) | (_, None) => {
                self.begin(pod, origin)?;
                Ok(Applied::Begun)
            }
            (Wanted::Here, _) => Ok(Applied::Unchanged),
            (Wanted::Taken(origin), Some(present)) => Err(ApplyError::Taken {
                name: present.full_name(),
                origin,
            }),
            (Wanted::Wait | Wanted::Replace, Some(present)) => {
                let uid = &present.pod.metadata.uid;
                self.0.pods.borrow_mut().set_successor(uid, pod, origin);
                if what == Wanted::Replace {
                    self.end(uid, None);
                }
                Ok(Applied::Waits)
            }
        }
    }

    /// Deletes a Pod, by its own grace period or a given one in seconds, and whoever waited for its name. Of several
    /// deletions the one that ends earliest wins. Gives the Pod as it is then; none when there is no such Pod.
    pub fn delete(&self, uid: &str, grace_seconds: Option<u64>) -> Option<Rc<PodObject>> {
        self.0.pods.borrow_mut().drop_successor(uid);
        self.end(uid, grace_seconds)
    }

    /// The Pod of a name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Rc<PodObject>> {
        self.0.pods.borrow().named(namespace, name)
    }

    /// The Pod of a UID.
    pub fn by_uid(&self, uid: &str) -> Option<Rc<PodObject>> {
        let pods = self.0.pods.borrow();
        pods.get(uid).map(|entry| entry.object.clone())
    }

    /// All Pods by namespace and name, and the version at which they are so.
    pub fn list(&self) -> (Vec<Rc<PodObject>>, u64) {
        let pods = self.0.pods.borrow();
        (pods.all(), pods.history.latest())
    }

    /// All changes after a version.
    ///
    /// # Errors
    /// [`TooOld`] when they are not all known.
    pub fn watch(&self, after: u64) -> Result<Changes, TooOld> {
        self.after(after)?;
        let latest = self.0.latest.subscribe();
        Ok(Changes::new(self.clone(), after, latest))
    }

    /// What happened in the last hour, also to Pods that are gone.
    ///
    /// # Errors
    /// When the event logs can't be read.
    pub fn events(&self) -> std::io::Result<Vec<PodEvents>> {
        events::list(&self.0.engine.dirs)
    }

    /// What does things for a Pod, while it is not through.
    pub fn executor(&self, uid: &str) -> Option<Rc<Executor>> {
        let pods = self.0.pods.borrow();
        pods.get(uid)?.executor.clone()
    }

    /// ConfigMaps or Secrets have changed: volumes follow.
    pub fn objects_changed(&self) {
        let pods = self.0.pods.borrow();
        let executors: Vec<_> = pods.entries().filter_map(|e| e.executor.clone()).collect();
        drop(pods);
        executors.iter().for_each(|e| e.refresh_volumes());
    }

    /// True when no Pod runs, nor will without being told to.
    pub fn is_idle(&self) -> bool {
        let pods = self.0.pods.borrow();
        pods.entries().all(|entry| entry.kept.is_some())
    }

    /// What the machine is short of: not every Pod may begin then.
    pub fn set_conditions(&self, conditions: Vec<NodeCondition>) {
        self.0.conditions.replace(conditions);
    }

    /// What the machine is short of.
    pub fn conditions(&self) -> Vec<NodeCondition> {
        self.0.conditions.borrow().clone()
    }

    /// Tells a Pod's actor of something; false when it is through.
    pub fn tell_pod(&self, uid: &str, event: Event) -> bool {
        let pods = self.0.pods.borrow();
        let entry = pods.get(uid).filter(|entry| entry.kept.is_none());
        entry.is_some_and(|entry| entry.inbox.send(event).is_ok())
    }

    /// True for a Pod whose end is decided and of which something is left.
    pub fn is_ending(&self, uid: &str) -> bool {
        let pods = self.0.pods.borrow();
        let entry = pods.get(uid).filter(|entry| entry.kept.is_none());
        entry.is_some_and(|entry| entry.object.status.phase.is_terminal())
    }

    /// What all Pods share.
    pub fn engine(&self) -> &Rc<Engine> {
        &self.0.engine
    }

    fn begin(&self, pod: Pod, origin: Origin) -> Result<(), ApplyError> {
        let dirs = &self.0.engine.dirs;
        let mut life = Life::begin(dirs, pod, Source::Manifest, origin, &self.0.engine.home)?;
        if let Err(error) = life.forget_old_logs(dirs) {
            if let Err(left) = Life::abandon(vec![life]) {
                tracing::warn!(error = %left, "a Pod that never began is left behind");
            }
            return Err(ApplyError::Logs(sentence(&error)));
        }
        if let Err(rejection) = eviction::admit(&life.pod, &self.conditions()) {
            let now = life.clock.now();
            let rejected = Event::Evict {
                message: rejection.message,
                grace_seconds: 1,
                disruption: false,
                rejected: true,
            };
            life.state.observe(&life.pod, rejected, now);
        }
        self.enter(life);
        Ok(())
    }

    /// Asks for a Pod's end.
    fn end(&self, uid: &str, grace_seconds: Option<u64>) -> Option<Rc<PodObject>> {
        let mut pods = self.0.pods.borrow_mut();
        let entry = pods.get_mut(uid)?;
        let spec = &entry.object.pod.spec;
        let seconds = grace_seconds.unwrap_or(spec.termination_grace_period_seconds);
        let grace = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        let now = Timestamp::now();
        let deletion = Deletion {
            at: now.checked_add(grace).unwrap_or(Timestamp::MAX),
            grace_seconds: seconds,
        };
        if let Some(kept) = entry.kept.take() {
            tokio::task::spawn_local(self.clone().forget(uid.to_owned(), kept));
        }
        // The actor may have ended a moment ago; then `ended` finds the deletion.
        let _ = entry.inbox.send(Event::DeleteRequested { grace_seconds });
        let object = entry.object.clone();
        if object
            .deletion
            .is_some_and(|before| before.at <= deletion.at)
        {
            return Some(object);
        }
        let object = pods.modify(uid, |object| object.deletion = Some(deletion));
        drop(pods);
        self.tell();
        object
    }

    async fn forget(self, uid: String, kept: Kept) {
        if let Err(error) = kept.forget().await {
            tracing::warn!(%error, uid, "the record of a Pod that is gone stays");
        }
        self.gone(&uid);
    }

    fn after(&self, version: u64) -> Result<Option<Change>, TooOld> {
        let pods = self.0.pods.borrow();
        let found = pods.history.after(version)?;
        Ok(found.map(|(version, what)| Change {
            version,
            what: what.clone(),
        }))
    }

    /// Wakes those who watch.
    fn tell(&self) {
        let latest = self.0.pods.borrow().history.latest();
        self.0.latest.send_replace(latest);
    }
}
