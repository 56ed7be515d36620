//! Ending a running instance: `Killing`, the preStop hook, the stop signal, SIGKILL (`killContainer`,
//! kuberuntime_container.go).

use super::Planner;
use crate::action::{Action, ProbeKind, Signal};
use crate::backoff::RETRY;
use crate::pod::{Container, RestartPolicy};
use crate::state::{Kill, KillCause, PostStart, PreStop, ProbeOutcome};
use crate::status::PodEvent;
use crate::time::Mono;

/// Between a stop signal and SIGKILL there are at least 2 s (`minimumGracePeriodInSeconds`,
/// kuberuntime_container.go), however late the signal came.
const MINIMUM_GRACE_MS: u64 = 2_000;

/// How an instance is to end.
pub(super) struct End {
    /// The end of the grace period. A hook and other containers are waited for until then.
    pub kill_at: Mono,
    /// SIGKILL at once.
    pub force: bool,
    /// A preStop hook is done.
    pub hooks: bool,
    /// The stop signal may leave.
    pub turn: bool,
}

impl Planner<'_> {
    /// Whether the running instance has to be ended though its Pod stays, and how (`computePodActions`,
    /// kuberuntime_manager.go; `startContainer`, kuberuntime_container.go).
    pub(super) fn kill_wanted(&mut self, container: &Container) -> Option<Kill> {
        let memory = self.remembered(container);
        if memory.kill.is_some() {
            return memory.kill;
        }
        let failed = |kind| {
            let probe = memory.probes.get(&kind);
            probe.is_some_and(|p| p.outcome == ProbeOutcome::Failure)
        };
        let cause = if matches!(memory.post_start, PostStart::Failed(_)) {
            KillCause::PostStart
        } else if failed(ProbeKind::Liveness) {
            KillCause::Probe(ProbeKind::Liveness)
        } else if failed(ProbeKind::Startup) {
            KillCause::Probe(ProbeKind::Startup)
        } else {
            return None;
        };
        let own = match cause {
            KillCause::Probe(kind) => container.probe(kind),
            KillCause::PostStart => None,
        };
        let own = own.and_then(|p| p.termination_grace_period_seconds);
        let grace = own.unwrap_or(self.pod.spec.termination_grace_period_seconds);
        let kill = Kill {
            cause,
            kill_at: self.now.mono.plus_secs(grace),
            no_grace: grace == 0,
        };
        let memory = self.remembered(container);
        memory.kill = Some(kill);
        memory.killing_told = true;
        let text = self.killing(container, cause);
        let event = PodEvent::normal(self.now, "Killing", text);
        self.tell(event.of(self.pod, &container.name));
        Some(kill)
    }

    fn killing(&self, container: &Container, cause: KillCause) -> String {
        let name = &container.name;
        let KillCause::Probe(kind) = cause else {
            return "FailedPostStartHook".to_owned();
        };
        let kind = kind.as_str().to_lowercase();
        if container.sidecar {
            return format!("Init container {name} failed {kind} probe");
        }
        let policy = container.restart_policy;
        let then = match policy.unwrap_or(self.pod.spec.restart_policy) {
            RestartPolicy::Never => "",
            RestartPolicy::Always | RestartPolicy::OnFailure => ", will be restarted",
        };
        format!("Container {name} failed {kind} probe{then}")
    }

    /// Does what is next for the running instance to end.
    pub(super) fn end(&mut self, container: &Container, attempt: u32, end: &End) {
        let name = container.name.clone();
        if !self.remembered(container).killing_told {
            self.remembered(container).killing_told = true;
            let text = format!("Stopping container {name}");
            let event = PodEvent::normal(self.now, "Killing", text);
            self.tell(event.of(self.pod, &name));
        }
        let hook_over = self.pre_stop(container, attempt, end);
        let signals = self.remembered(container).signals.clone();
        let delay = signals.failed.filter(|_| signals.retry);
        let may_retry = delay.is_some_and(|d| self.due(d.until(RETRY, d.updated)));
        let turn = end.turn && hook_over || self.due(end.kill_at);
        let kill_at = signals.stop.map_or(Mono::NEVER, |sent| {
            end.kill_at.max(sent.plus_ms(MINIMUM_GRACE_MS))
        });
        let signal = if signals.kill {
            may_retry.then_some(Signal::Kill)
        } else if end.force || self.due(kill_at) {
            Some(Signal::Kill)
        } else if signals.stop.is_none() && turn || may_retry {
            Some(Signal::StopSignal)
        } else {
            None
        };
        if let Some(signal) = signal {
            if signal == Signal::StopSignal {
                let sent = signals.stop.unwrap_or(self.now.mono);
                self.wake(end.kill_at.max(sent.plus_ms(MINIMUM_GRACE_MS)));
            }
            self.act(Action::Signal {
                container: name,
                attempt,
                signal,
            });
        }
    }

    /// Begins the preStop hook, if there is one and time for it. True when it need not be waited for.
    fn pre_stop(&mut self, container: &Container, attempt: u32, end: &End) -> bool {
        let now = self.now.mono;
        let signalled = self.remembered(container).signals.stop.is_some();
        match self.remembered(container).pre_stop {
            PreStop::Done => true,
            PreStop::Running => false,
            PreStop::Idle => {
                let wanted = container.lifecycle.pre_stop.is_some() && end.hooks && !end.force;
                if !wanted || signalled || now >= end.kill_at {
                    return true;
                }
                self.act(Action::PreStop {
                    container: container.name.clone(),
                    attempt,
                    within_ms: end.kill_at.since(now),
                });
                false
            }
        }
    }
}
