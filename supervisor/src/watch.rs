//! What those who watch a Pod are told, and how.

use std::path::PathBuf;
use std::rc::Rc;

use carob_core::decide::Outcome;
use carob_core::status::{PodEvent, PodStatus};
use tokio::sync::mpsc;

/// What those who watch a Pod are told.
#[derive(Debug, Clone)]
pub enum Update {
    /// Its status, whenever it has changed.
    Status(Rc<PodStatus>),
    /// Something worth telling happened.
    Event(PodEvent),
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

/// One Pod's end of the channel to whoever watches all of them.
#[derive(Clone)]
pub struct Watch {
    pod: usize,
    sender: mpsc::UnboundedSender<(usize, Update)>,
}

impl Watch {
    /// For the Pod that the watcher knows by this number.
    pub fn new(pod: usize, sender: mpsc::UnboundedSender<(usize, Update)>) -> Self {
        Self { pod, sender }
    }

    /// A watcher that left doesn't need to know.
    pub fn tell(&self, update: Update) {
        let _ = self.sender.send((self.pod, update));
    }
}
