//! When probes are done and what they say of a container (`prober/worker.go`, `prober_manager.go`).

use carob_core::action::ProbeKind::{self, Liveness, Readiness, Startup};
use carob_core::event::{Event, ProbeResult};
use carob_core::pod::RestartPolicy::Always;
use carob_core::pod::{Container, Pod, Probe};
use carob_core::state::PodState;

use crate::kit::{Bench, pod, probe, short};

/// A Pod of one container with these probes.
pub fn probed(probes: &[(ProbeKind, Probe)]) -> Pod {
    let mut pod = pod(Always, &[], &["app"]);
    give(&mut pod.spec.containers[0], probes);
    pod
}

pub fn give(container: &mut Container, probes: &[(ProbeKind, Probe)]) {
    for (kind, probe) in probes {
        let place = match kind {
            Startup => &mut container.startup_probe,
            Liveness => &mut container.liveness_probe,
            Readiness => &mut container.readiness_probe,
        };
        *place = Some(probe.clone());
    }
}

pub fn up(pod: Pod) -> Bench {
    let mut bench = Bench::new(pod);
    bench.answer();
    bench
}

pub fn bad(bench: &mut Bench, kind: ProbeKind) {
    bench.bad.insert(("app".to_owned(), kind));
}

pub fn state(bench: &Bench) -> (bool, bool) {
    let app = bench.container("app");
    (app.started, app.ready)
}

/// A bench whose probes wait to be answered by the test.
pub fn asked(probes: &[(ProbeKind, Probe)]) -> Bench {
    let mut bench = Bench::new(probed(probes));
    bench.answer_unless(|a| short(a).ends_with("ness app") || short(a).starts_with("Startup"));
    bench
}

#[test]
fn each_is_done_at_once_and_then_once_per_period() {
    let slow = Probe {
        period_seconds: 7,
        ..probe()
    };
    let mut bench = up(probed(&[(Liveness, probe()), (Readiness, slow)]));
    bench.advance(25_000);
    assert_eq!(bench.times("Liveness"), [0, 10_000, 20_000]);
    assert_eq!(bench.times("Readiness"), [0, 7_000, 14_000, 21_000]);
}

#[test]
fn the_initial_delay_counts_from_the_containers_start() {
    let late = Probe {
        initial_delay_seconds: 5,
        ..probe()
    };
    let mut bench = Bench::new(probed(&[(Liveness, late.clone()), (Readiness, late)]));
    bench.turn_to(bench.now.mono.plus_ms(3_000));
    bench.answer();
    assert_eq!(state(&bench), (true, false));
    bench.advance(20_000);
    assert_eq!(bench.times("Liveness"), [8_000, 18_000]);
    assert_eq!(bench.times("Readiness"), [8_000, 18_000]);
}

#[test]
fn initial_values_are_live_unready_and_not_started() {
    let bench = asked(&[(Liveness, probe()), (Readiness, probe())]);
    assert_eq!(state(&bench), (true, false));
    assert_eq!(bench.signal_count(), 0);
    let bench = asked(&[(Startup, probe())]);
    assert_eq!(state(&bench), (false, false));
    let bench = asked(&[(Liveness, probe())]);
    assert_eq!(state(&bench), (true, true));
    let bench = asked(&[(Readiness, probe())]);
    let message = "containers with unready status: [app]";
    let expected = (false, "ContainersNotReady", message);
    assert_eq!(bench.condition("Ready"), expected);
}

#[test]
fn the_others_wait_until_the_startup_probe_has_succeeded() {
    let quick = Probe {
        period_seconds: 1,
        failure_threshold: 10,
        ..probe()
    };
    let mut bench = Bench::new(probed(&[
        (Startup, quick.clone()),
        (Liveness, quick.clone()),
        (Readiness, quick),
    ]));
    bad(&mut bench, Startup);
    bench.answer();
    bench.advance(4_500);
    assert_eq!(bench.times("Startup").len(), 5);
    assert_eq!(bench.times("Liveness"), [0u64; 0]);
    assert_eq!(bench.times("Readiness"), [0u64; 0]);
    bench.bad.clear();
    bench.advance(3_000);
    // Then it is on hold.
    assert_eq!(bench.times("Startup").len(), 6);
    assert_eq!(bench.times("Liveness"), [5_000, 6_000, 7_000]);
    assert_eq!(bench.times("Readiness"), [5_000, 6_000, 7_000]);
    assert_eq!(state(&bench), (true, true));
    // A new instance starts up again.
    bench.exit("app", 0);
    bench.answer_unless(|a| short(a).starts_with("Startup"));
    assert_eq!(state(&bench), (false, false));
    assert_eq!(bench.pending(), ["Startup app"]);
}

#[test]
fn a_warning_is_a_success_that_is_told() {
    let mut bench = asked(&[(Readiness, probe())]);
    bench.probed("app", Readiness, ProbeResult::Warning);
    assert_eq!(
        bench.told("ProbeWarning"),
        ["Readiness probe warning: boom"]
    );
    assert_eq!(state(&bench), (true, true));
}

#[test]
fn what_could_not_be_asked_counts_for_nothing() {
    let mut bench = asked(&[(Readiness, probe())]);
    bench.probed("app", Readiness, ProbeResult::Success);
    for _ in 0..5 {
        bench.advance_unanswered(10_000);
        bench.probed("app", Readiness, ProbeResult::Unknown);
    }
    assert_eq!(state(&bench), (true, true));
    assert_eq!(
        bench.told("Unhealthy")[0],
        "Readiness probe errored and resulted in unknown state: boom"
    );
}

