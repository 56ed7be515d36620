//! Answers of probes and hooks.

use super::Fold;
use crate::action::{Action, ProbeKind};
use crate::event::ProbeResult;
use crate::state::{PostStart, PreStop, Stage};
use crate::status::PodEvent;

impl Fold<'_> {
    /// True when it changes what is written down. The texts are a kubelet's (prober/prober.go).
    pub(super) fn probed(
        &mut self,
        container: &str,
        attempt: u32,
        kind: ProbeKind,
        result: ProbeResult,
        output: &str,
    ) -> bool {
        let now = self.now;
        let ticks = &mut self.state.ticks.next;
        let tick = ticks.get_mut(&(container.to_owned(), kind));
        let Some(tick) = tick.filter(|t| t.attempt == attempt && t.in_flight) else {
            return false;
        };
        tick.in_flight = false;
        let running = |stage| matches!(stage, Stage::Running { .. });
        if !self
            .instance(container, attempt)
            .is_some_and(|i| running(i.stage))
        {
            return false;
        }
        let name = kind.as_str();
        let told = match result {
            ProbeResult::Success => None,
            ProbeResult::Warning => {
                Some(("ProbeWarning", format!("{name} probe warning: {output}")))
            }
            ProbeResult::Failure => Some(("Unhealthy", format!("{name} probe failed: {output}"))),
            ProbeResult::Unknown => Some((
                "Unhealthy",
                format!("{name} probe errored and resulted in unknown state: {output}"),
            )),
        };
        if let Some((reason, text)) = told {
            self.tell_of(container, PodEvent::warning(now, reason, text));
        }
        let good = match result {
            ProbeResult::Success | ProbeResult::Warning => true,
            ProbeResult::Failure => false,
            ProbeResult::Unknown => return false,
        };
        let mut all = self.pod.spec.all_containers();
        let spec = all
            .find(|c| c.name == container)
            .and_then(|c| c.probe(kind));
        let memory = self.state.memory.containers.get_mut(container);
        let record = memory.and_then(|m| m.probes.get_mut(&kind));
        let (Some(spec), Some(record)) = (spec, record.filter(|r| !r.on_hold)) else {
            return false;
        };
        let before = *record;
        record.take(kind, spec, good);
        *record != before
    }

    pub(super) fn post_start_done(
        &mut self,
        container: String,
        attempt: u32,
        failure: Option<String>,
    ) {
        let now = self.now;
        let asked = self.answered(&Action::PostStart {
            container: container.clone(),
            attempt,
        });
        let Some((_, memory)) = self.both(&container).filter(|_| asked) else {
            return;
        };
        match failure {
            None => {
                memory.post_start = PostStart::Done;
                memory.waiting = None;
            }
            Some(message) => {
                memory.post_start = PostStart::Failed(message);
                let event = PodEvent::warning(now, "FailedPostStartHook", "PostStartHook failed");
                self.tell_of(&container, event);
            }
        }
    }

    pub(super) fn pre_stop_done(&mut self, container: String, attempt: u32, failed: bool) {
        let now = self.now;
        let in_flight = &mut self.state.memory.in_flight;
        let before = in_flight.len();
        in_flight.retain(|a| {
            !matches!(a, Action::PreStop { container: c, attempt: n, .. } if *c == container && *n == attempt)
        });
        if in_flight.len() == before {
            return;
        }
        if let Some((_, memory)) = self.both(&container) {
            memory.pre_stop = PreStop::Done;
        }
        if failed {
            let event = PodEvent::warning(now, "FailedPreStopHook", "PreStopHook failed");
            self.tell_of(&container, event);
        }
    }

    pub(super) fn hook_fell_back(&mut self, container: &str, attempt: u32, host: &str) {
        if self.instance(container, attempt).is_some() {
            let text = format!(
                "request to HTTPS lifecycle hook {host} got HTTP response, retry with HTTP succeeded"
            );
            let event = PodEvent::warning(self.now, "LifecycleHTTPFallback", text);
            self.tell_of(container, event);
        }
    }
}
