//! Probe workers (`prober/worker.go`, `prober_manager.go`).

use carob_core::action::ProbeKind::{self, Liveness, Readiness, Startup};
use carob_core::event::{Event, ProbeResult};
use carob_core::pod::RestartPolicy::{Always, Never, OnFailure};
use carob_core::pod::{Container, Pod, Probe};
use carob_core::state::PodState;

use crate::kit::{Bench, pod, probe, short};

/// A Pod of one container with these probes.
fn probed(probes: &[(ProbeKind, Probe)]) -> Pod {
    let mut pod = pod(Always, &[], &["app"]);
    give(&mut pod.spec.containers[0], probes);
    pod
}

fn give(container: &mut Container, probes: &[(ProbeKind, Probe)]) {
    for (kind, probe) in probes {
        let place = match kind {
            Startup => &mut container.startup_probe,
            Liveness => &mut container.liveness_probe,
            Readiness => &mut container.readiness_probe,
        };
        *place = Some(probe.clone());
    }
}

fn up(pod: Pod) -> Bench {
    let mut bench = Bench::new(pod);
    bench.answer();
    bench
}

fn bad(bench: &mut Bench, kind: ProbeKind) {
    bench.bad.insert(("app".to_owned(), kind));
}

fn state(bench: &Bench) -> (bool, bool) {
    let app = bench.container("app");
    (app.started, app.ready)
}

