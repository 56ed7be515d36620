//! The phase (`getPhase`).

use carob_core::decide::Outcome;
use carob_core::pod::RestartPolicy::{Always, Never, OnFailure};
use carob_core::status::Phase;

use crate::kit::{Bench, pod};

fn running(pod: carob_core::pod::Pod) -> Bench {
    let mut bench = Bench::new(pod);
    bench.answer();
    bench
}

#[test]
fn init_failed_and_not_restartable_is_failed() {
    let mut bench = running(pod(Never, &["+side", "init"], &["app"]));
    bench.exit("init", 3);
    assert_eq!(bench.status().phase, Phase::Failed);
    assert_eq!(bench.doing("app"), "waiting PodInitializing");
    // The sidecar does not hold the Pod, and its own end does not count.
    assert_eq!(bench.signals(), ["side StopSignal"]);
    bench.exit("side", 9);
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Failed { exit_code: 3 }));
}

#[test]
fn init_failed_and_restartable_is_pending() {
    for policy in [Always, OnFailure] {
        let mut bench = running(pod(policy, &["init"], &["app"]));
        bench.exit("init", 3);
        assert_eq!(bench.status().phase, Phase::Pending);
    }
}

#[test]
fn a_regular_init_container_not_finished_is_pending() {
    let mut bench = running(pod(Always, &["init"], &["app"]));
    assert_eq!(bench.doing("init"), "running");
    assert_eq!(bench.status().phase, Phase::Pending);
    bench.exit("init", 0);
    assert_eq!(bench.status().phase, Phase::Pending);
    bench.answer();
    assert_eq!(bench.status().phase, Phase::Running);
}

#[test]
fn a_sidecar_that_restarts_after_initialization_leaves_the_pod_running() {
    let mut bench = running(pod(Always, &["+side"], &["app"]));
    assert_eq!(bench.status().phase, Phase::Running);
    bench.exit("side", 1);
    assert_eq!(bench.status().phase, Phase::Running);
    bench.answer();
    bench.exit("side", 1);
    bench.answer();
    assert_eq!(bench.doing("side"), "waiting CrashLoopBackOff");
    assert_eq!(bench.status().phase, Phase::Running);
}

#[test]
fn a_container_waiting_with_no_last_termination_is_pending() {
    let mut bench = Bench::new(pod(Always, &[], &["a", "b"]));
    bench.answer_unless(|a| format!("{a:?}").contains("StartContainer { container: \"b\""));
    assert_eq!(
        (bench.doing("a").as_str(), bench.doing("b").as_str()),
        ("running", "waiting ContainerCreating")
    );
    assert_eq!(bench.status().phase, Phase::Pending);
}

#[test]
fn running_sidecars_count_as_running() {
    let mut bench = running(pod(Never, &["+side"], &["job"]));
    bench.exit("job", 0);
    assert_eq!(bench.doing("side"), "running");
    assert_eq!(bench.status().phase, Phase::Running);
}

#[test]
fn stopped_and_restartable_is_running() {
    for (policy, code) in [(Always, 0), (Always, 1), (OnFailure, 1)] {
        let mut bench = running(pod(policy, &[], &["app"]));
        bench.exit("app", code);
        assert_eq!(bench.status().phase, Phase::Running, "{policy:?} {code}");
    }
}

#[test]
fn all_ended_well_is_succeeded_else_failed() {
    let rows = [
        (Never, [0, 0], Phase::Succeeded, Outcome::Succeeded),
        (OnFailure, [0, 0], Phase::Succeeded, Outcome::Succeeded),
        (
            Never,
            [0, 5],
            Phase::Failed,
            Outcome::Failed { exit_code: 5 },
        ),
        (
            Never,
            [4, 5],
            Phase::Failed,
            Outcome::Failed { exit_code: 4 },
        ),
    ];
    for (policy, [a, b], phase, outcome) in rows {
        let mut bench = running(pod(policy, &[], &["a", "b"]));
        bench.exit("b", b);
        assert_eq!(bench.status().phase, Phase::Running);
        bench.exit("a", a);
        assert_eq!(bench.status().phase, phase);
        bench.answer();
        assert_eq!(bench.done(), Some(outcome));
        assert_eq!(bench.wake_at(), None);
    }
}

#[test]
fn terminated_sidecars_never_count() {
    let mut bench = running(pod(Never, &["+side"], &["job"]));
    bench.exit("job", 0);
    bench.exit("side", 137);
    assert_eq!(bench.status().phase, Phase::Succeeded);
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Succeeded));
}

#[test]
fn a_deadline_overrides_the_phase() {
    let mut pod = pod(Always, &[], &["app"]);
    pod.spec.active_deadline_seconds = Some(60);
    let mut bench = running(pod);
    bench.advance(59_999);
    assert_eq!(bench.status().phase, Phase::Running);
    bench.advance(1);
    assert_eq!(bench.status().phase, Phase::Failed);
    assert_eq!(bench.status().reason.as_deref(), Some("DeadlineExceeded"));
    let message = "Pod was active on the node longer than the specified deadline";
    assert_eq!(bench.status().message.as_deref(), Some(message));
    assert_eq!(bench.doing("app"), "running");
    bench.exit("app", 0);
    bench.answer();
    assert_eq!(bench.status().phase, Phase::Failed);
    // No container failed, the Pod did.
    assert_eq!(bench.done(), Some(Outcome::Failed { exit_code: 1 }));
}

#[test]
fn a_finished_pod_has_no_deadline() {
    let mut pod = pod(Never, &["+side"], &["job"]);
    pod.spec.active_deadline_seconds = Some(60);
    let mut bench = running(pod);
    bench.advance(59_000);
    bench.exit("job", 0);
    bench.advance(10_000);
    bench.exit("side", 0);
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Succeeded));
}

#[test]
fn a_deleted_pod_ends_in_a_terminal_phase() {
    let rows = [
        (Some(0), Phase::Succeeded),
        (Some(143), Phase::Failed),
        (None, Phase::Failed),
    ];
    for (code, phase) in rows {
        let mut bench = Bench::new(pod(Always, &[], &["app"]));
        match code {
            Some(code) => {
                bench.answer();
                bench.delete(None);
                bench.exit("app", code);
            }
            None => bench.delete(None),
        }
        bench.answer();
        assert_eq!(bench.status().phase, phase);
        assert_eq!(bench.done(), Some(Outcome::Deleted));
    }
}
