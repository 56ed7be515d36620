//! Folds events into the state. An event that is late, doubled or about an instance that is gone changes
//! nothing but the list of actions in flight.

mod asked;
mod container;
mod image;
mod sandbox;

use super::{ContainerMemory, ContainerRecord, Delete, Evicted, PodState};
use crate::action::Action;
use crate::event::Event;
use crate::pod::Pod;
use crate::status::PodEvent;
use crate::time::Now;

/// A state that an event is folded into.
struct Fold<'a> {
    state: &'a mut PodState,
    pod: &'a Pod,
    now: Now,
}

/// Folds it in. False when nothing that is written down changed, as with most probes.
pub(super) fn fold(state: &mut PodState, pod: &Pod, event: Event, now: Now) -> bool {
    let mut fold = Fold { state, pod, now };
    match event {
        Event::Node { host_ips, runtime } => {
            fold.state.observed.host_ips = host_ips;
            fold.state.observed.runtime = runtime;
        }
        Event::DeleteRequested { grace_seconds } => fold.delete(grace_seconds),
        Event::Evict {
            message,
            grace_seconds,
            disruption,
            rejected,
        } => {
            let kill_at = now.mono.plus_secs(grace_seconds.max(1));
            let evicted = Evicted {
                message,
                kill_at,
                disruption,
                rejected,
            };
            let eviction = &mut fold.state.memory.eviction;
            let before = eviction.get_or_insert(evicted);
            before.kill_at = before.kill_at.min(kill_at);
        }
        Event::SandboxCreated { .. }
        | Event::SandboxFailed { .. }
        | Event::VolumesFailed { .. }
        | Event::SandboxExited { .. }
        | Event::SandboxRemoved { .. }
        | Event::SandboxRemoveFailed { .. } => fold.sandbox(event),
        Event::PullStarted { .. } | Event::ImageReady { .. } | Event::ImageFailed { .. } => {
            fold.image(event);
        }
        Event::ContainerCreated { .. }
        | Event::ContainerStarted { .. }
        | Event::ContainerFailed { .. }
        | Event::ContainerOom { .. }
        | Event::ContainerExited { .. }
        | Event::ContainerLost { .. }
        | Event::ContainerRemoved { .. }
        | Event::ContainerRemoveFailed { .. }
        | Event::SignalFailed { .. } => fold.container(event),
        Event::Probed {
            container,
            attempt,
            kind,
            result,
            output,
        } => return fold.probed(&container, attempt, kind, result, &output),
        Event::PostStartDone {
            container,
            attempt,
            failure,
        } => fold.post_start_done(container, attempt, failure),
        Event::PreStopDone {
            container,
            attempt,
            failure,
        } => fold.pre_stop_done(container, attempt, failure.is_some()),
        Event::HookFellBack {
            container,
            attempt,
            host,
        } => fold.hook_fell_back(&container, attempt, &host),
    }
    true
}

impl Fold<'_> {
    /// A grace period only ever gets shorter, and is at least a second unless it is 0, which is force
    /// (`calculateEffectiveGracePeriod`, pod_workers.go).
    fn delete(&mut self, grace_seconds: Option<u64>) {
        let force = grace_seconds == Some(0);
        let grace = grace_seconds.unwrap_or(self.pod.spec.termination_grace_period_seconds);
        let asked = Delete {
            kill_at: self
                .now
                .mono
                .plus_secs(if force { 0 } else { grace.max(1) }),
            force,
        };
        let memory = &mut self.state.memory;
        memory.delete = Some(match memory.delete {
            None => asked,
            Some(before) => Delete {
                kill_at: before.kill_at.min(asked.kill_at),
                force: before.force || force,
            },
        });
    }

    /// Takes the action off the list of those in flight; false when it was not there.
    fn answered(&mut self, action: &Action) -> bool {
        let in_flight = &mut self.state.memory.in_flight;
        let before = in_flight.len();
        in_flight.retain(|a| a != action);
        in_flight.len() != before
    }

    fn both(&mut self, name: &str) -> Option<(&mut ContainerRecord, &mut ContainerMemory)> {
        let record = self.state.observed.containers.get_mut(name)?;
        Some((record, self.state.memory.containers.get_mut(name)?))
    }

    fn tell(&mut self, event: PodEvent) {
        self.state.memory.outbox.push(event);
    }

    fn tell_of(&mut self, container: &str, event: PodEvent) {
        self.tell(event.of(self.pod, container));
    }
}
