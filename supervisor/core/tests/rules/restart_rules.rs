//! A container's own policy and rules (`ContainerShouldRestart`, `FindMatchingContainerRestartRule`).

use std::collections::BTreeSet;

use carob_core::decide::Outcome;
use carob_core::pod::RestartPolicy::{Always, Never, OnFailure};
use carob_core::pod::{Container, ExitCodeOperator, RestartAction, RestartPolicy, RestartRule};
use carob_core::status::{ConditionStatus, Phase, PodCondition};

use crate::kit::{Bench, hook, pod};

fn rule(action: RestartAction, operator: ExitCodeOperator, codes: &[i32]) -> RestartRule {
    RestartRule {
        action,
        operator,
        values: codes.iter().copied().collect::<BTreeSet<_>>(),
    }
}

fn own(container: &mut Container, policy: RestartPolicy, rules: Vec<RestartRule>) {
    container.restart_policy = Some(policy);
    container.restart_rules = rules;
}

/// A Pod that runs, whose first container has its own policy and rules.
fn running(
    of_pod: RestartPolicy,
    containers: &[&str],
    policy: RestartPolicy,
    rules: Vec<RestartRule>,
) -> Bench {
    let mut pod = pod(of_pod, &[], containers);
    own(&mut pod.spec.containers[0], policy, rules);
    let mut bench = Bench::new(pod);
    bench.answer();
    bench
}

use ExitCodeOperator::{In, NotIn};
use RestartAction::{Restart, RestartAllContainers};

#[test]
fn the_containers_own_policy_wins() {
    for (of_pod, policy, code, again) in [
        (Always, Never, 1, false),
        (Always, OnFailure, 0, false),
        (Never, Always, 0, true),
        (Never, OnFailure, 1, true),
        (OnFailure, Never, 1, false),
    ] {
        let mut bench = running(of_pod, &["app", "other"], policy, Vec::new());
        bench.exit("app", code);
        bench.answer();
        let doing = if again { "running" } else { "terminated" };
        assert!(bench.doing("app").starts_with(doing), "{policy:?} {code}");
        assert_eq!(bench.status().phase, Phase::Running);
    }
}

#[test]
fn an_init_containers_own_policy_wins() {
    for (of_pod, policy, again) in [(Always, Never, false), (Never, OnFailure, true)] {
        let mut pod = pod(of_pod, &["init"], &["app"]);
        own(&mut pod.spec.init_containers[0], policy, Vec::new());
        let mut bench = Bench::new(pod);
        bench.answer();
        bench.exit("init", 1);
        bench.answer();
        assert_eq!(bench.doing("init") == "running", again);
        assert_eq!(bench.done().is_some(), !again);
    }
}

#[test]
fn the_first_rule_that_matches_wins_over_the_policy() {
    for (rules, code, again) in [
        (vec![rule(Restart, In, &[42])], 42, true),
        (vec![rule(Restart, In, &[42])], 41, false),
        (vec![rule(Restart, NotIn, &[42])], 42, false),
        (vec![rule(Restart, NotIn, &[42])], 0, true),
        (vec![rule(Restart, In, &[])], 0, false),
        (
            vec![
                rule(Restart, In, &[1]),
                rule(RestartAllContainers, In, &[1]),
            ],
            1,
            true,
        ),
    ] {
        let mut bench = running(Always, &["app", "other"], Never, rules);
        bench.exit("app", code);
        bench.answer();
        let doing = if again { "running" } else { "terminated" };
        assert!(bench.doing("app").starts_with(doing), "{code}");
        assert_eq!(bench.container("other").restart_count, 0);
    }
}

#[test]
fn a_rule_keeps_the_crash_back_off() {
    let mut bench = running(Never, &["app"], Never, vec![rule(Restart, In, &[3])]);
    for _ in 0..2 {
        bench.exit("app", 3);
        bench.answer();
    }
    assert_eq!(bench.doing("app"), "waiting CrashLoopBackOff");
    assert_eq!(bench.sleeps(), Some(10_000));
    bench.advance(10_000);
    bench.exit("app", 1);
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Failed { exit_code: 1 }));
}

