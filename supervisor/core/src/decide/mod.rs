//! What a Pod does next: a pure function of its manifest, the facts, the memory and the time.
//!
//! ```text
//!            ┌────────────── sandbox ended, restart allowed ─────────────┐
//!            ▼                                                           │
//!  start: sandbox ─► init containers, one by one ─► containers ───────► stop: containers ─► sandbox ─► done
//!         (sidecars stay)                           finished, deleted,   (signal, kill, remove)
//!                                                   deadline, lost
//! ```

mod container;
mod end;
mod probe;
mod restart;
mod start;
mod stop;

use serde::{Deserialize, Serialize};

pub(crate) use probe::probes;
pub(crate) use restart::should_restart;

use crate::action::{Action, Target};
use crate::pod::{Container, Pod};
use crate::state::{ContainerMemory, ContainerRecord, Memory, Observed, StopCause};
use crate::status::{Phase, PodEvent};
use crate::time::{Mono, Now};

/// How a Pod's life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Every container ended well.
    Succeeded,
    /// A container failed for good, or the Pod was failed.
    Failed {
        /// Of the first container, in the manifest's order and init containers first, that failed; 1 when
        /// none did.
        exit_code: i32,
    },
    /// It was deleted before it came to an end by itself.
    Deleted,
}

/// What was decided.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What to do, in this order where it matters; probes are left to [`probes`].
    pub actions: Vec<Action>,
    /// What to remember.
    pub memory: Memory,
    /// All containers were ended to begin again: forget how they ended.
    pub restart_all: bool,
    /// When to decide again if nothing happens before, but for probes.
    pub wake_at: Option<Mono>,
    /// Set when all is over and gone.
    pub done: Option<Outcome>,
}

/// Decides what is next, all but probes. The time counts only in so far as it has come to `wake_at` or not: until
/// then the same facts and memory give the same plan.
pub fn decide(pod: &Pod, observed: &Observed, memory: &Memory, now: Now) -> Plan {
    let mut planner = Planner {
        pod,
        observed,
        memory: memory.clone(),
        restart_all: false,
        now,
        actions: Vec::new(),
        wake_at: None,
    };
    let done = planner.plan();
    Plan {
        actions: planner.actions,
        memory: planner.memory,
        restart_all: planner.restart_all,
        wake_at: planner.wake_at,
        done,
    }
}

/// A decision in the making.
struct Planner<'a> {
    pod: &'a Pod,
    observed: &'a Observed,
    memory: Memory,
    restart_all: bool,
    now: Now,
    actions: Vec<Action>,
    wake_at: Option<Mono>,
}

impl<'a> Planner<'a> {
    fn plan(&mut self) -> Option<Outcome> {
        self.choose_stop();
        if self.memory.stop.is_some() {
            if !self.stop() {
                return None;
            }
            if let Some(outcome) = self.finish_stop() {
                return Some(outcome);
            }
            if self.restart_all {
                // Shown once before they begin.
                self.wake(self.now.mono);
                return None;
            }
        }
        self.start();
        None
    }

    /// Asks to decide again at `at`.
    fn wake(&mut self, at: Mono) {
        if at != Mono::NEVER {
            self.wake_at = Some(self.wake_at.map_or(at, |w| w.min(at)));
        }
    }

    /// True when `at` has come; else asks to be woken then.
    fn due(&mut self, at: Mono) -> bool {
        let due = self.now.mono >= at;
        if !due {
            self.wake(at);
        }
        due
    }

    /// Issues an action unless its target has one in flight.
    fn act(&mut self, action: Action) {
        let busy = action.target().is_some_and(|t| self.is_busy(t));
        if !busy {
            self.actions.push(action);
        }
    }

    fn is_busy(&self, target: Target<'_>) -> bool {
        self.memory.is_in_flight(target) || self.actions.iter().any(|a| a.target() == Some(target))
    }

    fn record(&self, container: &Container) -> &'a ContainerRecord {
        static NONE: ContainerRecord = ContainerRecord {
            instance: None,
            image: None,
            next: 0,
            ended: None,
            ended_before: None,
        };
        self.observed
            .containers
            .get(&container.name)
            .unwrap_or(&NONE)
    }

    fn remembered(&mut self, container: &Container) -> &mut ContainerMemory {
        let containers = &mut self.memory.containers;
        containers.entry(container.name.clone()).or_default()
    }

    fn tell(&mut self, event: PodEvent) {
        self.memory.outbox.push(event);
    }

    /// The outcome of a Pod of which nothing is left.
    fn outcome(&self, cause: StopCause) -> Outcome {
        match self.memory.final_phase {
            Some(Phase::Succeeded) if cause != StopCause::Deleted => Outcome::Succeeded,
            _ if cause == StopCause::Deleted => Outcome::Deleted,
            _ => Outcome::Failed {
                exit_code: self.first_failure().unwrap_or(1),
            },
        }
    }

    fn first_failure(&self) -> Option<i32> {
        let counted = self.pod.spec.all_containers().filter(|c| !c.sidecar);
        counted
            .filter_map(|c| self.record(c).ended.as_ref())
            .map(|e| e.exit_code)
            .find(|&code| code != 0)
    }
}
