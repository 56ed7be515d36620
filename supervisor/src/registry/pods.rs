//! The Pods by UID, and the history of their changes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use carob_core::event::Event;
use carob_core::pod::Pod;
use carob_core::registry::{History, Origin};
use carob_core::status::LoggedEvent;
use tokio::sync::mpsc;

use super::{PodObject, What};
use crate::actor::{AtEnd, Kept};
use crate::events::Journal;
use crate::executor::Executor;

/// How many changes are remembered for those who watch.
const REMEMBERED: usize = 1024;

/// What is known of one Pod.
pub(super) struct Entry {
    pub object: Rc<PodObject>,
    pub inbox: mpsc::UnboundedSender<Event>,
    /// Set while its actor runs.
    pub executor: Option<Rc<Executor>>,
    /// What becomes of it then.
    pub at_end: Rc<Cell<AtEnd>>,
    /// Its event log, once its actor has begun.
    pub journal: Option<Rc<RefCell<Journal>>>,
    /// Set when it is through.
    pub kept: Option<Kept>,
    /// It is ended with the machine.
    pub with_machine: bool,
    /// Who has its name next.
    pub successor: Option<(Pod, Origin)>,
}

/// All of them.
pub(super) struct Pods {
    by_uid: BTreeMap<String, Entry>,
    pub history: History<What>,
}

impl Pods {
    pub fn new(version: u64) -> Self {
        Self {
            by_uid: BTreeMap::new(),
            history: History::new(version, REMEMBERED),
        }
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.by_uid.values()
    }

    pub fn get(&self, uid: &str) -> Option<&Entry> {
        self.by_uid.get(uid)
    }

    pub fn get_mut(&mut self, uid: &str) -> Option<&mut Entry> {
        self.by_uid.get_mut(uid)
    }

    pub fn named(&self, namespace: &str, name: &str) -> Option<Rc<PodObject>> {
        let mut objects = self.by_uid.values().map(|entry| &entry.object);
        let is = |object: &&Rc<PodObject>| {
            let meta = &object.pod.metadata;
            (&*meta.namespace, &*meta.name) == (namespace, name)
        };
        objects.find(is).cloned()
    }

    /// By namespace and name.
    pub fn all(&self) -> Vec<Rc<PodObject>> {
        let objects = self.by_uid.values().map(|entry| entry.object.clone());
        let mut objects: Vec<_> = objects.collect();
        objects.sort_by(|a, b| {
            let key = |o: &PodObject| {
                let meta = &o.pod.metadata;
                (meta.namespace.clone(), meta.name.clone())
            };
            key(a).cmp(&key(b))
        });
        objects
    }

    /// A Pod is new; `entry` makes what is known of it from the version.
    pub fn add(&mut self, uid: String, entry: impl FnOnce(u64) -> Entry) {
        let by_uid = &mut self.by_uid;
        self.history.push(|version| {
            let entry = entry(version);
            let object = entry.object.clone();
            by_uid.insert(uid, entry);
            What::Added(object)
        });
    }

    /// Changes a Pod's object; gives the new one.
    pub fn modify(
        &mut self,
        uid: &str,
        change: impl FnOnce(&mut PodObject),
    ) -> Option<Rc<PodObject>> {
        let entry = self.by_uid.get_mut(uid)?;
        self.history.push(|version| {
            let mut object = (*entry.object).clone();
            object.resource_version = version;
            change(&mut object);
            entry.object = Rc::new(object);
            What::Modified(entry.object.clone())
        });
        Some(entry.object.clone())
    }

    /// Something happened to a Pod.
    pub fn event(&mut self, uid: &str, event: LoggedEvent) {
        if let Some(entry) = self.by_uid.get(uid) {
            let object = entry.object.clone();
            self.history.push(|_| What::Event(object, Rc::new(event)));
        }
    }

    /// Nothing is left of a Pod; gives what was known of it.
    pub fn remove(&mut self, uid: &str) -> Option<Entry> {
        let entry = self.by_uid.remove(uid)?;
        self.history.push(|version| {
            let mut object = (*entry.object).clone();
            object.resource_version = version;
            What::Deleted(Rc::new(object))
        });
        Some(entry)
    }

    pub fn set_successor(&mut self, uid: &str, pod: Pod, origin: Origin) {
        if let Some(entry) = self.by_uid.get_mut(uid) {
            entry.successor = Some((pod, origin));
        }
    }

    pub fn drop_successor(&mut self, uid: &str) {
        if let Some(entry) = self.by_uid.get_mut(uid) {
            entry.successor = None;
        }
    }
}
