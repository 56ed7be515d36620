//! What watchers are told, in order, and how they wait for it.

use std::rc::Rc;

use carob_core::registry::TooOld;
use carob_core::status::LoggedEvent;
use tokio::sync::watch;

use super::{PodObject, Registry};

/// Something changed.
#[derive(Debug, Clone)]
pub struct Change {
    /// Its version.
    pub version: u64,
    /// What.
    pub what: What,
}

/// What changed.
#[derive(Debug, Clone)]
pub enum What {
    /// A Pod is new here.
    Added(Rc<PodObject>),
    /// A Pod, mostly its status, is another one.
    Modified(Rc<PodObject>),
    /// Nothing is left of a Pod; this is how it was last.
    Deleted(Rc<PodObject>),
    /// Something worth telling happened to a Pod; an entry with a count above 1 was there before.
    Event(Rc<PodObject>, Rc<LoggedEvent>),
}

/// All changes from a version on.
pub struct Changes {
    registry: Registry,
    version: u64,
    latest: watch::Receiver<u64>,
}

impl Changes {
    pub(super) fn new(registry: Registry, version: u64, latest: watch::Receiver<u64>) -> Self {
        Self {
            registry,
            version,
            latest,
        }
    }

    /// The next change, when there is one. Nothing is lost when the wait is given up.
    ///
    /// # Errors
    /// [`TooOld`] when too much has changed since the last call: list again.
    pub async fn next(&mut self) -> Result<Change, TooOld> {
        loop {
            self.latest.mark_unchanged();
            if let Some(change) = self.registry.after(self.version)? {
                self.version = change.version;
                return Ok(change);
            }
            // The registry, which this holds, keeps the sender.
            let _ = self.latest.changed().await;
        }
    }
}
