//! The actor of one Pod: folds events, asks what to do, hands it to the executor, and listens again.
//!
//! It awaits no effect, so a deletion is always heard. What it decides is in `carob_core`.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use carob_core::action::Action;
use carob_core::decide::Outcome;
use carob_core::event::Event;
use carob_core::pod::Pod;
use carob_core::registry::Origin;
use carob_core::state::PodState;
use carob_core::status::PodStatus;
use carob_core::time::Now;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::backend::Home;
use crate::clock::Clock;
use crate::events::Journal;
use crate::executor::Source;
use crate::failpoint::boundary;
use crate::life::Past;
pub use crate::record::AtEnd;
use crate::record::{Claim, Ended, Mirror, RecordError, View};
use crate::watch::{Update, Watch};

/// Of a Pod that was ended with the machine (`nodeShutdownMessage`, pkg/kubelet/nodeshutdown).
const SHUTDOWN_MESSAGE: &str = "Pod was terminated in response to imminent node shutdown.";

/// How soon a record that could not be written is tried again.
const SAVE_AGAIN: Duration = Duration::from_secs(1);

/// Carries out what is decided for one Pod: each action ends in the event that answers it, told to the actor's inbox.
pub trait Effects: 'static {
    /// The Pod.
    fn pod(&self) -> Rc<Pod>;

    /// Where its containers come from.
    fn source(&self) -> &Source;

    /// Finds what a supervisor that was killed left, and tells of it.
    fn adopt(self: Rc<Self>, state: &PodState, same_boot: bool) -> impl Future<Output = ()>;

    /// Does one action.
    fn run(self: Rc<Self>, action: Action) -> impl Future<Output = ()>;

    /// Hears of each decision, for those who count: when it was begun, and what it was made of.
    fn decided(&self, _state: &PodState, _status: &PodStatus, _now: Now, _begun: Instant) {}

    /// Nothing is left of the Pod to be heard of.
    fn close(&self) -> impl Future<Output = ()>;
}

/// What of a Pod is its actor's alone.
pub struct Own {
    /// The right to run it.
    pub claim: Claim,
    /// Where its containers are.
    pub home: Home,
    /// Its clock.
    pub clock: Clock,
    /// Where its decisions are.
    pub state: PodState,
    /// Whether it has begun before.
    pub past: Past,
    /// Who asked for it.
    pub origin: Origin,
    /// What becomes of its record; whoever has the Pod may change its mind.
    pub at_end: Rc<Cell<AtEnd>>,
    /// What happened to it.
    pub journal: Rc<RefCell<Journal>>,
}

/// A Pod of which nothing is left but its logs and, perhaps, its record.
pub struct End {
    /// How it ended.
    pub outcome: Outcome,
    /// Its record, when that is kept.
    pub kept: Option<Kept>,
}

/// The record of a Pod that is through. While it lasts nobody else has the Pod's name.
pub struct Kept {
    claim: Claim,
    mirror: Mirror,
}

impl Kept {
    /// Of a Pod that was through when this supervisor began.
    pub fn new(claim: Claim) -> Self {
        Self {
            mirror: claim.mirror(),
            claim,
        }
    }

    /// Forgets the Pod.
    ///
    /// # Errors
    /// When the record can't be removed.
    pub async fn forget(self) -> Result<(), RecordError> {
        if let Err(error) = self.mirror.remove().await {
            tracing::warn!(%error, "a copy of the record is left to the record's own removal");
        }
        boundary();
        self.claim.release()?;
        boundary();
        Ok(())
    }
}

/// Runs one Pod from its first sandbox, or from where another supervisor was killed, to its last trace.
pub struct Actor<E> {
    pod: Rc<Pod>,
    state: PodState,
    past: Past,
    home: Home,
    clock: Clock,
    claim: Claim,
    mirror: Mirror,
    journal: Rc<RefCell<Journal>>,
    origin: Origin,
    at_end: Rc<Cell<AtEnd>>,
    effects: Rc<E>,
    inbox: mpsc::UnboundedReceiver<Event>,
    under_way: JoinSet<()>,
    watch: Watch,
}

impl<E: Effects> Actor<E> {
    /// An actor that is ready to [`run`](Self::run).
    pub fn new(
        own: Own,
        effects: Rc<E>,
        inbox: mpsc::UnboundedReceiver<Event>,
        watch: Watch,
    ) -> Self {
        Self {
            pod: effects.pod(),
            state: own.state,
            past: own.past,
            home: own.home,
            clock: own.clock,
            mirror: own.claim.mirror(),
            journal: own.journal,
            origin: own.origin,
            at_end: own.at_end,
            claim: own.claim,
            effects,
            inbox,
            under_way: JoinSet::new(),
            watch,
        }
    }

