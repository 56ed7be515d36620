//! What a probe that fails does to its container, and what its end does to the probes.

use carob_core::action::ProbeKind::{Liveness, Readiness, Startup};
use carob_core::event::ProbeResult;
use carob_core::pod::Probe;
use carob_core::pod::RestartPolicy::{Always, Never, OnFailure};

use crate::kit::{Bench, pod, probe, short};
use crate::probes::{asked, bad, give, probed, state, up};

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
