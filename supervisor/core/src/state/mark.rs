//! Notes an action as issued, so that no decision issues it twice and a teardown knows what may exist.

use super::{EndCause, Instance, PodState, PreStop, SandboxRecord, SandboxStage, Stage, Waiting};
use crate::action::{Action, Signal, Target};
use crate::time::Now;

pub(super) fn mark(state: &mut PodState, action: &Action, now: Now) {
    if action.target().is_some() {
        state.memory.in_flight.push(action.clone());
    }
    match action {
        Action::CreateSandbox { attempt } => {
            state.memory.next_sandbox = attempt.saturating_add(1);
            state.observed.volumes = true;
            state.observed.sandbox = Some(SandboxRecord {
                attempt: *attempt,
                id: None,
                pid: None,
                stage: SandboxStage::Creating,
            });
        }
        Action::CreateContainer { container, attempt } => {
            let sandbox = state.observed.sandbox.as_ref().map_or(0, |s| s.attempt);
            if let Some(record) = state.observed.containers.get_mut(container) {
                record.instance = Some(Instance {
                    attempt: *attempt,
                    sandbox,
                    id: None,
                    oom: false,
                    stage: Stage::Creating,
                });
            }
            if let Some(memory) = state.memory.containers.get_mut(container) {
                memory.renew();
            }
        }
        Action::Signal {
            container, signal, ..
        } => {
            state.memory.drop_hooks(container);
            if let Some(memory) = state.memory.containers.get_mut(container) {
                memory.pre_stop = PreStop::Done;
                memory.signals.retry = false;
                match signal {
                    Signal::StopSignal => {
                        memory.signals.stop.get_or_insert(now.mono);
                    }
                    Signal::Kill => memory.signals.kill = true,
                }
            }
        }
        Action::PreStop { container, .. } => {
            let post_start = Some(Target::PostStart(container));
            state.memory.in_flight.retain(|a| a.target() != post_start);
            if let Some(memory) = state.memory.containers.get_mut(container) {
                memory.pre_stop = PreStop::Running;
            }
        }
        Action::EnsureImage { .. }
        | Action::Probe { .. }
        | Action::PostStart { .. }
        | Action::StartContainer { .. }
        | Action::RemoveContainer { .. }
        | Action::RemoveSandbox { .. } => {}
    }
}

/// How long all containers that are restarted stay away. They have no back-off; a kubelet is kept from spinning by
/// looking once a second.
const RESTART_ALL_PAUSE_MS: u64 = 1_000;

/// All containers are gone and begin again in the same sandbox: their ends count for nothing any more. The words
/// are a kubelet's (`RestartAllContainers`, kubelet_pods.go).
pub(super) fn restart_all(state: &mut PodState, now: Now) {
    let reason = "RestartingAllContainers";
    let message = "The container is removed because RestartAllContainers in place";
    for (name, record) in &mut state.observed.containers {
        let Some(ended) = &mut record.ended else {
            continue;
        };
        ended.exit_code = 137;
        ended.signal = None;
        ended.reason = reason.to_owned();
        ended.message = Some(message.to_owned());
        ended.seen = now.mono;
        ended.cause = EndCause::RestartAll;
        if let Some(memory) = state.memory.containers.get_mut(name) {
            let pause = Some(now.mono.plus_ms(RESTART_ALL_PAUSE_MS));
            memory.retry_at = memory.retry_at.max(pause);
            memory.waiting = Some(Waiting {
                reason: reason.to_owned(),
                message: Some(message.to_owned()),
                fresh: true,
            });
        }
    }
}
