//! Probes and hooks, followed once more: what they make of a container, and when they may be asked.

use std::collections::BTreeMap;

use carob_core::action::{Action, ProbeKind};
use carob_core::event::{Event, ProbeResult};
use carob_core::pod::{Container, Pod, Probe};
use carob_core::time::Mono;

use super::{Check, Verdict, ensure};

/// What is known of an instance's probes and hooks.
#[derive(Clone, Default)]
pub struct Asked {
    /// The instance that was created last.
    pub current: Option<u32>,
    /// When it was told to run.
    pub since: Option<Mono>,
    /// The postStart hook is still to succeed.
    pub post: bool,
    pub post_failed: bool,
    post_in_flight: bool,
    /// The preStop hook was answered.
    pub pre: bool,
    pre_in_flight: bool,
    probes: BTreeMap<ProbeKind, Seen>,
    /// It is to end though its Pod stays: when its grace ends, whether a probe is the reason.
    pub doomed: Option<Doom>,
}

#[derive(Clone, Copy)]
pub struct Doom {
    pub end: Mono,
    pub by_probe: bool,
    pub hook: bool,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    last: bool,
    run: u32,
    /// Good, once a threshold was reached.
    outcome: Option<bool>,
    hold: bool,
    in_flight: bool,
    /// The first probe since the instance or the supervisor started, and how many there were.
    first: Option<Mono>,
    count: u32,
}

impl Asked {
    pub fn is_started(&self, spec: &Container) -> bool {
        !self.post && (spec.startup_probe.is_none() || self.holds(ProbeKind::Startup))
    }

    pub fn is_ready(&self, spec: &Container) -> bool {
        self.is_started(spec)
            && (spec.readiness_probe.is_none() || self.holds(ProbeKind::Readiness))
    }

    fn holds(&self, kind: ProbeKind) -> bool {
        self.probes
            .get(&kind)
            .is_some_and(|p| p.outcome == Some(true))
    }

    /// The instance has ended: what was counted goes over to the next.
    pub fn ended(&mut self) {
        let mut probes = std::mem::take(&mut self.probes);
        for seen in probes.values_mut() {
            *seen = Seen {
                last: seen.last,
                run: seen.run,
                ..Seen::default()
            };
        }
        *self = Self {
            probes,
            ..Self::default()
        };
    }

    /// The supervisor was killed.
    pub fn forget(&mut self) {
        self.post_in_flight = false;
        self.pre_in_flight = false;
        for seen in self.probes.values_mut() {
            seen.in_flight = false;
            seen.first = None;
            seen.count = 0;
        }
    }
}

fn spec<'a>(pod: &'a Pod, name: &str) -> &'a Container {
    let mut all = pod.spec.all_containers();
    all.find(|c| c.name == name).expect("a container")
}

impl Check {
    /// What an event says about probes and hooks.
    pub(super) fn asked_event(&mut self, pod: &Pod, event: &Event, now: Mono) {
        let grace = pod.spec.termination_grace_period_seconds * 1000;
        match event {
            Event::ContainerStarted {
                container, attempt, ..
            } => {
                let this = &mut self.of(container).asked;
                if this.current == Some(*attempt) && this.since.is_none() {
                    this.since = Some(now);
                    this.post = spec(pod, container).lifecycle.post_start.is_some();
                }
            }
            Event::PostStartDone {
                container,
                attempt,
                failure,
            } => {
                let this = &mut self.of(container).asked;
                if this.current != Some(*attempt) || !std::mem::take(&mut this.post_in_flight) {
                    return;
                }
                this.post = failure.is_some();
                if failure.is_some() {
                    this.post_failed = true;
                    this.doomed = Some(Doom {
                        end: now.plus_ms(grace),
                        by_probe: false,
                        hook: grace > 0,
                    });
                }
            }
            Event::PreStopDone {
                container, attempt, ..
            } => {
                let this = &mut self.of(container).asked;
                if this.current == Some(*attempt) && std::mem::take(&mut this.pre_in_flight) {
                    this.pre = true;
                }
            }
            Event::Probed {
                container,
                attempt,
                kind,
                result,
                ..
            } => {
                let probe = spec(pod, container).probe(*kind).expect("a probe");
                self.probed(container, *attempt, *kind, *result, probe, (now, grace));
            }
            _ => {}
        }
    }

