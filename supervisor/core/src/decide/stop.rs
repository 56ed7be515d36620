//! Bringing a Pod down: stop signals, SIGKILL at the end of the grace period, sidecars last and in reverse
//! order, then everything removed.

use super::end::End;
use super::{Outcome, Planner};
use crate::action::{Action, Target};
use crate::backoff::RETRY;
use crate::pod::Container;
use crate::state::{Evicted, SandboxStage, Stage, Stop, StopCause};
use crate::status::{DEADLINE_MESSAGE, PodEvent};

impl Planner<'_> {
    /// Starts a stop, or turns the one that goes on into a more final one.
    pub(super) fn choose_stop(&mut self) {
        let cause = self.memory.stop.map(|s| s.cause);
        let changing = cause.is_none_or(StopCause::is_passing);
        // What is ended to begin again has not failed.
        let settled = cause != Some(StopCause::RestartAll);
        if changing && settled && (self.is_finished() || self.init_failed()) {
            self.begin_stop(StopCause::Finished);
        } else if changing && self.memory.delete.is_some() {
            self.begin_stop(StopCause::Deleted);
        } else if changing && let Some(evicted) = self.memory.eviction.clone() {
            self.begin_stop(StopCause::Evicted);
            self.tell(PodEvent::warning(
                self.now,
                Evicted::REASON,
                evicted.message,
            ));
        } else if changing && self.is_past_deadline() {
            self.begin_stop(StopCause::DeadlineExceeded);
            let event = PodEvent::normal(self.now, "DeadlineExceeded", DEADLINE_MESSAGE);
            self.tell(event);
        } else if cause.is_none_or(|c| c == StopCause::RestartAll) && self.sandbox_ended() {
            if self.may_change_sandbox() {
                self.begin_stop(StopCause::SandboxChanged);
                let text = "Pod sandbox changed, it will be killed and re-created.";
                self.tell(PodEvent::normal(self.now, "SandboxChanged", text));
            } else {
                self.begin_stop(StopCause::SandboxLost);
            }
        } else if cause.is_none() && self.restart_all_wanted() {
            self.begin_stop(StopCause::RestartAll);
        }
        if let (Some(stop), Some(delete)) = (&mut self.memory.stop, self.memory.delete) {
            stop.kill_at = stop.kill_at.min(delete.kill_at);
            stop.force |= delete.force;
        }
        if let (Some(stop), Some(evicted)) = (&mut self.memory.stop, &self.memory.eviction) {
            stop.kill_at = stop.kill_at.min(evicted.kill_at);
        }
    }

    fn begin_stop(&mut self, cause: StopCause) {
        let grace = self.pod.spec.termination_grace_period_seconds.max(1);
        let stop = Stop {
            cause,
            kill_at: match (cause, self.memory.delete) {
                (StopCause::Deleted, Some(delete)) => delete.kill_at,
                (StopCause::RestartAll, _) => self.now.mono,
                _ => self.now.mono.plus_secs(grace),
            },
            force: false,
        };
        self.memory.stop = Some(match self.memory.stop {
            // That one was in a hurry of its own.
            Some(before) if before.cause != StopCause::RestartAll => Stop {
                kill_at: before.kill_at.min(stop.kill_at),
                ..stop
            },
            _ => stop,
        });
    }

    fn sandbox_ended(&self) -> bool {
        let sandbox = self.observed.sandbox.as_ref();
        sandbox.is_some_and(|s| s.stage == SandboxStage::Exited)
    }

    fn is_past_deadline(&mut self) -> bool {
        let Some(secs) = self.pod.spec.active_deadline_seconds else {
            return false;
        };
        let at = self.memory.accepted.plus_secs(secs);
        self.due(at)
    }

    /// Does what is next for the stop; true when nothing is left to stop or remove.
    pub(super) fn stop(&mut self) -> bool {
        let Some(stop) = self.memory.stop else {
            return true;
        };
        let pod = self.pod;
        let mut gone = true;
        for container in pod.spec.all_containers() {
            gone &= self.stop_container(container, stop);
        }
        if !gone {
            return false;
        }
        let last = !stop.cause.is_passing();
        let volumes = last && self.observed.volumes;
        if self.observed.sandbox.is_none() && !volumes || stop.cause == StopCause::RestartAll {
            return true;
        }
        self.remove_sandbox(last);
        false
    }

    /// Removes the sandbox, unless it is being made or the last try failed a moment ago; with the volumes if it is the
    /// last one, also when it is gone already.
    pub(super) fn remove_sandbox(&mut self, last: bool) {
        let attempt = match &self.observed.sandbox {
            Some(sandbox) => sandbox.attempt,
            None => self.memory.next_sandbox.saturating_sub(1),
        };
        if self.is_busy(Target::Sandbox) {
            return;
        }
        let delay = self.memory.sandbox_remove;
        if delay.is_none_or(|d| self.due(d.until(RETRY, d.updated))) {
            self.act(Action::RemoveSandbox { attempt, last });
        }
    }

    /// True when nothing is left of the container.
    fn stop_container(&mut self, container: &Container, stop: Stop) -> bool {
        let Some(instance) = &self.record(container).instance else {
            return true;
        };
        match instance.stage {
            // What is in flight can't be stopped, only waited for.
            _ if self.is_busy(Target::Container(&container.name)) => {}
            Stage::Running { .. } => self.end_for_stop(container, instance.attempt, stop),
            Stage::Creating | Stage::Created | Stage::Exited => {
                self.remove(&container.name, instance.attempt);
            }
        }
        false
    }

    fn end_for_stop(&mut self, container: &Container, attempt: u32, stop: Stop) {
        let kill = self.remembered(container).kill;
        let end = End {
            kill_at: kill.map_or(stop.kill_at, |k| k.kill_at.min(stop.kill_at)),
            force: stop.force,
            // All containers are restarted without ceremony.
            hooks: stop.cause != StopCause::RestartAll,
            turn: self.is_turn(container),
        };
        self.end(container, attempt, &end);
    }

    /// Whether the container's stop signal may leave: a sidecar's only after all containers and all later
    /// sidecars have ended (kuberuntime_termination_order.go).
    fn is_turn(&self, container: &Container) -> bool {
        if !container.sidecar {
            return true;
        }
        let ended = |c: &Container| {
            let stage = self.record(c).stage();
            !matches!(stage, Some(Stage::Running { .. } | Stage::Created))
        };
        let init = &self.pod.spec.init_containers;
        let later = init.iter().skip_while(|c| c.name != container.name).skip(1);
        later.filter(|c| c.sidecar).all(ended) && self.pod.spec.containers.iter().all(ended)
    }

    /// Everything is gone: the Pod's outcome, or none when it is to come up again.
    pub(super) fn finish_stop(&mut self) -> Option<Outcome> {
        let cause = self.memory.stop?.cause;
        if !cause.is_passing() {
            return Some(self.outcome(cause));
        }
        self.memory.stop = None;
        self.memory.init_done = 0;
        self.restart_all = cause == StopCause::RestartAll;
        None
    }
}
