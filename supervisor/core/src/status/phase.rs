//! The Pod's phase (`getPhase`, kubelet_pods.go).

use super::{ContainerStatus, Phase};
use crate::decide::should_restart;
use crate::pod::Pod;
use crate::state::{Memory, Observed, Stage, StopCause};

pub(super) fn phase(
    pod: &Pod,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    observed: &Observed,
    memory: &Memory,
) -> Phase {
    let phase = by_containers(pod, init, main, observed, memory);
    let restarting = memory
        .stop
        .is_some_and(|s| s.cause == StopCause::RestartAll);
    if restarting && phase.is_terminal() {
        // Containers that are ended to begin again end nothing.
        return Phase::Running;
    }
    phase
}

fn by_containers(
    pod: &Pod,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    observed: &Observed,
    memory: &Memory,
) -> Phase {
    if let Some(phase) = memory.final_phase {
        return phase;
    }
    let cause = memory.stop.map(|s| s.cause);
    if matches!(
        cause,
        Some(StopCause::DeadlineExceeded | StopCause::Evicted)
    ) {
        return Phase::Failed;
    }
    // An instance that ended and is not started again, by restart policy.
    let over = |name: &str| {
        let spec = pod.spec.all_containers().find(|c| c.name == name)?;
        let ended = observed.containers.get(name)?.ended.as_ref()?;
        Some(!should_restart(pod, spec, ended))
    };
    // Whether any container of the current sandbox other than an init container was started.
    let begun = main.iter().any(|c| {
        c.state.running.is_some()
            || observed
                .containers
                .get(&c.name)
                .and_then(|r| r.ended.as_ref())
                .is_some_and(|e| {
                    observed
                        .sandbox
                        .as_ref()
                        .is_none_or(|s| s.attempt == e.sandbox)
                })
    });
    let mut pending_init = false;
    let (mut running, mut waiting) = (0, 0);
    for (spec, status) in pod.spec.init_containers.iter().zip(init) {
        let ended_once =
            status.state.terminated.is_some() || status.last_state.terminated.is_some();
        if spec.sidecar {
            if status.state.running.is_some() {
                running += 1;
                pending_init |= !status.started && !begun;
            } else if !ended_once {
                waiting += 1;
                pending_init |= !begun;
            }
            continue;
        }
        let ended = status.state.terminated.as_ref().or_else(|| {
            let waits = status.state.waiting.is_some();
            status.last_state.terminated.as_ref().filter(|_| waits)
        });
        match ended {
            Some(e) if e.exit_code != 0 && over(&spec.name) == Some(true) => return Phase::Failed,
            Some(_) => {}
            None => pending_init = true,
        }
    }
    let (mut stopped, mut succeeded, mut restartable) = (0, 0, false);
    for status in main {
        if status.state.running.is_some() {
            running += 1;
        } else if let Some(terminated) = &status.state.terminated {
            stopped += 1;
            succeeded += usize::from(terminated.exit_code == 0);
            restartable |= over(&status.name) == Some(false);
        } else if status.last_state.terminated.is_some() {
            stopped += 1;
            restartable |= over(&status.name) == Some(false);
        } else {
            waiting += 1;
        }
    }
    let result = if stopped == succeeded {
        Phase::Succeeded
    } else {
        Phase::Failed
    };
    // What is on its way may still run for a moment.
    let settled = observed
        .containers
        .values()
        .all(|c| c.stage().is_none_or(|s| s == Stage::Exited));
    match cause {
        Some(StopCause::SandboxLost | StopCause::Deleted)
            if settled && waiting == 0 && stopped > 0 =>
        {
            return result;
        }
        _ => {}
    }
    if pending_init || waiting > 0 {
        Phase::Pending
    } else if running > 0 || restartable {
        Phase::Running
    } else {
        result
    }
}
