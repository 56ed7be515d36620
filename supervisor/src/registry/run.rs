//! A Pod's way through the registry: entered, started, heard of, and gone.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::task::spawn_local;

use super::pods::Entry;
use super::{Deletion, PodObject, Registry};
use crate::actor::{AtEnd, End, Kept};
use crate::life::{Inbox, Life, remove_logs};
use crate::record::RecordError;
use crate::runtime::PodName;
use crate::sentence::sentence;
use crate::watch::{Update, Watch};

/// How soon a Pod that could not be listened to is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

impl Registry {
    /// Takes in a Pod that was claimed, and starts its actor unless it is through.
    pub(super) fn enter(&self, life: Life) {
        let uid = life.pod.metadata.uid.clone();
        let inbox = mpsc::unbounded_channel();
        let at_end = Rc::new(Cell::new(life.shutdown.unwrap_or(AtEnd::Keep)));
        let object = self.first_object(&life);
        let entry = |version| Entry {
            object: Rc::new(PodObject {
                resource_version: version,
                ..object
            }),
            inbox: inbox.0.clone(),
            executor: None,
            at_end: at_end.clone(),
            journal: None,
            kept: None,
            with_machine: life.shutdown.is_some(),
            successor: None,
        };
        self.0.pods.borrow_mut().add(uid.clone(), entry);
        self.tell();
        if life.ended.is_none() {
            spawn_local(self.clone().run(life, inbox, at_end));
            return;
        }
        // That it was to end with the machine was nobody's wish to have it gone.
        let deleted = life.state.memory.delete.is_some() && life.shutdown.is_none();
        let kept = Kept::new(life.claim);
        if deleted {
            spawn_local(self.clone().forget(uid, kept));
        } else if let Some(entry) = self.0.pods.borrow_mut().get_mut(&uid) {
            entry.kept = Some(kept);
        }
    }

    /// What its first decision will show, or its last one has.
    fn first_object(&self, life: &Life) -> PodObject {
        let now = life.clock.now();
        let status = match &life.ended {
            Some(ended) => Rc::new(ended.status.clone()),
            None => life.state.clone().step(&life.pod, now).status,
        };
        let memory = &life.state.memory;
        let deletion = memory.delete.filter(|_| life.ended.is_none());
        let deletion = deletion.map(|delete| {
            let left = delete.kill_at.since(now.mono);
            let grace = SignedDuration::from_millis(i64::try_from(left).unwrap_or(i64::MAX));
            Deletion {
                at: now.wall.checked_add(grace).unwrap_or(Timestamp::MAX),
                grace_seconds: left.div_ceil(1000),
            }
        });
        PodObject {
            pod: Rc::new(life.pod.clone()),
            status,
            origin: life.origin,
            resource_version: 0,
            created: memory.start_time,
            deletion,
            node_name: self.0.node_name.clone(),
        }
    }

    async fn run(self, life: Life, inbox: Inbox, at_end: Rc<Cell<AtEnd>>) {
        let uid = life.pod.metadata.uid.clone();
        let mut told = false;
        let runtime = loop {
            match self.0.engine.runtime.pod(PodName::of(&life.pod)).await {
                Ok(runtime) => break runtime,
                Err(error) if told => tracing::debug!(%error, uid, "still not listening"),
                Err(error) => {
                    told = true;
                    let pod = &life.pod.metadata.name;
                    tracing::warn!(%error, pod, "the Pod waits until its shim can be heard");
                }
            }
            tokio::time::sleep(LISTEN_AGAIN).await;
        };
        let watch = {
            let (registry, uid) = (self.clone(), uid.clone());
            Watch::new(move |update| registry.heard(&uid, update))
        };
        let started = life.start(&self.0.engine, runtime, inbox, watch, at_end.clone());
        // They may have changed while nobody had the Pod.
        started.executor.refresh_volumes();
        if let Some(entry) = self.0.pods.borrow_mut().get_mut(&uid) {
            entry.executor = Some(started.executor);
            entry.journal = Some(started.journal);
        }
        let end = started.actor.run().await;
        self.ended(uid, end).await;
    }

    fn heard(&self, uid: &str, update: Update) {
        let mut pods = self.0.pods.borrow_mut();
        match update {
            Update::Status(status) => {
                pods.modify(uid, |object| object.status = status);
            }
            Update::Logged(event) => pods.event(uid, event),
            Update::Event(_) | Update::Pulling { .. } | Update::Log { .. } | Update::Done(_) => {
                return;
            }
        }
        drop(pods);
        self.tell();
    }

    /// The Pod's actor is through.
    async fn ended(self, uid: String, end: Result<End, RecordError>) {
        let kept = match end {
            Ok(end) => end.kept,
            Err(error) => {
                tracing::warn!(%error, uid, "the record of a Pod that is gone stays");
                None
            }
        };
        let kept = {
            let mut pods = self.0.pods.borrow_mut();
            let Some(entry) = pods.get_mut(&uid) else {
                return;
            };
            entry.executor = None;
            let with_machine = entry.with_machine;
            match kept {
                Some(kept) if with_machine && !self.0.ending.get() => {
                    // The machine stays up after all, or is up again: the Pod goes on.
                    drop(kept);
                    drop(pods);
                    return self.again(&uid);
                }
                // It may have been deleted while it ended.
                Some(kept) if with_machine || entry.object.deletion.is_none() => {
                    entry.kept = Some(kept);
                    drop(pods);
                    return self.tell();
                }
                kept => kept,
            }
        };
        match kept {
            Some(kept) => self.forget(uid, kept).await,
            None => self.gone(&uid),
        }
    }

    /// Takes a Pod over from itself, as its record has it now.
    fn again(&self, uid: &str) {
        let entry = self.0.pods.borrow_mut().remove(uid);
        self.tell();
        match Life::take_over(&self.0.engine.dirs, uid) {
            Ok(Some(life)) => self.enter(life),
            Ok(None) => tracing::warn!(uid, "someone else has taken the Pod over"),
            Err(error) => tracing::error!(error = %sentence(&error), uid, "the Pod can't go on"),
        }
        if let Some((pod, origin)) = entry.and_then(|entry| entry.successor)
            && let Err(error) = self.apply(pod, origin)
        {
            tracing::error!(%error, "a new manifest is not followed");
        }
    }

    /// Nothing is left of a Pod but its logs, which go too; who waited for its name begins.
    pub(super) fn gone(&self, uid: &str) {
        let Some(entry) = self.0.pods.borrow_mut().remove(uid) else {
            return;
        };
        self.tell();
        let dirs = &self.0.engine.dirs;
        if let Err(error) = remove_logs(dirs, &entry.object.pod) {
            tracing::warn!(error = %sentence(&error), uid, "the logs of a Pod that is gone stay");
        }
        if let Some((pod, origin)) = entry.successor {
            let name = pod.metadata.name.clone();
            if let Err(error) = self.begin(pod, origin) {
                tracing::error!(%error, pod = name, "the Pod can't take its predecessor's place");
            }
        }
    }
}
