//! What is counted of one Pod; gone with it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use carob_core::action::ProbeKind;
use carob_core::backoff::CRASH;
use carob_core::event::ProbeResult;
use carob_core::pod::Pod;
use carob_core::state::{KillCause, PodState, Stage, StopCause};
use carob_core::status::{Phase, PodStatus};
use carob_core::time::{Mono, Now};
use prometheus::{Histogram, HistogramOpts};

use super::kubelet::Metrics;

/// The counters.
#[derive(Default)]
pub(super) struct Tally {
    pub probes: BTreeMap<(String, ProbeKind), Probes>,
    /// When who waits no longer: container, what is waited for.
    pub backoffs: Vec<(String, &'static str, Instant)>,
    /// How often a container was ended, and why.
    pub kills: BTreeMap<(String, &'static str), u64>,
    /// How often memory was short in it.
    pub ooms: BTreeMap<String, u64>,
    /// Instances that were told to stop: since when, and whether they were killed.
    stopping: BTreeMap<(String, u32), Stopping>,
    /// Whether hooks whose answers have come went well.
    pub hooks: BTreeMap<(String, &'static str), bool>,
    start: Start,
    /// Its first pull began, its last one ended.
    pull: Option<(Instant, Instant)>,
}

/// How far a Pod's start is.
#[derive(Default, PartialEq, Eq)]
enum Start {
    /// Nothing was decided yet.
    #[default]
    New,
    /// It was pending.
    Pending,
    /// Nobody waits for it: it runs, or ran before.
    Over,
}

struct Stopping {
    since: Instant,
    killed: bool,
}

/// Probes of one kind.
#[derive(Default)]
pub(super) struct Probes {
    pub successful: u64,
    pub failed: u64,
    pub unknown: u64,
    /// The last one was.
    good: bool,
    pub durations: Option<Histogram>,
}

impl Tally {
    /// A probe is over. Its result was told before: failures are not observed (`prober/worker.go`).
    pub fn probed(&mut self, container: &str, kind: ProbeKind, seconds: f64) {
        let probes = self.probes.entry((container.to_owned(), kind)).or_default();
        if std::mem::take(&mut probes.good) {
            let histogram = probes.durations.get_or_insert_with(durations);
            histogram.observe(seconds);
        }
    }

    pub fn probe_result(&mut self, container: &str, kind: ProbeKind, result: ProbeResult) {
        let probes = self.probes.entry((container.to_owned(), kind)).or_default();
        match result {
            ProbeResult::Success | ProbeResult::Warning => {
                probes.successful += 1;
                probes.good = true;
            }
            ProbeResult::Failure => probes.failed += 1,
            ProbeResult::Unknown => probes.unknown += 1,
        }
    }

    /// An image is being pulled.
    pub fn pulls(&mut self) {
        let now = Instant::now();
        self.pull.get_or_insert((now, now));
    }

    /// One was.
    pub fn pulled(&mut self) {
        if let Some((_, last)) = &mut self.pull {
            *last = Instant::now();
        }
    }

    /// A hook has answered.
    pub fn hook(&mut self, container: &str, hook: &'static str, good: bool) {
        self.hooks.insert((container.to_owned(), hook), good);
    }

    /// Takes the time from the Pod's acceptance to its first decision, and until it runs.
    pub fn started(&mut self, state: &PodState, status: &PodStatus, now: Now, metrics: &Metrics) {
        let since = Duration::from_millis(now.mono.since(state.memory.accepted));
        if self.start == Start::New {
            self.start = match status.phase {
                Phase::Pending => Start::Pending,
                _ => Start::Over,
            };
            if state.observed.sandbox.is_none() && self.start == Start::Pending {
                metrics.worker_start.observe(since.as_secs_f64());
            }
        }
        if self.start == Start::Pending && status.phase != Phase::Pending {
            self.start = Start::Over;
            if status.phase == Phase::Running {
                let pulls = self
                    .pull
                    .map_or(Duration::ZERO, |(first, last)| last - first);
                metrics.pod_start.observe(since.as_secs_f64());
                metrics
                    .pod_start_sli
                    .observe(since.saturating_sub(pulls).as_secs_f64());
            }
        }
    }

    pub fn oom(&mut self, container: &str) {
        *self.ooms.entry(container.to_owned()).or_default() += 1;
    }

    pub fn decided(&mut self, pod: &Pod, state: &PodState, now: Now, metrics: &Metrics) {
        let here = Instant::now();
        let left = |until: Mono| Duration::from_millis(until.since(now.mono));
        self.backoffs = backoffs(pod, state)
            .map(|(container, what, until)| (container, what, here + left(until)))
            .filter(|&(.., until)| until > here)
            .collect();
        let told: Vec<_> = stopping(pod, state).collect();
        for (container, attempt, why, killed) in &told {
            let key = (container.clone(), *attempt);
            let kills = &mut self.kills;
            let stopping = self.stopping.entry(key).or_insert_with(|| {
                *kills.entry((container.clone(), *why)).or_default() += 1;
                Stopping {
                    since: here,
                    killed: false,
                }
            });
            stopping.killed |= killed;
        }
        self.stopping.retain(|(container, attempt), stopping| {
            let stays = told.iter().any(|(c, a, ..)| c == container && a == attempt);
            if !stays {
                let killed = if stopping.killed { "true" } else { "false" };
                let histogram = metrics.stop.with_label_values(&[killed]);
                histogram.observe(stopping.since.elapsed().as_secs_f64());
            }
            stays
        });
    }
}

/// What containers wait for before they are tried again, and until when.
fn backoffs<'a>(
    pod: &'a Pod,
    state: &'a PodState,
) -> impl Iterator<Item = (String, &'static str, Mono)> + 'a {
    pod.spec.all_containers().filter_map(|container| {
        let memory = state.memory.containers.get(&container.name)?;
        let (what, until) = match memory.waiting.as_ref()?.reason.as_str() {
            "CrashLoopBackOff" => {
                let ended = state
                    .observed
                    .containers
                    .get(&container.name)?
                    .ended
                    .as_ref()?;
                ("crash", memory.crash?.until(CRASH, ended.seen))
            }
            "ErrImagePull" | "ImagePullBackOff" => {
                let entry = state.memory.images.get(&container.image)?;
                ("image", entry.updated.plus_ms(entry.delay_ms))
            }
            _ => ("create", memory.retry_at.filter(|&at| at != Mono::NEVER)?),
        };
        Some((container.name.clone(), what, until))
    })
}

/// The instances that were told to stop and have not: why, and whether they are being killed.
fn stopping<'a>(
    pod: &'a Pod,
    state: &'a PodState,
) -> impl Iterator<Item = (String, u32, &'static str, bool)> + 'a {
    pod.spec.all_containers().filter_map(|container| {
        let memory = state.memory.containers.get(&container.name)?;
        let instance = state
            .observed
            .containers
            .get(&container.name)?
            .instance
            .as_ref()?;
        let runs = matches!(instance.stage, Stage::Running { .. });
        let signals = &memory.signals;
        if !runs || (signals.stop.is_none() && !signals.kill) {
            return None;
        }
        let why = match (memory.kill, state.memory.stop) {
            (Some(kill), _) => match kill.cause {
                KillCause::Probe(ProbeKind::Startup) => "startup_probe",
                KillCause::Probe(_) => "liveness_probe",
                KillCause::PostStart => "post_start_hook",
            },
            (None, Some(stop)) => match stop.cause {
                StopCause::Deleted => "deleted",
                StopCause::DeadlineExceeded => "deadline_exceeded",
                StopCause::Evicted => "evicted",
                StopCause::Finished => "finished",
                StopCause::SandboxChanged | StopCause::SandboxLost => "sandbox_changed",
                StopCause::RestartAll => "restart_all",
            },
            (None, None) => "other",
        };
        Some((container.name.clone(), instance.attempt, why, signals.kill))
    })
}

/// Of `prober_probe_duration_seconds` (`prober_manager.go`: the default buckets).
fn durations() -> Histogram {
    let opts = HistogramOpts::new(
        "prober_probe_duration_seconds",
        "Duration in seconds for a probe response.",
    );
    // The name is valid and the buckets are the defaults, so this can't fail.
    Histogram::with_opts(opts).unwrap_or_else(|error| unreachable!("{error}"))
}
