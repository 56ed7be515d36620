//! All that is known of a Pod's life: facts, own memory, and the three things that happen to them:
//! [`observe`](PodState::observe), [`step`](PodState::step), [`resume`](PodState::resume).

mod fold;
mod lifecycle;
mod mark;
mod memory;
mod observed;

use std::rc::Rc;

use serde::{Deserialize, Serialize};

pub use lifecycle::{Kill, KillCause, PostStart, PreStop, ProbeOutcome, ProbeRecord, Ticks};
pub(crate) use lifecycle::{TakenOver, Tick};
pub use memory::{
    ConditionRecord, ContainerMemory, Delete, Evicted, Memory, Signals, Starting, Stop, StopCause,
    Waiting,
};
pub use observed::{
    ContainerRecord, EndCause, Ended, ImageRecord, Instance, Observed, SandboxRecord, SandboxStage,
    Stage,
};

use crate::action::Action;
use crate::decide::{self, Outcome};
use crate::event::Event;
use crate::pod::Pod;
use crate::status::{self, PodEvent, PodStatus};
use crate::time::{Mono, Now};

/// A Pod's state. Kept on disk as JSON after each step that asks for it ([`Decision::save`]), so a supervisor
/// that was killed goes on from it. Equal when what is written down is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PodState {
    /// What the runtime told.
    pub observed: Observed,
    /// What was decided before and has to be remembered.
    pub memory: Memory,
    /// When probes are due: not written down.
    #[serde(skip)]
    ticks: Ticks,
    /// What is written down may have changed since the last step.
    #[serde(skip)]
    changed: bool,
    /// What holds as long as nothing changes.
    #[serde(skip)]
    settled: Option<Settled>,
}

/// The end of a decision that had nothing to do and left everything as it was, but for probes: until its time comes,
/// the next one would be the same.
#[derive(Debug, Clone)]
struct Settled {
    until: Option<Mono>,
    status: Rc<PodStatus>,
}

impl PartialEq for PodState {
    fn eq(&self, other: &Self) -> bool {
        self.observed == other.observed && self.memory == other.memory
    }
}

/// What one step wants done and shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// To be executed; already marked as in flight.
    pub actions: Vec<Action>,
    /// The Pod's status now.
    pub status: Rc<PodStatus>,
    /// New entries of the Pod's event log, oldest first.
    pub events: Vec<PodEvent>,
    /// When to step again if no event comes before; a time that has passed means at once.
    pub wake_at: Option<Mono>,
    /// Set when the Pod is final and nothing of it is left.
    pub done: Option<Outcome>,
    /// The state has changed: it must be on disk before the actions are executed. Not set by probes that find
    /// what the ones before them did, of which there may be hundreds a second.
    pub save: bool,
}

impl PodState {
    /// A Pod that was accepted `now`: its `startTime`, and the start of its `activeDeadlineSeconds`.
    pub fn new(pod: &Pod, now: Now) -> Self {
        Self {
            observed: Observed::new(pod),
            memory: Memory::new(pod, now),
            ticks: Ticks::default(),
            changed: true,
            settled: None,
        }
    }

    /// Folds in what happened. Decides nothing.
    pub fn observe(&mut self, pod: &Pod, event: Event, now: Now) {
        self.changed |= fold::fold(self, pod, event, now);
    }

    /// Decides what is next and marks its actions as in flight.
    pub fn step(&mut self, pod: &Pod, now: Now) -> Decision {
        let settled = self.settled.take().filter(|s| {
            let come = s.until.is_some_and(|at| now.mono >= at);
            !self.changed && !come
        });
        match settled {
            Some(settled) => self.step_probes(pod, settled, now),
            None => self.step_all(pod, now),
        }
    }

    /// The next step decides everything anew: for who has changed a part by hand, or is in doubt.
    pub fn reconsider(&mut self) {
        self.settled = None;
    }

    /// Hundreds of times a second, when many containers are probed.
    fn step_probes(&mut self, pod: &Pod, settled: Settled, now: Now) -> Decision {
        let probes = decide::probes(pod, &self.observed, &self.memory, &mut self.ticks, now);
        let decision = Decision {
            actions: probes.actions,
            status: settled.status.clone(),
            events: std::mem::take(&mut self.memory.outbox),
            wake_at: earliest(settled.until, probes.wake_at),
            done: None,
            save: false,
        };
        self.settled = Some(settled);
        decision
    }

    fn step_all(&mut self, pod: &Pod, now: Now) -> Decision {
        let plan = decide::decide(pod, &self.observed, &self.memory, now);
        let mut save = std::mem::take(&mut self.changed);
        let mut before = std::mem::replace(&mut self.memory, plan.memory);
        let probes = decide::probes(pod, &self.observed, &self.memory, &mut self.ticks, now);
        for action in &plan.actions {
            mark::mark(self, action, now);
        }
        if plan.restart_all {
            mark::restart_all(self, now);
        }
        let gone = plan.done.is_some();
        let status = status::generate(pod, &self.observed, &mut self.memory, gone, now);
        let status = Rc::new(status);
        let events = std::mem::take(&mut self.memory.outbox);
        before.outbox.clear();
        // Signals sent again leave no trace in the memory, but are no less an act.
        let acts = plan.restart_all || !plan.actions.is_empty() || before != self.memory;
        if !acts && !gone {
            self.settled = Some(Settled {
                until: plan.wake_at,
                status: status.clone(),
            });
        }
        save |= acts;
        let mut actions = plan.actions;
        actions.extend(probes.actions);
        Decision {
            actions,
            status,
            events,
            wake_at: earliest(plan.wake_at, probes.wake_at),
            done: plan.done,
            save,
        }
    }

    /// After a restart of the supervisor: nothing is in flight any more, so the next step issues again what
    /// was. Stop signals are sent again too, as nobody knows whether the last one left. Probes go on with the
    /// counts that they had reached, spread over their periods.
    ///
    /// What the runtime is found to have is to be observed between this and the next step, at least
    /// `ContainerStarted` of all that run, `ContainerExited` or `ContainerLost` of all that did, and
    /// `SandboxExited`. Later, a `ContainerStarted` would be taken for the answer to a start that was issued
    /// again; without it, a container that was being started is removed without its grace period.
    pub fn resume(&mut self) {
        self.memory.in_flight.clear();
        // Records of before volumes outlived their sandbox do not tell of them.
        self.observed.volumes |= self.observed.sandbox.is_some();
        for container in self.memory.containers.values_mut() {
            container.signals = Signals::default();
            if container.pre_stop == PreStop::Running {
                container.pre_stop = PreStop::Idle;
            }
        }
        self.ticks = Ticks {
            taken_over: TakenOver::Now,
            ..Ticks::default()
        };
        self.changed = true;
    }
}

fn earliest(a: Option<Mono>, b: Option<Mono>) -> Option<Mono> {
    a.into_iter().chain(b).min()
}
