//! What is remembered of an instance's probes and hooks, and of its end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::action::ProbeKind;
use crate::pod::Probe;
use crate::time::Mono;

/// What the probes of one kind have found. It outlives the supervisor; when to probe next is in [`Ticks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeRecord {
    /// What holds, once a threshold was reached.
    pub outcome: ProbeOutcome,
    /// The last result was good. An instance that ends by itself hands this and `run` on to the next, as a
    /// kubelet's workers do (prober/worker.go).
    pub last: bool,
    /// How many results in a row were like the last, counted up to the threshold.
    pub run: u32,
    /// Nothing more to ask of this instance.
    pub on_hold: bool,
}

/// What holds of a container by its probes of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeOutcome {
    /// It has not started yet.
    Unknown,
    /// Good.
    Success,
    /// Bad.
    Failure,
}

impl ProbeRecord {
    /// Of a container that was never asked.
    pub fn new(kind: ProbeKind) -> Self {
        Self {
            outcome: Self::initial(kind),
            last: false,
            run: 0,
            on_hold: false,
        }
    }

    /// What holds before the first result (`newWorker`, prober/worker.go).
    fn initial(kind: ProbeKind) -> ProbeOutcome {
        match kind {
            ProbeKind::Startup => ProbeOutcome::Unknown,
            ProbeKind::Liveness => ProbeOutcome::Success,
            ProbeKind::Readiness => ProbeOutcome::Failure,
        }
    }

    /// A new instance is asked from now on.
    pub(super) fn renew(&mut self, kind: ProbeKind) {
        self.outcome = Self::initial(kind);
        self.on_hold = false;
    }

    /// Takes a result (`doProbe`, prober/worker.go).
    pub(super) fn take(&mut self, kind: ProbeKind, spec: &Probe, good: bool) {
        let threshold = match good {
            true => spec.success_threshold,
            false => spec.failure_threshold,
        };
        self.run = match self.last == good {
            true => self.run.saturating_add(1).min(threshold),
            false => 1,
        };
        self.last = good;
        if self.run < threshold {
            return;
        }
        self.outcome = match good {
            true => ProbeOutcome::Success,
            false => ProbeOutcome::Failure,
        };
        if kind == ProbeKind::Startup || kind == ProbeKind::Liveness && !good {
            self.on_hold = true;
            self.run = 0;
        }
    }
}

/// When each probe is due. It changes with every probe and is not written down: a supervisor that starts again
/// finds its own times.
#[derive(Debug, Clone, Default)]
pub struct Ticks {
    /// By container and kind.
    pub(crate) next: BTreeMap<(String, ProbeKind), Tick>,
    /// This supervisor has taken over what another one left.
    pub(crate) taken_over: TakenOver,
}

/// Whether, and since when, this supervisor goes on with what another one left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TakenOver {
    /// It has had the Pod from the beginning.
    #[default]
    No,
    /// It has, and has not decided anything yet.
    Now,
    /// Since its first decision.
    Since(Mono),
}

/// When a probe is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tick {
    /// Which instance it is about.
    pub attempt: u32,
    /// The next time.
    pub due: Mono,
    /// One is under way.
    pub in_flight: bool,
}

/// How far an instance's postStart hook is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PostStart {
    /// There is none, or it went well.
    #[default]
    Done,
    /// Until its end the container does not count as started.
    Pending,
    /// It failed, and why; the container is ended for it.
    Failed(String),
}

/// How far an instance's preStop hook is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PreStop {
    /// It has not been begun.
    #[default]
    Idle,
    /// Under way.
    Running,
    /// Over, given up, or not to be done.
    Done,
}

/// An instance is ended while its Pod stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kill {
    /// Why.
    pub cause: KillCause,
    /// End of its grace period.
    pub kill_at: Mono,
    /// It had no time at all for a hook.
    pub no_grace: bool,
}

/// Why an instance is ended while its Pod stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KillCause {
    /// A startup or liveness probe failed.
    Probe(ProbeKind),
    /// Its postStart hook failed.
    PostStart,
}
