//! When which container is probed (pkg/kubelet/prober/worker.go).
//!
//! One worker per container and kind: first once the initial delay is over, then once per period. A probe that
//! takes longer than its period is followed by the next at once. Startup probes come first, the others wait.

use super::Planner;
use crate::action::{Action, ProbeKind};
use crate::pod::{Container, Probe};
use crate::state::{PostStart, Stage, TakenOver, Tick};
use crate::time::Mono;

impl Planner<'_> {
    /// Issues the probes that are due.
    pub(super) fn probe(&mut self) {
        if self.ticks.taken_over == TakenOver::Now {
            self.ticks.taken_over = TakenOver::Since(self.now.mono);
        }
        let pod = self.pod;
        let init = pod.spec.init_containers.iter().filter(|c| c.sidecar);
        for (container, sidecar) in init
            .map(|c| (c, true))
            .chain(pod.spec.containers.iter().map(|c| (c, false)))
        {
            let Some(instance) = &self.record(container).instance else {
                continue;
            };
            if !matches!(instance.stage, Stage::Running { .. }) {
                continue;
            }
            for kind in ProbeKind::ALL {
                if let Some(spec) = container.probe(kind) {
                    self.worker(container, sidecar, instance.attempt, kind, spec);
                }
            }
        }
    }

    fn worker(
        &mut self,
        container: &Container,
        sidecar: bool,
        attempt: u32,
        kind: ProbeKind,
        spec: &Probe,
    ) {
        let stopping = self.memory.stop.is_some();
        let memory = self.remembered(container);
        let Some(since) = memory.running_since else {
            return;
        };
        if memory.post_start != PostStart::Done
            || memory.probes.get(&kind).is_none_or(|p| p.on_hold)
            || kind != ProbeKind::Startup && !memory.is_started()
            // `StopLivenessAndStartup` (prober_manager.go), which leaves the sidecars out.
            || stopping && !sidecar && kind != ProbeKind::Readiness
        {
            return;
        }
        let key = (container.name.clone(), kind);
        let known = self.ticks.next.get(&key).copied();
        let mut tick = known
            .filter(|t| t.attempt == attempt)
            .unwrap_or_else(|| Tick {
                attempt,
                due: self.first(container, kind, spec, since),
                in_flight: false,
            });
        if !tick.in_flight && self.due(tick.due) {
            self.act(Action::Probe {
                container: container.name.clone(),
                attempt,
                kind,
            });
            tick.in_flight = true;
            let period = u64::from(spec.period_seconds.max(1)) * 1000;
            let late = self.now.mono.since(tick.due);
            tick.due = tick.due.plus_ms((late / period + 1) * period);
            // Its answer comes before, or the next one is due with it.
        }
        self.ticks.next.insert(key, tick);
    }

    /// When the first probe is due: at once after the initial delay. A supervisor that has just taken over a Pod
    /// spreads the probes over their period (`run`, worker.go, by chance), so that they don't come all at once.
    fn first(&self, container: &Container, kind: ProbeKind, spec: &Probe, since: Mono) -> Mono {
        let now = self.now.mono;
        let delay_over = since.plus_secs(spec.initial_delay_seconds.into());
        let period = u64::from(spec.period_seconds.max(1)) * 1000;
        match self.ticks.taken_over {
            TakenOver::Since(at) if since <= at && now.since(at) < period => {
                let name = [&self.pod.metadata.uid, &container.name, kind.as_str()].concat();
                delay_over.max(now).plus_ms(spread(&name) % period)
            }
            _ => delay_over.max(now),
        }
    }
}

/// FNV-1a: the same for the same name, and spread well.
fn spread(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