/// A bench whose probes wait to be answered by the test.
fn asked(probes: &[(ProbeKind, Probe)]) -> Bench {
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
fn so_many_failures_in_a_row_end_the_container() {
    let mut bench = asked(&[(Liveness, probe())]);
    for result in [
        ProbeResult::Failure,
        ProbeResult::Failure,
        ProbeResult::Success,
        ProbeResult::Failure,
        ProbeResult::Unknown,
        ProbeResult::Failure,
    ] {
        bench.probed("app", Liveness, result);
        assert_eq!(bench.signals(), [""; 0], "{result:?}");
        bench.turn_to(bench.wake_at().unwrap());
        bench.step();
    }
    bench.probed("app", Liveness, ProbeResult::Failure);
    assert_eq!(bench.signals(), ["app StopSignal"]);
    assert_eq!(
        bench.told("Killing"),
        ["Container app failed liveness probe, will be restarted"]
    );
    let told = bench.told("Unhealthy");
    assert_eq!(told[0], "Liveness probe failed: boom");
    assert_eq!(
        told[3],
        "Liveness probe errored and resulted in unknown state: boom"
    );
    // SIGKILL at the end of the Pod's grace period; nothing is asked meanwhile.
    assert_eq!(bench.sleeps(), Some(30_000));
    bench.advance_unanswered(29_999);
    assert_eq!(bench.signals(), [""; 0]);
    bench.advance_unanswered(1);
    assert_eq!(bench.signals(), ["app Kill"]);
    assert!(bench.condition("Ready").0);
}

#[test]
fn the_back_off_after_a_probe_counts_from_the_end_before() {
    // The container fails at once each time and lives 16 seconds.
    let once = Probe {
        failure_threshold: 1,
        initial_delay_seconds: 16,
        ..probe()
    };
    let mut bench = Bench::new(probed(&[(Liveness, once)]));
    bad(&mut bench, Liveness);
    bench.answer();
    let mut waited = Vec::new();
    for count in 1..6 {
        bench.advance(16_000);
        bench.exit("app", 143);
        let end = bench.now.mono;
        bench.answer();
        while bench.container("app").restart_count < count {
            assert_eq!(bench.doing("app"), "waiting CrashLoopBackOff");
            bench.advance(1_000);
        }
        waited.push(bench.now.mono.since(end));
    }
    // The delay grows from the second restart on: 10 s are over when the third is due, 20 s and more are not.
    assert_eq!(waited, [0, 0, 0, 20_000, 40_000]);
}

#[test]
fn the_probes_own_grace_period_wins() {
    for kind in [Liveness, Startup] {
        let quick = Probe {
            failure_threshold: 1,
            termination_grace_period_seconds: Some(4),
            ..probe()
        };
        let mut bench = asked(&[(kind, quick)]);
        bench.probed("app", kind, ProbeResult::Failure);
        let name = kind.as_str().to_lowercase();
        let text = format!("Container app failed {name} probe, will be restarted");
        assert_eq!(bench.told("Killing"), [text]);
        assert_eq!(bench.signals(), ["app StopSignal"]);
        assert_eq!(bench.sleeps(), Some(4_000));
    }
    let quick = Probe {
        failure_threshold: 1,
        termination_grace_period_seconds: Some(1),
        ..probe()
    };
    let mut bench = asked(&[(Liveness, quick)]);
    bench.probed("app", Liveness, ProbeResult::Failure);
    assert_eq!(bench.sleeps(), Some(2_000), "never less than two seconds");
}

#[test]
fn a_probe_restarts_whatever_the_exit_code_unless_the_policy_is_never() {
    for (policy, code, again) in [
        (Always, 0, true),
        (OnFailure, 0, true),
        (OnFailure, 1, true),
        (Never, 0, false),
        (Never, 1, false),
    ] {
        let mut pod = pod(policy, &[], &["app", "other"]);
        let once = Probe {
            failure_threshold: 1,
            ..probe()
        };
        give(&mut pod.spec.containers[0], &[(Liveness, once)]);
        let mut bench = Bench::new(pod);
        bench.answer_unless(|a| short(a).starts_with("Live"));
        bench.probed("app", Liveness, ProbeResult::Failure);
        let then = if again { ", will be restarted" } else { "" };
        assert_eq!(
            bench.told("Killing"),
            [format!("Container app failed liveness probe{then}")]
        );
        bench.signals();
        bench.exit("app", code);
        bench.answer();
        let doing = if again { "running" } else { "terminated" };
        assert!(bench.doing("app").starts_with(doing), "{policy:?} {code}");
    }
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
fn counts_go_over_to_the_next_instance_unless_the_container_was_killed() {
    let mut bench = asked(&[(Liveness, probe())]);
    for _ in 0..2 {
        bench.probed("app", Liveness, ProbeResult::Failure);
        bench.advance_unanswered(10_000);
    }
    bench.actions.clear();
    bench.exit("app", 1);
    bench.answer_unless(|a| short(a).starts_with("Live"));
    bench.probed("app", Liveness, ProbeResult::Failure);
    assert_eq!(bench.signals(), ["app StopSignal"], "the third in a row");
    bench.exit("app", 1);
    bench.answer_unless(|a| short(a).starts_with("Live"));
    bench.advance_unanswered(10_000);
    bench.answer_unless(|a| short(a).starts_with("Live"));
    bench.probed("app", Liveness, ProbeResult::Failure);
    assert_eq!(bench.signals(), [""; 0], "the first again");
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
fn a_pod_that_terminates_is_asked_for_readiness_only() {
    let quick = Probe {
        period_seconds: 1,
        ..probe()
    };
    let all = [(Liveness, quick.clone()), (Readiness, quick)];
    let mut pod = probed(&all);
    pod.spec.init_containers = crate::kit::pod(Always, &["+side"], &[])
        .spec
        .init_containers;
    give(&mut pod.spec.init_containers[0], &all);
    let mut bench = up(pod);
    bench.delete(None);
    let before = bench.log.len();
    bad(&mut bench, Readiness);
    for kind in [Liveness, Readiness] {
        bench.bad.insert(("side".to_owned(), kind));
    }
    bench.advance(5_000);
    let after: Vec<_> = bench.log[before..].iter().map(|l| short(&l.1)).collect();
    assert!(after.iter().any(|a| a == "Readiness app"));
    assert!(!after.iter().any(|a| a == "Liveness app"));
    assert_eq!(state(&bench), (true, false));
    // A sidecar's goes on, but ends nothing now (`StopLivenessAndStartup`).
    assert!(after.iter().any(|a| a == "Liveness side"));
    let stops = |what: &str| after.iter().filter(|a| *a == what).count();
    assert_eq!((stops("StopSignal side"), stops("Kill side")), (0, 0));
}

#[test]
fn a_sidecar_that_has_not_started_holds_what_comes_after_it() {
    let mut pod = pod(Always, &["+side", "init"], &["app"]);
    let quick = Probe {
        period_seconds: 1,
        ..probe()
    };
    give(
        &mut pod.spec.init_containers[0],
        &[(Startup, quick.clone()), (Liveness, quick)],
    );
    let mut bench = Bench::new(pod);
    bench.bad.insert(("side".to_owned(), Startup));
    bench.answer();
    bench.advance(1_500);
    assert_eq!(bench.doing("init"), "waiting PodInitializing");
    assert!(!bench.container("side").started);
    assert!(!bench.condition("Initialized").0);
    bench.advance(500);
    assert_eq!(
        bench.told("Killing"),
        ["Init container side failed startup probe"]
    );
    bench.bad.clear();
    bench.exit("side", 1);
    bench.answer();
    assert_eq!(bench.doing("init"), "running");
    // Liveness does not matter for that.
    bench.bad.insert(("side".to_owned(), Liveness));
    bench.exit("init", 0);
    bench.answer();
    assert_eq!(bench.doing("app"), "running");
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
