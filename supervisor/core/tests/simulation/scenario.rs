//! A random Pod and what will befall it.

use carob_core::pod::{Container, Pod, RestartPolicy};

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
    let mut pod = kit::pod(policy, &[], &[]);
    let init = choices.pick(&[0, 0, 1, 1, 2, 3]);
    pod.spec.init_containers = (0..init)
        .map(|i| Container {
            sidecar: choices.chance(50),
            ..container(choices, INIT[i])
        })
        .collect();
    let main = choices.pick(&[1, 1, 2, 3]);
    pod.spec.containers = (0..main).map(|i| container(choices, MAIN[i])).collect();
    pod.spec.termination_grace_period_seconds = choices.pick(&[30, 0, 1, 5]);
    if choices.chance(15) {
        pod.spec.active_deadline_seconds = Some(choices.pick(&[60, 1, 600]));
    }
    let calm_after = choices.pick(&[0, 1_000, 30_000, 120_000, 600_000, 3_600_000, 7_200_000]);
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

fn happening(choices: &mut Choices) -> Happening {
    match choices.below(10) {
        0..=2 => Happening::Delete(choices.pick(&[None, Some(30), Some(5), Some(1), Some(0)])),
        3..=4 => Happening::SandboxDies,
        5..=6 => Happening::ContainerLost(choices.below(6) as usize),
        7..=8 => Happening::Crash(choices.pick(&[0, 100, 5_000, 60_000])),
        _ => Happening::ClockSet(choices.pick(&[3600, -3600, 1])),
    }
}
