//! What those who watch a Pod are told, and how.

use std::path::PathBuf;
use std::rc::Rc;

use carob_core::decide::Outcome;
use carob_core::status::{LoggedEvent, PodEvent, PodStatus};

/// What those who watch a Pod are told.
#[derive(Debug, Clone)]
pub enum Update {
    /// Its status, whenever it has changed.
    Status(Rc<PodStatus>),
    /// Something worth telling happened.
    Event(PodEvent),
    /// What the event log has of it.
    Logged(LoggedEvent),
    /// An image is being pulled: bytes had and wanted.
    Pulling {
        /// The container that wants it.
        container: String,
        /// Bytes here already.
        done: u64,
        /// Bytes in all; 0 while not known.
        total: u64,
    },
    /// A container's process was made; its log has this name.
    Log {
        /// The container.
        container: String,
        /// The log file.
        path: PathBuf,
    },
    /// Nothing is left of the Pod but its logs.
    Done(Outcome),
}

/// One Pod's way to tell whoever watches it.
#[derive(Clone)]
pub struct Watch(Rc<dyn Fn(Update)>);

impl Watch {
    /// The watcher hears of each update at once, within what the Pod is doing: it must not take long.
    pub fn new(watcher: impl Fn(Update) + 'static) -> Self {
        Self(Rc::new(watcher))
    }

    /// Tells the watcher.
    pub fn tell(&self, update: Update) {
        (self.0)(update);
    }
}
