//! What the decisions remember from one to the next: back-offs, the stop in progress, actions in flight.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::lifecycle::{Kill, PostStart, PreStop, ProbeOutcome, ProbeRecord};
use crate::action::{Action, ProbeKind, Target};
use crate::backoff::Backoff;
use crate::pod::{Container, Pod};
use crate::status::{Phase, PodEvent};
use crate::time::{Mono, Now};

/// All that is remembered of a Pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// When the Pod was accepted, for `activeDeadlineSeconds`.
    pub accepted: Mono,
    /// When the Pod was accepted, for the status.
    pub start_time: Timestamp,
    /// Actions issued and not answered.
    pub in_flight: Vec<Action>,
    /// The deletion that was asked for.
    pub delete: Option<Delete>,
    /// The machine can't keep it.
    #[serde(default)]
    pub eviction: Option<Evicted>,
    /// The stop that is going on or done.
    pub stop: Option<Stop>,
    /// The number of the next sandbox.
    pub next_sandbox: u32,
    /// Delay of the next try to make a sandbox, after one failed or ended by itself.
    pub sandbox_create: Option<Backoff>,
    /// Delay of the next try to remove the sandbox.
    pub sandbox_remove: Option<Backoff>,
    /// How many init containers the current sandbox has behind it: ended well, or sidecar and started.
    pub init_done: usize,
    /// By container name.
    pub containers: BTreeMap<String, ContainerMemory>,
    /// Pull back-offs by image as written in the manifest.
    pub images: BTreeMap<String, Backoff>,
    /// Since when each condition is as it is, in the order of the status.
    pub conditions: Vec<ConditionRecord>,
    /// `Succeeded` or `Failed`, once reached.
    pub final_phase: Option<Phase>,
    /// Entries for the event log that no decision has handed out yet.
    pub outbox: Vec<PodEvent>,
}

/// Why the machine can't keep a Pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evicted {
    /// For people.
    pub message: String,
    /// End of the grace period.
    pub kill_at: Mono,
    /// It goes for others' sake.
    pub disruption: bool,
    /// It was not let in at all.
    pub rejected: bool,
}

impl Evicted {
    /// The `reason` of the status and the event.
    pub const REASON: &str = "Evicted";

    /// What the status says.
    pub fn status_message(&self) -> String {
        match self.rejected {
            true => format!("Pod was rejected: {}", self.message),
            false => self.message.clone(),
        }
    }
}

/// A deletion asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// End of the grace period.
    pub kill_at: Mono,
    /// SIGKILL at once.
    pub force: bool,
}

/// Containers are being stopped, then removed, then the sandbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Why.
    pub cause: StopCause,
    /// End of the grace period.
    pub kill_at: Mono,
    /// SIGKILL at once.
    pub force: bool,
}

/// Why a Pod is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopCause {
    /// Its containers are through, or an init container failed for good.
    Finished,
    /// It was deleted.
    Deleted,
    /// `activeDeadlineSeconds` have passed.
    DeadlineExceeded,
    /// The machine is short of something.
    Evicted,
    /// Its sandbox ended; a new one follows.
    SandboxChanged,
    /// Its sandbox ended and `restartPolicy: Never` forbids a new one.
    SandboxLost,
    /// A rule of a container that ended says `RestartAllContainers`: they begin again in the same sandbox.
    RestartAll,
}

impl StopCause {
    /// The Pod comes up again afterwards.
    pub fn is_passing(self) -> bool {
        matches!(self, Self::SandboxChanged | Self::RestartAll)
    }
}

