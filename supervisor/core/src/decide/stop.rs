//! Bringing a Pod down: stop signals, SIGKILL at the end of the grace period, sidecars last and in reverse
//! order, then everything removed.

use super::{Outcome, Planner};
use crate::action::{Action, Signal, Target};
use crate::backoff::RETRY;
use crate::pod::Container;
use crate::state::{SandboxStage, Stage, Stop, StopCause};
use crate::status::{DEADLINE_MESSAGE, PodEvent};
use crate::time::Mono;

/// Between a stop signal and SIGKILL there are at least 2 s (`minimumGracePeriodInSeconds`,
/// kuberuntime_container.go), however late the signal came.
const MINIMUM_GRACE_MS: u64 = 2_000;

impl Planner<'_> {
    /// Starts a stop, or turns the one that goes on into a more final one.
    pub(super) fn choose_stop(&mut self) {
        let cause = self.memory.stop.map(|s| s.cause);
        let changing = cause.is_none_or(|c| c == StopCause::SandboxChanged);
        if changing && (self.is_finished() || self.init_failed()) {
            self.begin_stop(StopCause::Finished);
        } else if changing && self.memory.delete.is_some() {
            self.begin_stop(StopCause::Deleted);
        } else if changing && self.is_past_deadline() {
            self.begin_stop(StopCause::DeadlineExceeded);
            let event = PodEvent::normal(self.now, "DeadlineExceeded", DEADLINE_MESSAGE);
            self.tell(event);
        } else if cause.is_none() && self.sandbox_ended() {
            if self.may_change_sandbox() {
                self.begin_stop(StopCause::SandboxChanged);
                let text = "Pod sandbox changed, it will be killed and re-created.";
                self.tell(PodEvent::normal(self.now, "SandboxChanged", text));
            } else {
                self.begin_stop(StopCause::SandboxLost);
            }
        }
        if let (Some(stop), Some(delete)) = (&mut self.memory.stop, self.memory.delete) {
            stop.kill_at = stop.kill_at.min(delete.kill_at);
            stop.force |= delete.force;
        }
    }

    fn begin_stop(&mut self, cause: StopCause) {
        let grace = self.pod.spec.termination_grace_period_seconds.max(1);
        let stop = Stop {
            cause,
            kill_at: match (cause, self.memory.delete) {
                (StopCause::Deleted, Some(delete)) => delete.kill_at,
                _ => self.now.mono.plus_secs(grace),
            },
            force: false,
        };
        self.memory.stop = Some(match self.memory.stop {
            Some(before) => Stop {
                kill_at: before.kill_at.min(stop.kill_at),
                ..stop
            },
            None => stop,
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
        if self.observed.sandbox.is_none() {
            return true;
        }
        self.remove_sandbox();
        false
    }

    /// Removes the sandbox, unless it is being made or the last try failed a moment ago.
    pub(super) fn remove_sandbox(&mut self) {
        let Some(sandbox) = &self.observed.sandbox else {
            return;
        };
        if self.is_busy(Target::Sandbox) {
            return;
        }
        let delay = self.memory.sandbox_remove;
        if delay.is_none_or(|d| self.due(d.until(RETRY, d.updated))) {
            self.act(Action::RemoveSandbox {
                attempt: sandbox.attempt,
            });
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
            Stage::Running { .. } => self.signal(container, instance.attempt, stop),
            Stage::Creating | Stage::Created | Stage::Exited => {
                self.remove(&container.name, instance.attempt);
            }
        }
        false
    }

    fn signal(&mut self, container: &Container, attempt: u32, stop: Stop) {
        let name = container.name.clone();
        if !self.remembered(container).killing_told {
            self.remembered(container).killing_told = true;
            let text = format!("Stopping container {name}");
            let event = PodEvent::normal(self.now, "Killing", text);
            self.tell(event.of(self.pod, &name));
        }
        let signals = self.remembered(container).signals.clone();
        let delay = signals.failed.filter(|_| signals.retry);
        let may_retry = delay.is_some_and(|d| self.due(d.until(RETRY, d.updated)));
        let turn = self.is_turn(container) || self.due(stop.kill_at);
        let kill_at = signals.stop.map_or(Mono::NEVER, |sent| {
            stop.kill_at.max(sent.plus_ms(MINIMUM_GRACE_MS))
        });
        let signal = if signals.kill {
            may_retry.then_some(Signal::Kill)
        } else if stop.force || self.due(kill_at) {
            Some(Signal::Kill)
        } else if signals.stop.is_none() && turn || may_retry {
            Some(Signal::StopSignal)
        } else {
            None
        };
        if let Some(signal) = signal {
            if signal == Signal::StopSignal {
                let sent = signals.stop.unwrap_or(self.now.mono);
                self.wake(stop.kill_at.max(sent.plus_ms(MINIMUM_GRACE_MS)));
            }
            self.act(Action::Signal {
                container: name,
                attempt,
                signal,
            });
        }
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
        if cause != StopCause::SandboxChanged {
            return Some(self.outcome(cause));
        }
        self.memory.stop = None;
        self.memory.init_done = 0;
        None
    }
}