#[test]
fn readiness_comes_and_goes_with_its_thresholds() {
    let careful = Probe {
        success_threshold: 2,
        failure_threshold: 2,
        ..probe()
    };
    let mut bench = asked(&[(Readiness, careful)]);
    let mut seen = Vec::new();
    for result in [true, true, false, true, false, false, true, true] {
        let result = match result {
            true => ProbeResult::Success,
            false => ProbeResult::Failure,
        };
        bench.probed("app", Readiness, result);
        seen.push(state(&bench).1);
        bench.advance_unanswered(10_000);
    }
    assert_eq!(seen, [false, true, true, true, true, false, false, true]);
    // It ends nothing.
    assert_eq!(bench.told("Killing"), [""; 0]);
}

#[test]
fn conditions_turn_with_readiness_and_know_since_when() {
    let mut bench = asked(&[(Readiness, probe())]);
    let since = |bench: &Bench| {
        let conditions = &bench.status().conditions;
        let ready = conditions.iter().find(|c| c.kind == "Ready").unwrap();
        ready.last_transition_time
    };
    let before = since(&bench);
    bench.turn_to(bench.now.mono.plus_ms(5_000));
    bench.probed("app", Readiness, ProbeResult::Success);
    assert_eq!(bench.condition("Ready"), (true, "", ""));
    assert_eq!(since(&bench).0.as_second() - before.0.as_second(), 5);
}

#[test]
fn a_slow_probe_is_alone_and_the_next_follows_it_at_once() {
    let quick = Probe {
        period_seconds: 1,
        timeout_seconds: 5,
        ..probe()
    };
    let mut bench = asked(&[(Liveness, quick)]);
    bench.advance_unanswered(2_500);
    assert_eq!(bench.times("Liveness"), [0]);
    bench.probed("app", Liveness, ProbeResult::Success);
    bench.probed("app", Liveness, ProbeResult::Success);
    bench.advance_unanswered(500);
    assert_eq!(bench.times("Liveness"), [0, 2_500, 3_000]);
}

#[test]
fn readiness_begins_anew_with_each_instance() {
    let mut bench = asked(&[(Readiness, probe())]);
    bench.probed("app", Readiness, ProbeResult::Success);
    assert_eq!(state(&bench), (true, true));
    bench.exit("app", 1);
    assert_eq!(state(&bench), (false, false));
    bench.answer_unless(|a| short(a).starts_with("Read"));
    assert_eq!(state(&bench), (true, false));
}

#[test]
fn answers_that_are_late_or_doubled_do_nothing() {
    let once = Probe {
        failure_threshold: 1,
        ..probe()
    };
    let mut bench = asked(&[(Liveness, once)]);
    let answer = |attempt| Event::Probed {
        container: "app".to_owned(),
        attempt,
        kind: Liveness,
        result: ProbeResult::Failure,
        output: String::new(),
    };
    bench.actions.clear();
    bench.exit("app", 1);
    bench.event(answer(0));
    bench.answer_unless(|a| short(a).starts_with("Live"));
    bench.event(answer(0));
    assert_eq!(bench.told("Unhealthy"), [""; 0]);
    bench.probed("app", Liveness, ProbeResult::Success);
    bench.event(answer(1));
    assert_eq!(bench.told("Unhealthy"), [""; 0]);
    assert_eq!(bench.told("Killing"), [""; 0]);
}

#[test]
fn probes_that_find_what_they_found_before_write_nothing_down() {
    let quick = Probe {
        period_seconds: 1,
        ..probe()
    };
    let mut bench = up(probed(&[(Liveness, quick.clone()), (Readiness, quick)]));
    bench.advance(10_000);
    let before = (bench.saves, bench.state.clone());
    bench.advance(100_000);
    assert_eq!(bench.saves, before.0);
    assert!(bench.state == before.1);
    bad(&mut bench, Readiness);
    bench.advance(10_000);
    // Up to its threshold.
    assert_eq!(bench.saves, before.0 + 3);
    assert_eq!(bench.told("Unhealthy").len(), 10);
}

#[test]
fn counts_ready_and_started_outlive_the_supervisor() {
    let quick = Probe {
        period_seconds: 10,
        ..probe()
    };
    let mut bench = up(probed(&[
        (Startup, quick.clone()),
        (Liveness, quick.clone()),
        (Readiness, quick),
    ]));
    bad(&mut bench, Liveness);
    bench.advance(25_000);
    let json = serde_json::to_string(&bench.state).unwrap();
    bench.state = serde_json::from_str::<PodState>(&json).unwrap();
    bench.state.resume();
    bench.actions.clear();
    bench.step();
    assert_eq!(state(&bench), (true, true));
    assert_eq!(bench.times("Startup").len(), 1);
    let before = bench.times("Liveness").len();
    bench.advance(10_000);
    // Within one period, and it was the third failure.
    assert_eq!(bench.times("Liveness").len(), before + 1);
    assert_eq!(bench.told("Killing").len(), 1);
}

#[test]
fn a_new_supervisor_does_not_probe_all_pods_at_once() {
    let mut times = std::collections::BTreeSet::new();
    for n in 0..50 {
        let mut pod = probed(&[(Liveness, probe())]);
        pod.metadata.uid = format!("uid-{n}");
        let mut bench = up(pod);
        bench.advance(60_000);
        bench.state.resume();
        bench.actions.clear();
        bench.step();
        times.insert(bench.sleeps().unwrap_or(0));
    }
    assert!(
        times.len() > 40 && times.iter().all(|&t| t < 10_000),
        "{times:?}"
    );
}
