//! Notes an action as issued, so that no decision issues it twice and a teardown knows what may exist.

use super::{Instance, PodState, SandboxRecord, SandboxStage, Signals, Stage};
use crate::action::{Action, Signal};
use crate::time::Now;

pub(super) fn mark(state: &mut PodState, action: &Action, now: Now) {
    if action.target().is_some() {
        state.memory.in_flight.push(action.clone());
    }
    match action {
        Action::CreateSandbox { attempt } => {
            state.memory.next_sandbox = attempt.saturating_add(1);
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
                memory.signals = Signals::default();
                memory.killing_told = false;
                memory.remove = None;
            }
        }
        Action::Signal {
            container, signal, ..
        } => {
            if let Some(memory) = state.memory.containers.get_mut(container) {
                memory.signals.retry = false;
                match signal {
                    Signal::StopSignal => {
                        memory.signals.stop.get_or_insert(now.mono);
                    }
                    Signal::Kill => memory.signals.kill = true,
                }
            }
        }
        Action::EnsureImage { .. }
        | Action::Probe { .. }
        | Action::PostStart { .. }
        | Action::PreStop { .. }
        | Action::StartContainer { .. }
        | Action::RemoveContainer { .. }
        | Action::RemoveSandbox { .. } => {}
    }
}