    /// Returns when the Pod has ended and nothing is left of it.
    ///
    /// # Errors
    /// When the record can't be removed at the end.
    pub async fn run(mut self) -> Result<End, RecordError> {
        self.resume().await;
        let mut last: Option<Rc<PodStatus>> = None;
        loop {
            let (begun, now) = (Instant::now(), self.clock.now());
            let decision = self.state.step(&self.pod, now);
            if decision.save {
                self.save(None).await;
            }
            self.effects
                .decided(&self.state, &decision.status, now, begun);
            if !decision.events.is_empty() {
                let events = decision.events.iter().cloned();
                let logged = self.journal.borrow_mut().add(events);
                logged
                    .into_iter()
                    .for_each(|entry| self.watch.tell(Update::Logged(entry)));
            }
            for event in decision.events {
                self.watch.tell(Update::Event(event));
            }
            if last.as_ref() != Some(&decision.status) {
                self.watch.tell(Update::Status(decision.status.clone()));
                last = Some(decision.status);
            }
            // Their results have come as events.
            while self.under_way.try_join_next().is_some() {}
            for action in decision.actions {
                let effects = self.effects.clone();
                self.under_way
                    .spawn_local(async move { effects.run(action).await });
            }
            if let Some(outcome) = decision.done {
                return self.end(outcome, last).await;
            }
            tokio::select! {
                // The effects keep a sender, so there is always one.
                Some(event) = self.inbox.recv() => {
                    self.observe(event);
                }
                () = self.clock.sleep_until(decision.wake_at) => {}
            }
        }
    }

    async fn end(
        mut self,
        outcome: Outcome,
        last: Option<Rc<PodStatus>>,
    ) -> Result<End, RecordError> {
        // A pull that nobody wants any more may go on for long.
        self.under_way.shutdown().await;
        self.effects.close().await;
        let at_end = self.at_end.get();
        let keep = match at_end {
            AtEnd::Forget => false,
            AtEnd::Keep => self.state.memory.delete.is_none(),
            AtEnd::Renew | AtEnd::Terminate => true,
        };
        if at_end == AtEnd::Renew {
            // Whoever goes on with it finds a Pod that has not begun.
            self.at_end.set(AtEnd::Keep);
            self.state = PodState::new(&self.pod, self.clock.now());
            self.save(None).await;
        } else if let Some(status) = last.filter(|_| keep) {
            let mut status = Rc::unwrap_or_clone(status);
            if at_end == AtEnd::Terminate {
                status.fail("Terminated", SHUTDOWN_MESSAGE);
                self.watch.tell(Update::Status(Rc::new(status.clone())));
            }
            self.save(Some(&Ended { outcome, status })).await;
        }
        let mirror = match at_end.is_shutdown() {
            true => self.mirror.settle().await,
            false => self.mirror,
        };
        let kept = Kept {
            claim: self.claim,
            mirror,
        };
        let kept = match keep {
            true => Some(kept),
            false => {
                kept.forget().await?;
                None
            }
        };
        self.watch.tell(Update::Done(outcome));
        Ok(End { outcome, kept })
    }

    /// Goes on with a Pod that a killed supervisor left: finds what there is of it, and observes that before anything
    /// is decided.
    async fn resume(&mut self) {
        if self.past == Past::None {
            return;
        }
        let same_boot = self.past == Past::SameBoot;
        self.effects.clone().adopt(&self.state, same_boot).await;
        self.state.resume();
        while let Ok(event) = self.inbox.try_recv() {
            self.observe(event);
        }
    }

    fn observe(&mut self, event: Event) {
        tracing::debug!(pod = self.pod.metadata.name, ?event);
        self.state.observe(&self.pod, event, self.clock.now());
    }

    /// Writes the record before anything is done: what was begun must be known to whoever cleans up. While
    /// that fails nothing new is begun; containers run on.
    async fn save(&self, ended: Option<&Ended>) {
        let mut told = false;
        boundary();
        let view = || {
            let mark = self.clock.mark();
            let source = self.effects.source();
            let view = View::new(
                &self.pod,
                source,
                self.origin,
                &self.home,
                mark,
                &self.state,
            );
            let view = view.at_end(self.at_end.get());
            match ended {
                Some(ended) => view.ended(ended),
                None => view,
            }
        };
        while let Err(error) = self.claim.save(&view()) {
            if !told {
                tracing::warn!(%error, pod = self.pod.metadata.name, "nothing is done for the Pod until its record can be written");
                told = true;
            }
            tokio::time::sleep(SAVE_AGAIN).await;
        }
        self.mirror.changed();
        boundary();
    }
}