#[test]
fn restart_all_containers_begins_again_in_the_same_sandbox() {
    let mut pod = pod(Never, &["init", "+side"], &["trigger", "other", "gone"]);
    own(
        &mut pod.spec.containers[0],
        Never,
        vec![rule(RestartAllContainers, In, &[3])],
    );
    pod.spec.containers[1].lifecycle.pre_stop = hook();
    let mut bench = Bench::new(pod);
    bench.answer();
    bench.exit("init", 0);
    bench.answer();
    bench.exit("gone", 1);
    bench.answer();
    assert_eq!(bench.doing("gone"), "terminated Error");
    bench.exit("trigger", 3);
    // No hook, no order, and two seconds to end.
    assert_eq!(bench.signals(), ["side StopSignal", "other StopSignal"]);
    assert_eq!(bench.sleeps(), Some(2_000));
    assert_eq!(bench.status().phase, Phase::Running);
    bench.exit("side", 143);
    bench.advance_unanswered(2_000);
    assert_eq!(bench.signals(), ["other Kill"]);
    bench.exit("other", 137);
    bench.answer();
    for name in ["trigger", "other", "gone", "side"] {
        let container = bench.container(name);
        assert_eq!(bench.doing(name), "waiting RestartingAllContainers");
        assert_eq!(container.restart_count, 1);
        let last = container.last_state.terminated.as_ref().unwrap();
        assert_eq!(
            (last.exit_code, last.reason.as_str()),
            (137, "RestartingAllContainers")
        );
    }
    // Init containers first, and nobody waits for a back-off.
    assert_eq!(bench.sleeps(), Some(1_000));
    bench.advance(1_000);
    assert_eq!(bench.doing("init"), "running");
    assert_eq!(bench.doing("trigger"), "waiting RestartingAllContainers");
    bench.exit("init", 0);
    bench.answer();
    for name in ["side", "trigger", "other", "gone"] {
        assert_eq!(bench.doing(name), "running");
        assert_eq!(bench.container(name).restart_count, 1);
    }
    assert_eq!(bench.times("create sandbox").len(), 1);
}

fn restarting(bench: &Bench) -> Option<&PodCondition> {
    let mut conditions = bench.status().conditions.iter();
    conditions.find(|c| c.kind == "AllContainersRestarting")
}

fn restarting_since(bench: &Bench) -> Option<(ConditionStatus, Option<&str>)> {
    restarting(bench).map(|c| (c.status, c.reason.as_deref()))
}

#[test]
fn all_containers_restarting_holds_until_none_is_left() {
    use ConditionStatus::{False, True};
    let mut bench = running(
        Never,
        &["trigger", "other"],
        Never,
        vec![rule(RestartAllContainers, In, &[3])],
    );
    assert_eq!(restarting_since(&bench), Some((False, None)));
    bench.exit("trigger", 3);
    let started = Some((True, Some("RestartAllContainersStarted")));
    assert_eq!(restarting_since(&bench), started);
    assert_eq!(
        restarting(&bench).and_then(|c| c.message.as_deref()),
        Some("container exited with restart policy rule")
    );
    assert_eq!(bench.status().phase, Phase::Running);
    bench.exit("other", 0);
    assert_eq!(restarting_since(&bench), started);
    bench.answer();
    assert_eq!(restarting_since(&bench), Some((False, None)));
    bench.advance(1_000);
    assert_eq!(restarting_since(&bench), Some((False, None)));
    bench.exit("trigger", 0);
    bench.exit("other", 0);
    bench.answer();
    assert_eq!(
        restarting_since(&bench),
        Some((False, Some("PodCompleted")))
    );
}

#[test]
fn all_containers_restarting_ends_with_a_pod_that_is_deleted_meanwhile() {
    use ConditionStatus::{False, True};
    let mut bench = running(
        Never,
        &["trigger", "other"],
        Never,
        vec![rule(RestartAllContainers, In, &[3])],
    );
    bench.exit("trigger", 3);
    bench.delete(None);
    assert_eq!(
        restarting_since(&bench),
        Some((True, Some("RestartAllContainersStarted")))
    );
    bench.exit("other", 0);
    bench.answer();
    assert_eq!(restarting_since(&bench), Some((False, Some("PodFailed"))));
}

#[test]
fn a_pod_without_such_a_rule_has_no_such_condition() {
    let bench = running(Never, &["app"], Never, vec![rule(Restart, In, &[3])]);
    assert_eq!(restarting(&bench), None);
}

#[test]
fn f22_deleted_while_all_containers_are_restarted() {
    let mut bench = running(
        Always,
        &["trigger", "other"],
        Always,
        vec![rule(RestartAllContainers, NotIn, &[0])],
    );
    bench.exit("trigger", 3);
    bench.delete(Some(60));
    bench.exit("other", 0);
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Deleted));
}
