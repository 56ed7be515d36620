//! When which container is probed (pkg/kubelet/prober/worker.go).
//!
//! One worker per container and kind: first once the initial delay is over, then once per period. A probe that
//! takes longer than its period is followed by the next at once. Startup probes come first, the others wait.

use crate::action::{Action, ProbeKind};
use crate::pod::{Container, Pod, Probe};
use crate::state::{Memory, Observed, PostStart, Stage, TakenOver, Tick, Ticks};
use crate::time::{Mono, Now};

/// Which probes to issue now.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    /// The actions.
    pub actions: Vec<Action>,
    /// When the next one is due.
    pub wake_at: Option<Mono>,
}

/// Issues the probes that are due, noting in `ticks` when the next ones are.
pub(crate) fn probes(
    pod: &Pod,
    observed: &Observed,
    memory: &Memory,
    ticks: &mut Ticks,
    now: Now,
) -> Probes {
    if ticks.taken_over == TakenOver::Now {
        ticks.taken_over = TakenOver::Since(now.mono);
    }
    let mut prober = Prober {
        pod,
        memory,
        ticks,
        now: now.mono,
        probes: Probes::default(),
    };
    let init = pod.spec.init_containers.iter().filter(|c| c.sidecar);
    for (container, sidecar) in init
        .map(|c| (c, true))
        .chain(pod.spec.containers.iter().map(|c| (c, false)))
    {
        let record = observed.containers.get(&container.name);
        let Some(instance) = record.and_then(|r| r.instance.as_ref()) else {
            continue;
        };
        if !matches!(instance.stage, Stage::Running { .. }) {
            continue;
        }
        for kind in ProbeKind::ALL {
            if let Some(spec) = container.probe(kind) {
                prober.worker(container, sidecar, instance.attempt, kind, spec);
            }
        }
    }
    prober.probes
}

struct Prober<'a> {
    pod: &'a Pod,
    memory: &'a Memory,
    ticks: &'a mut Ticks,
    now: Mono,
    probes: Probes,
}

impl Prober<'_> {
    fn worker(
        &mut self,
        container: &Container,
        sidecar: bool,
        attempt: u32,
        kind: ProbeKind,
        spec: &Probe,
    ) {
        let stopping = self.memory.stop.is_some();
        let Some(memory) = self.memory.containers.get(&container.name) else {
            return;
        };
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
        // While one is under way its answer comes before, or the next one is due with it.
        if !tick.in_flight && self.due(tick.due) {
            self.probes.actions.push(Action::Probe {
                container: container.name.clone(),
                attempt,
                kind,
            });
            tick.in_flight = true;
            let period = u64::from(spec.period_seconds.max(1)) * 1000;
            let late = self.now.since(tick.due);
            tick.due = tick.due.plus_ms((late / period + 1) * period);
        }
        self.ticks.next.insert(key, tick);
    }

    /// True when `at` has come; else asks to be woken then.
    fn due(&mut self, at: Mono) -> bool {
        let due = self.now >= at;
        if !due {
            let wake_at = &mut self.probes.wake_at;
            *wake_at = Some(wake_at.map_or(at, |w| w.min(at)));
        }
        due
    }

    /// When the first probe is due: at once after the initial delay. A supervisor that has just taken over a Pod
    /// spreads the probes over their period (`run`, worker.go, by chance), so that they don't come all at once.
    fn first(&self, container: &Container, kind: ProbeKind, spec: &Probe, since: Mono) -> Mono {
        let now = self.now;
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