/// What is remembered of one container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContainerMemory {
    /// How far an instance on its way is.
    pub starting: Option<Starting>,
    /// Crash back-off.
    pub crash: Option<Backoff>,
    /// The last start failed before there was an instance; not again before this.
    pub retry_at: Option<Mono>,
    /// Delay of the next try to remove the instance.
    pub remove: Option<Backoff>,
    /// Why it is waiting, when there is more to say than that it has not started.
    pub waiting: Option<Waiting>,
    /// Signals sent to the instance.
    pub signals: Signals,
    /// The stop of the instance has been told in the event log.
    pub killing_told: bool,
    /// When the instance was first seen to run: what the probes' initial delays count from.
    #[serde(default)]
    pub running_since: Option<Mono>,
    /// What the probes have found, by kind; of those that the container has.
    #[serde(default)]
    pub probes: BTreeMap<ProbeKind, ProbeRecord>,
    /// The instance's postStart hook.
    #[serde(default)]
    pub post_start: PostStart,
    /// The instance's preStop hook.
    #[serde(default)]
    pub pre_stop: PreStop,
    /// The instance is ended by itself.
    #[serde(default)]
    pub kill: Option<Kill>,
    /// A probe ended the last instance, and the next one need not wait: what restarts a container that it has just
    /// killed still looks at the end before (`doBackOff`, kuberuntime_manager.go; so it was recorded).
    #[serde(default)]
    pub at_once: bool,
}

impl ContainerMemory {
    fn new(container: &Container) -> Self {
        let kinds = ProbeKind::ALL.into_iter();
        let kinds = kinds.filter(|kind| container.probe(*kind).is_some());
        Self {
            probes: kinds.map(|kind| (kind, ProbeRecord::new(kind))).collect(),
            ..Self::default()
        }
    }

    /// What a new instance begins with.
    pub(super) fn renew(&mut self) {
        self.signals = Signals::default();
        self.killing_told = false;
        self.remove = None;
        self.running_since = None;
        self.post_start = PostStart::Done;
        self.pre_stop = PreStop::Idle;
        self.kill = None;
        self.at_once = false;
        for (kind, record) in &mut self.probes {
            record.renew(*kind);
        }
    }

    /// Whether the running instance of this container counts as started: hook and startup probe are behind it
    /// (`isContainerStarted`, prober_manager.go).
    pub fn is_started(&self) -> bool {
        let startup = self.probes.get(&ProbeKind::Startup);
        self.post_start == PostStart::Done
            && startup.is_none_or(|p| p.outcome == ProbeOutcome::Success)
    }

    /// Whether the running instance of this container is ready.
    pub fn is_ready(&self) -> bool {
        let readiness = self.probes.get(&ProbeKind::Readiness);
        self.is_started() && readiness.is_none_or(|p| p.outcome == ProbeOutcome::Success)
    }
}

/// How far a container is with a new instance, once its back-offs were over. A failure ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Starting {
    /// Its image is not ready yet.
    Image,
    /// It can be created and started.
    Create,
}

/// A waiting state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Such as `CrashLoopBackOff`.
    pub reason: String,
    /// More about it.
    pub message: Option<String>,
    /// No status has shown it yet.
    pub fresh: bool,
}

/// Signals sent to an instance.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Signals {
    /// When the stop signal was first sent.
    pub stop: Option<Mono>,
    /// SIGKILL was sent.
    pub kill: bool,
    /// The last one could not be delivered and is to be sent again.
    pub retry: bool,
    /// The delay of that.
    pub failed: Option<Backoff>,
}

/// Since when a condition is as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionRecord {
    /// The condition's type.
    pub kind: String,
    /// True or false.
    pub status: bool,
    /// When that changed last.
    pub since: Timestamp,
}

impl Memory {
    pub(super) fn new(pod: &Pod, now: Now) -> Self {
        Self {
            accepted: now.mono,
            start_time: now.wall,
            in_flight: Vec::new(),
            delete: None,
            eviction: None,
            stop: None,
            next_sandbox: 0,
            sandbox_create: None,
            sandbox_remove: None,
            init_done: 0,
            containers: pod
                .spec
                .all_containers()
                .map(|c| (c.name.clone(), ContainerMemory::new(c)))
                .collect(),
            images: BTreeMap::new(),
            conditions: Vec::new(),
            final_phase: None,
            outbox: Vec::new(),
        }
    }

    /// Nobody waits for the container's hooks any more.
    pub(super) fn drop_hooks(&mut self, container: &str) {
        self.in_flight.retain(|action| {
            let target = action.target();
            target != Some(Target::PostStart(container))
                && target != Some(Target::PreStop(container))
        });
    }

    /// True while an action on the target has not been answered.
    pub fn is_in_flight(&self, target: Target<'_>) -> bool {
        self.in_flight.iter().any(|a| a.target() == Some(target))
    }
}
