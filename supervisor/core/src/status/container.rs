//! The status of one container (`convertToAPIContainerStatuses`, kubelet_pods.go).

use serde::{Deserialize, Serialize};

use super::Time;
use crate::decide::should_restart;
use crate::pod::{Container, Pod};
use crate::state::{ContainerMemory, EndCause, Ended, Memory, Observed, PostStart, Stage};

/// `v1.ContainerStatus`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStatus {
    /// The container's name.
    pub name: String,
    /// What it does now.
    pub state: ContainerState,
    /// How the instance before ended.
    pub last_state: ContainerState,
    /// Ready to serve; of an init container: ended well.
    pub ready: bool,
    /// How often it was started again.
    pub restart_count: u32,
    /// The image, as the runtime names it once it is there.
    pub image: String,
    /// Digest of the image's configuration.
    #[serde(rename = "imageID")]
    pub image_id: String,
    /// `SCHEME://ID` of the instance.
    #[serde(
        rename = "containerID",
        skip_serializing_if = "Option::is_none",
        default
    )]
    pub container_id: Option<String>,
    /// Runs, and its start-up is over.
    pub started: bool,
}

/// `v1.ContainerState`; at most one is set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContainerState {
    /// Waits to run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub waiting: Option<ContainerStateWaiting>,
    /// Runs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub running: Option<ContainerStateRunning>,
    /// Ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub terminated: Option<ContainerStateTerminated>,
}

/// `v1.ContainerStateWaiting`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStateWaiting {
    /// Such as `ContainerCreating`.
    pub reason: String,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
}

/// `v1.ContainerStateRunning`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStateRunning {
    /// Since when.
    pub started_at: Time,
}

/// `v1.ContainerStateTerminated`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStateTerminated {
    /// Exit code.
    pub exit_code: i32,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, …
    pub reason: String,
    /// The termination message.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
    /// Null when it never started.
    pub started_at: Option<Time>,
    /// When it ended; null when nobody knows.
    pub finished_at: Option<Time>,
    /// `SCHEME://ID`.
    #[serde(
        rename = "containerID",
        skip_serializing_if = "Option::is_none",
        default
    )]
    pub container_id: Option<String>,
}

impl ContainerState {
    fn waiting(reason: &str, message: Option<String>) -> Self {
        Self {
            waiting: Some(ContainerStateWaiting {
                reason: reason.to_owned(),
                message,
            }),
            ..Self::default()
        }
    }

    fn terminated(ended: Option<&Ended>, runtime: &str) -> Self {
        Self {
            terminated: ended.map(|e| ContainerStateTerminated {
                exit_code: e.exit_code,
                signal: e.signal,
                reason: e.reason.clone(),
                message: e.message.clone(),
                started_at: e.started_at.map(Time),
                finished_at: Some(Time(e.finished_at)),
                container_id: e.id.as_ref().map(|id| format!("{runtime}://{id}")),
            }),
            ..Self::default()
        }
    }
}

pub(super) fn status(
    pod: &Pod,
    spec: &Container,
    observed: &Observed,
    memory: &Memory,
) -> ContainerStatus {
    let record = observed.containers.get(&spec.name);
    let runtime = observed.runtime.as_str();
    let image = record.and_then(|r| r.image.as_ref());
    let ended = record.and_then(|r| r.ended.as_ref());
    let mut status = ContainerStatus {
        name: spec.name.clone(),
        state: ContainerState::default(),
        last_state: ContainerState::default(),
        ready: false,
        restart_count: ended.map_or(0, |e| {
            e.attempt + u32::from(e.cause == EndCause::RestartAll)
        }),
        image: image.map_or_else(|| spec.image.clone(), |i| i.name.clone()),
        image_id: image.map(|i| i.id.clone()).unwrap_or_default(),
        container_id: ended
            .and_then(|e| e.id.as_ref())
            .map(|id| format!("{runtime}://{id}")),
        started: false,
    };
    let init = pod.spec.init_containers.iter().any(|c| c.name == spec.name);
    let remembered = memory.containers.get(&spec.name);
    // Not shown to run before its postStart hook is done, unless it is being stopped with its Pod.
    let shown = |m: &ContainerMemory| m.post_start == PostStart::Done || memory.stop.is_some();
    if let Some(instance) = record.and_then(|r| r.instance.as_ref())
        && let Stage::Running { at, .. } = instance.stage
        && let Some(remembered) = remembered.filter(|m| shown(m))
    {
        status.state.running = Some(ContainerStateRunning {
            started_at: Time(at),
        });
        status.last_state = ContainerState::terminated(ended, runtime);
        status.restart_count = instance.attempt;
        status.container_id = instance.id.as_ref().map(|id| format!("{runtime}://{id}"));
        status.started = remembered.is_started();
        status.ready = remembered.is_ready() && (!init || spec.sidecar);
        return status;
    }
    // A kubelet shows why it waits only for a container that it is going to start.
    let ending = memory.stop.is_some_and(|s| !s.cause.is_passing());
    let waiting = remembered
        .and_then(|m| m.waiting.as_ref())
        .filter(|_| !ending && ended.is_none_or(|e| should_restart(pod, spec, e)));
    match (waiting, ended) {
        (Some(waiting), _) => {
            status.state = ContainerState::waiting(&waiting.reason, waiting.message.clone());
            status.last_state = ContainerState::terminated(ended, runtime);
        }
        (None, Some(ended)) => {
            status.state = ContainerState::terminated(Some(ended), runtime);
            let before = record.and_then(|r| r.ended_before.as_ref());
            status.last_state = ContainerState::terminated(before, runtime);
            status.ready = init && !spec.sidecar && ended.exit_code == 0;
        }
        (None, None) => {
            let reason = if pod.spec.init_containers.is_empty() {
                "ContainerCreating"
            } else {
                "PodInitializing"
            };
            status.state = ContainerState::waiting(reason, None);
        }
    }
    status
}

/// What a kubelet makes of containers that have no end when their Pod has: in a Pod that was initialized
/// they count as failed, as do init containers before one that had begun (`TerminatePod`,
/// status_manager.go).
pub(super) fn close(init: &mut [ContainerStatus], main: &mut [ContainerStatus]) {
    let begun =
        |s: &ContainerStatus| s.state.waiting.is_none() || s.last_state.terminated.is_some();
    let through = |s: &ContainerState| s.terminated.as_ref().is_some_and(|t| t.exit_code == 0);
    let initialized = init.is_empty()
        || main.iter().any(begun)
        || init
            .last()
            .is_some_and(|s| through(&s.state) || through(&s.last_state));
    let count = init.iter().rposition(begun).map_or(1, |last| last + 1);
    let main = main.iter_mut().filter(|_| initialized);
    for status in init.iter_mut().take(count).chain(main) {
        if status.state.terminated.is_none() {
            status.state = ContainerState {
                terminated: Some(ContainerStateTerminated {
                    exit_code: 137,
                    signal: None,
                    reason: "ContainerStatusUnknown".to_owned(),
                    message: Some(LOST.to_owned()),
                    started_at: None,
                    finished_at: None,
                    container_id: None,
                }),
                ..ContainerState::default()
            };
        }
    }
}

const LOST: &str = "The container could not be located when the pod was terminated";
