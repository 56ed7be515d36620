//! The Pod's conditions (`pkg/kubelet/status/generate.go`).

use serde::{Deserialize, Serialize};

use super::{ContainerStatus, Phase, Time};
use crate::pod::{Pod, RestartAction};
use crate::state::{ConditionRecord, Memory, Observed, StopCause};
use crate::time::Now;

/// `v1.PodCondition`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodCondition {
    /// Such as `Ready`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Always null, as a kubelet leaves it.
    #[serde(default)]
    pub last_probe_time: Option<Time>,
    /// Since when the status is what it is.
    pub last_transition_time: Time,
    /// Why, in a word.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
}

/// `v1.ConditionStatus`, without the `Unknown` that no node sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It doesn't.
    False,
}

/// A condition before its times are known.
#[derive(Clone)]
struct Draft {
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Draft {
    fn new(holds: bool) -> Self {
        Self {
            holds,
            reason: None,
            message: None,
        }
    }

    fn because(holds: bool, reason: &'static str) -> Self {
        Self {
            reason: Some(reason),
            ..Self::new(holds)
        }
    }

    fn unless_any(names: &[&str], reason: &'static str, what: &str) -> Self {
        if names.is_empty() {
            return Self::new(true);
        }
        Self {
            message: Some(format!(
                "containers with {what} status: [{}]",
                names.join(" ")
            )),
            ..Self::because(false, reason)
        }
    }
}

pub(super) fn generate(
    pod: &Pod,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    phase: Phase,
    observed: &Observed,
    memory: &mut Memory,
    now: Now,
) -> Vec<PodCondition> {
    let ready = ready(pod, init, main, phase);
    let restarting = could_restart_all(pod).then(|| restarting_all(phase, observed, memory));
    let evicted = memory
        .eviction
        .as_ref()
        .filter(|evicted| evicted.disruption);
    let disruption = evicted.map(|evicted| Draft {
        message: Some(evicted.message.clone()),
        ..Draft::because(true, "TerminationByKubelet")
    });
    let drafts = [
        (
            "PodReadyToStartContainers",
            Draft::new(observed.ready_sandbox().is_some()),
        ),
        ("Initialized", initialized(pod, init, main, phase)),
        ("Ready", ready.clone()),
        ("ContainersReady", ready),
        ("PodScheduled", Draft::new(true)),
    ];
    let disruption = disruption.map(|draft| ("DisruptionTarget", draft));
    drafts
        .into_iter()
        .chain(restarting.map(|draft| (RESTARTING_ALL, draft)))
        .chain(disruption)
        .map(|(kind, draft)| PodCondition {
            kind: kind.to_owned(),
            status: if draft.holds {
                ConditionStatus::True
            } else {
                ConditionStatus::False
            },
            last_probe_time: None,
            last_transition_time: Time(since(memory, kind, draft.holds, now)),
            reason: draft.reason.map(str::to_owned),
            message: draft.message,
        })
        .collect()
}

/// `Ready` and `ContainersReady`, which differ by readiness gates only: nobody sets those here.
fn ready(pod: &Pod, init: &[ContainerStatus], main: &[ContainerStatus], phase: Phase) -> Draft {
    match phase {
        Phase::Succeeded => return Draft::because(false, "PodCompleted"),
        Phase::Failed => return Draft::because(false, "PodFailed"),
        Phase::Pending | Phase::Running => {}
    }
    let sidecars = pod.spec.init_containers.iter().zip(init);
    let sidecars = sidecars.filter(|(spec, _)| spec.sidecar).map(|(_, s)| s);
    let unready: Vec<&str> = sidecars
        .chain(main)
        .filter(|s| !s.ready)
        .map(|s| s.name.as_str())
        .collect();
    Draft::unless_any(&unready, "ContainersNotReady", "unready")
}

fn initialized(
    pod: &Pod,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    phase: Phase,
) -> Draft {
    if phase == Phase::Succeeded {
        return Draft::because(true, "PodCompleted");
    }
    let started = |s: &ContainerStatus| s.state.running.is_some() || s.state.terminated.is_some();
    if main.iter().any(started) {
        return Draft::new(true);
    }
    let incomplete: Vec<&str> = pod
        .spec
        .init_containers
        .iter()
        .zip(init)
        .filter(|(spec, s)| if spec.sidecar { !s.started } else { !s.ready })
        .map(|(_, s)| s.name.as_str())
        .collect();
    Draft::unless_any(&incomplete, "ContainersNotInitialized", "incomplete")
}

const RESTARTING_ALL: &str = "AllContainersRestarting";

/// Only a Pod that may restart all its containers has this condition (`AllContainersCouldRestart`,
/// pkg/api/v1/pod/util.go).
fn could_restart_all(pod: &Pod) -> bool {
    let mut rules = pod.spec.all_containers().flat_map(|c| &c.restart_rules);
    rules.any(|rule| rule.action == RestartAction::RestartAllContainers)
}

/// It holds from the end that asks for it until no container is left, also when the Pod is deleted meanwhile.
fn restarting_all(phase: Phase, observed: &Observed, memory: &Memory) -> Draft {
    match phase {
        Phase::Succeeded => return Draft::because(false, "PodCompleted"),
        Phase::Failed => return Draft::because(false, "PodFailed"),
        Phase::Pending | Phase::Running => {}
    }
    let mut known = memory.conditions.iter();
    let began = memory.stop.map(|s| s.cause) == Some(StopCause::RestartAll)
        || known.any(|c| c.kind == RESTARTING_ALL && c.status);
    if !began || observed.containers.values().all(|c| c.instance.is_none()) {
        return Draft::new(false);
    }
    Draft {
        message: Some("container exited with restart policy rule".to_owned()),
        ..Draft::because(true, "RestartAllContainersStarted")
    }
}

/// Since when the condition holds or doesn't.
fn since(memory: &mut Memory, kind: &str, holds: bool, now: Now) -> jiff::Timestamp {
    match memory.conditions.iter_mut().find(|c| c.kind == kind) {
        Some(record) => {
            if record.status != holds {
                record.status = holds;
                record.since = now.wall;
            }
            record.since
        }
        None => {
            memory.conditions.push(ConditionRecord {
                kind: kind.to_owned(),
                status: holds,
                since: now.wall,
            });
            now.wall
        }
    }
}
