//! The restart decision (`ContainerShouldRestart`).

use carob_core::pod::RestartPolicy::{Always, Never, OnFailure};

use crate::kit::{Bench, pod};

#[test]
fn containers_follow_the_policy_of_the_pod() {
    for (policy, code, restarts) in [
        (Always, 0, true),
        (Always, 1, true),
        (OnFailure, 0, false),
        (OnFailure, 1, true),
        (Never, 0, false),
        (Never, 1, false),
    ] {
        // The other one keeps the Pod up.
        let mut bench = Bench::new(pod(policy, &[], &["app", "other"]));
        bench.answer();
        bench.exit("app", code);
        bench.answer();
        let expected = if restarts { "running" } else { "terminated" };
        assert!(
            bench.doing("app").starts_with(expected),
            "{policy:?} {code}"
        );
        assert_eq!(bench.container("app").restart_count, u32::from(restarts));
    }
}

#[test]
fn init_containers_are_restarted_after_a_failure_only() {
    for (policy, code, restarts) in [
        (Always, 0, false),
        (Always, 1, true),
        (OnFailure, 0, false),
        (OnFailure, 1, true),
        (Never, 0, false),
        (Never, 1, false),
    ] {
        let mut bench = Bench::new(pod(policy, &["init"], &["app"]));
        bench.answer();
        bench.exit("init", code);
        bench.answer();
        assert_eq!(
            bench.doing("init") == "running",
            restarts,
            "{policy:?} {code}"
        );
        assert_eq!(bench.doing("app") == "running", code == 0);
    }
}

#[test]
fn sidecars_are_restarted_whatever_the_policy_and_code() {
    for policy in [Always, OnFailure, Never] {
        for code in [0, 1] {
            let mut bench = Bench::new(pod(policy, &["+side"], &["app"]));
            bench.answer();
            bench.exit("side", code);
            bench.answer();
            assert_eq!(bench.doing("side"), "running", "{policy:?} {code}");
            assert_eq!(bench.container("side").restart_count, 1);
        }
    }
}

#[test]
fn the_count_rises_with_the_start_and_the_last_state_is_kept() {
    let mut bench = Bench::new(pod(Always, &[], &["app"]));
    bench.answer();
    bench.exit("app", 5);
    let app = bench.container("app");
    assert_eq!((app.restart_count, &app.last_state.terminated), (0, &None));
    bench.answer();
    let app = bench.container("app");
    let last = app.last_state.terminated.as_ref().unwrap();
    assert_eq!((app.restart_count, last.exit_code), (1, 5));
    bench.exit("app", 6);
    let app = bench.container("app");
    let codes = [&app.state, &app.last_state].map(|s| s.terminated.as_ref().unwrap().exit_code);
    assert_eq!((app.restart_count, codes), (1, [6, 5]));
}
