//! A Pod's way through the registry: entered, started, heard of, and gone.

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
        let object = self.first_object(&life);
        let entry = |version| Entry {
            object: Rc::new(PodObject {
                resource_version: version,
                ..object
            }),
            inbox: inbox.0.clone(),
            executor: None,
            journal: None,
            kept: None,
            successor: None,
        };
        self.0.pods.borrow_mut().add(uid.clone(), entry);
        self.tell();
        if life.ended.is_none() {
            spawn_local(self.clone().run(life, inbox));
            return;
        }
        let deleted = life.state.memory.delete.is_some();
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
        let deletion = memory.delete.map(|delete| {
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

    async fn run(self, life: Life, inbox: Inbox) {
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
        let started = life.start(&self.0.engine, runtime, inbox, watch, AtEnd::Keep);
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
            // It may have been deleted while it ended.
            match entry.object.deletion {
                None => {
                    entry.kept = kept;
                    if entry.kept.is_some() {
                        return;
                    }
                    None
                }
                Some(_) => kept,
            }
        };
        match kept {
            Some(kept) => self.forget(uid, kept).await,
            None => self.gone(&uid),
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
