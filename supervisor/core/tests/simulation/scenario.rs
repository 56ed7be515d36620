//! A random Pod and what will befall it.

use carob_core::pod::{
    Container, ExitCodeOperator, Pod, Probe, RestartAction, RestartPolicy, RestartRule,
};

use crate::choices::Choices;
use crate::kit;

/// Something from outside.
#[derive(Debug, Clone, Copy)]
pub enum Happening {
    /// Someone deletes the Pod.
    Delete(Option<u64>),
    /// The pause program ends.
    SandboxDies,
    /// The shim ends and takes a container with it, nobody knows how.
    ContainerLost(usize),
    /// The supervisor is killed and started again so many milliseconds later.
    Crash(u64),
    /// The wall clock is set, by seconds.
    ClockSet(i64),
}

/// A Pod and its fate.
pub struct Scenario {
    pub pod: Pod,
    /// Milliseconds until nothing goes wrong any more.
    pub calm_after: u64,
    /// With their times, in milliseconds.
    pub happenings: Vec<(u64, Happening)>,
    /// Events that come together are folded before one step, instead of a step for each.
    pub batch: bool,
    /// How many of a hundred calls of the runtime fail before it is calm.
    pub failing: u32,
    /// How many of a hundred steps the supervisor is killed at.
    pub crashing: u32,
}

pub fn draw(choices: &mut Choices) -> Scenario {
    let policy = choices.pick(&[
        RestartPolicy::Always,
        RestartPolicy::OnFailure,
        RestartPolicy::Never,
    ]);
    let calm_after = choices.pick(&[0, 1_000, 30_000, 120_000, 600_000, 3_600_000, 7_200_000]);
    let asking = Asking {
        probes: choices.pick(&[0, 0, 0, 40, 80]),
        hooks: choices.pick(&[0, 0, 30]),
        rules: choices.pick(&[0, 0, 0, 30]),
        // No life is to be spent on probes alone.
        least_period: u32::try_from(calm_after / 100_000).unwrap_or(0),
    };
    let mut pod = kit::pod(policy, &[], &[]);
    let init = choices.pick(&[0, 0, 1, 1, 2, 3]);
    pod.spec.init_containers = (0..init)
        .map(|i| {
            let sidecar = choices.chance(50);
            let mut container = container(choices, INIT[i]);
            container.sidecar = sidecar;
            if sidecar {
                ask(choices, &asking, &mut container);
                container.restart_policy = None;
            } else {
                restart(choices, &asking, &mut container);
            }
            container
        })
        .collect();
    let main = choices.pick(&[1, 1, 2, 3]);
    pod.spec.containers = (0..main)
        .map(|i| {
            let mut container = container(choices, MAIN[i]);
            ask(choices, &asking, &mut container);
            restart(choices, &asking, &mut container);
            container
        })
        .collect();
    pod.spec.termination_grace_period_seconds = choices.pick(&[30, 0, 1, 5]);
    if choices.chance(15) {
        pod.spec.active_deadline_seconds = Some(choices.pick(&[60, 1, 600]));
    }
    let count = choices.pick(&[0, 1, 1, 2, 3, 4, 6, 8]);
    let happenings = (0..count)
        .map(|_| {
            let at = u64::from(choices.below(1000)) * calm_after / 1000;
            (at, happening(choices))
        })
        .collect();
    Scenario {
        pod,
        calm_after,
        happenings,
        batch: choices.chance(30),
        failing: choices.pick(&[0, 5, 30]),
        crashing: choices.pick(&[0, 0, 2]),
    }
}

const INIT: [&str; 3] = ["init-0", "init-1", "init-2"];
const MAIN: [&str; 3] = ["main-0", "main-1", "main-2"];

fn container(choices: &mut Choices, name: &str) -> Container {
    let mut container = kit::container(name);
    if choices.chance(20) {
        container.image = "other:1".to_owned();
    }
    container
}

/// How many of a hundred containers have what.
struct Asking {
    probes: u32,
    hooks: u32,
    rules: u32,
    /// Seconds.
    least_period: u32,
}

/// Gives a container probes and hooks.
fn ask(choices: &mut Choices, asking: &Asking, container: &mut Container) {
    if choices.chance(asking.probes) {
        container.startup_probe = probe(choices, asking, false);
        container.liveness_probe = probe(choices, asking, false);
        container.readiness_probe = probe(choices, asking, true);
    }
    if choices.chance(asking.hooks) {
        container.lifecycle.post_start = kit::hook();
    }
    if choices.chance(asking.hooks) {
        container.lifecycle.pre_stop = kit::hook();
    }
}

fn probe(choices: &mut Choices, asking: &Asking, readiness: bool) -> Option<Probe> {
    if !choices.chance(60) {
        return None;
    }
    Some(Probe {
        initial_delay_seconds: choices.pick(&[0, 0, 1, 15]),
        period_seconds: choices.pick(&[10, 1, 30]).max(asking.least_period),
        success_threshold: match readiness {
            true => choices.pick(&[1, 2]),
            false => 1,
        },
        failure_threshold: choices.pick(&[3, 1, 2]),
        termination_grace_period_seconds: match readiness {
            true => None,
            false => choices.pick(&[None, Some(1), Some(7)]),
        },
        ..kit::probe()
    })
}

/// Gives a container a restart policy of its own.
fn restart(choices: &mut Choices, asking: &Asking, container: &mut Container) {
    if !choices.chance(asking.rules) {
        return;
    }
    container.restart_policy = Some(choices.pick(&[
        RestartPolicy::Never,
        RestartPolicy::OnFailure,
        RestartPolicy::Always,
    ]));
    if container.restart_policy == Some(RestartPolicy::Always) {
        return;
    }
    let mut rule = RestartRule {
        action: choices.pick(&[RestartAction::Restart, RestartAction::RestartAllContainers]),
        // Never an end that went well: an init container would go round for ever.
        operator: choices.pick(&[ExitCodeOperator::In, ExitCodeOperator::NotIn]),
        values: [1].into(),
    };
    if rule.operator == ExitCodeOperator::NotIn {
        rule.values = [0, choices.pick(&[1, 0])].into();
    }
    container.restart_rules = vec![rule];
}

fn happening(choices: &mut Choices) -> Happening {
    match choices.below(10) {
        0..=2 => Happening::Delete(choices.pick(&[None, Some(30), Some(5), Some(1), Some(0)])),
        3..=4 => Happening::SandboxDies,
        5..=6 => Happening::ContainerLost(choices.below(6) as usize),
        7..=8 => Happening::Crash(choices.pick(&[0, 100, 5_000, 60_000])),
        _ => Happening::ClockSet(choices.pick(&[3600, -3600, 1])),
    }
}