    fn probed(
        &mut self,
        container: &str,
        attempt: u32,
        kind: ProbeKind,
        result: ProbeResult,
        probe: &Probe,
        (now, grace): (Mono, u64),
    ) {
        let this = &mut self.of(container).asked;
        let running = this.current == Some(attempt) && this.since.is_some();
        let seen = this.probes.entry(kind).or_default();
        if !running || !std::mem::take(&mut seen.in_flight) || seen.hold {
            return;
        }
        let good = match result {
            ProbeResult::Success | ProbeResult::Warning => true,
            ProbeResult::Failure => false,
            ProbeResult::Unknown => return,
        };
        let threshold = if good {
            probe.success_threshold
        } else {
            probe.failure_threshold
        };
        let run = if seen.last == good { seen.run + 1 } else { 1 };
        seen.run = run.min(threshold);
        seen.last = good;
        if run < threshold {
            return;
        }
        seen.outcome = Some(good);
        if kind == ProbeKind::Startup || !good && kind == ProbeKind::Liveness {
            seen.hold = true;
            seen.run = 0;
        }
        if !good && kind != ProbeKind::Readiness {
            let own = probe.termination_grace_period_seconds.map(|s| s * 1000);
            let grace = own.unwrap_or(grace);
            this.doomed.get_or_insert(Doom {
                end: now.plus_ms(grace),
                by_probe: true,
                hook: grace > 0,
            });
        }
    }

    /// Probes and hooks that are issued, and signals, which end them.
    pub(super) fn asked_action(&mut self, pod: &Pod, action: &Action, now: Mono) -> Verdict {
        let stopping = !self.told.deletes.is_empty();
        match action {
            Action::Probe {
                container,
                attempt,
                kind,
            } => {
                let spec = spec(pod, container);
                let sidecar = spec.sidecar;
                let this = &mut self.of(container).asked;
                let started = this.is_started(spec);
                let running = this.current == Some(*attempt) && this.since.is_some();
                ensure(running && !this.post, || {
                    format!("{container} is asked before it runs")
                })?;
                ensure(*kind == ProbeKind::Startup || started, || {
                    format!("{kind:?} of {container} before it has started")
                })?;
                ensure(
                    *kind == ProbeKind::Readiness || sidecar || !stopping,
                    || format!("{kind:?} of {container} in a deleted Pod"),
                )?;
                let probe = spec.probe(*kind).expect("a probe");
                let delay = u64::from(probe.initial_delay_seconds) * 1000;
                ensure(this.since.is_some_and(|s| now >= s.plus_ms(delay)), || {
                    format!("{kind:?} of {container} before its initial delay is over")
                })?;
                let seen = this.probes.entry(*kind).or_default();
                ensure(!seen.in_flight && !seen.hold, || {
                    format!("{kind:?} of {container} twice at once, or when all is known")
                })?;
                let period = u64::from(probe.period_seconds) * 1000;
                let first = *seen.first.get_or_insert(now);
                let due = first.plus_ms(period * u64::from(seen.count));
                ensure(now >= due, || {
                    format!("{kind:?} of {container} {} ms too soon", due.since(now))
                })?;
                seen.count += 1;
                seen.in_flight = true;
            }
            Action::PostStart { container, attempt } => {
                let this = &mut self.of(container).asked;
                let wanted = this.current == Some(*attempt) && this.since.is_some() && this.post;
                ensure(wanted && !this.post_failed, || {
                    format!("postStart of {container} out of its turn")
                })?;
                this.post_in_flight = true;
            }
            Action::PreStop {
                container,
                attempt,
                within_ms,
            } => {
                let this = &mut self.of(container).asked;
                let wanted = this.current == Some(*attempt) && this.since.is_some() && !this.pre;
                ensure(wanted && *within_ms > 0, || {
                    format!("preStop of {container} out of its turn")
                })?;
                this.post_in_flight = false;
                this.pre_in_flight = true;
            }
            Action::Signal { container, .. } => {
                let this = &mut self.of(container).asked;
                this.post_in_flight = false;
                this.pre_in_flight = false;
                this.pre = true;
            }
            _ => {}
        }
        Ok(())
    }
}
