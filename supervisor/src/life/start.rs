//! From a claimed Pod to its actor: the one place where they are put together.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use anyhow::Context;
use carob_core::event::Event;
use carob_core::pod::Pod;
use tokio::sync::mpsc;

use super::{Life, Past};
use crate::actor::{Actor, AtEnd, Own};
use crate::dirs::Dirs;
use crate::engine::Engine;
use crate::events::Journal;
use crate::executor::Executor;
use crate::runtime::PodRuntime;
use crate::watch::Watch;

/// Both ends of the way to an actor.
pub type Inbox = (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>);

/// A Pod that is about to run.
pub struct Started {
    /// To be run.
    pub actor: Actor<Executor>,
    /// Does what the actor decides; gone with it.
    pub executor: Rc<Executor>,
    /// What happened to the Pod.
    pub journal: Rc<RefCell<Journal>>,
}

impl Life {
    /// Makes the actor of the Pod. `runtime` runs its containers, `watch` hears of it, and what comes to its `inbox`
    /// it hears.
    pub fn start(
        self,
        engine: &Rc<Engine>,
        runtime: Rc<dyn PodRuntime>,
        (outbox, inbox): Inbox,
        watch: Watch,
        at_end: Rc<Cell<AtEnd>>,
    ) -> Started {
        engine.objects.carry(&self.objects);
        let journal = Journal::open(&engine.dirs, &self.pod, &engine.machine.node_name);
        let journal = Rc::new(RefCell::new(journal));
        let _ = outbox.send(Event::Node {
            host_ips: vec![engine.machine.host_ip],
            runtime: engine.home.runtime_name().to_owned(),
        });
        let executor = Rc::new(Executor::new(
            engine.clone(),
            self.pod,
            self.source,
            runtime,
            outbox,
            watch.clone(),
        ));
        let own = Own {
            claim: self.claim,
            home: self.home,
            clock: self.clock,
            state: self.state,
            past: self.past,
            origin: self.origin,
            at_end,
            journal: journal.clone(),
        };
        Started {
            actor: Actor::new(own, executor.clone(), inbox, watch),
            executor,
            journal,
        }
    }

    /// A manifest may have the UID of a Pod that was run before: its logs are not this one's.
    ///
    /// # Errors
    /// When they can't be removed.
    pub fn forget_old_logs(&self, dirs: &Dirs) -> anyhow::Result<()> {
        match self.past {
            Past::None => remove_logs(dirs, &self.pod),
            Past::SameBoot | Past::EarlierBoot => Ok(()),
        }
    }
}

/// Removes a Pod's logs, where there are any.
///
/// # Errors
/// When they can't be removed.
pub fn remove_logs(dirs: &Dirs, pod: &Pod) -> anyhow::Result<()> {
    let meta = &pod.metadata;
    let dir = dirs.pod_logs(&meta.namespace, &meta.name, &meta.uid);
    match std::fs::remove_dir_all(&dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove the logs {dir:?}"))
        }
        _ => Ok(()),
    }
}
