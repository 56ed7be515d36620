//! postStart and preStop (`lifecycle/handlers.go`, `killContainer`).

use carob_core::decide::Outcome;
use carob_core::event::{Event, ProbeResult};
use carob_core::pod::RestartPolicy::{Always, Never};
use carob_core::pod::{Pod, Probe};
use carob_core::state::PodState;
use carob_core::status::Phase;

use crate::kit::{Bench, hook, pod, probe, short};

fn with_post_start(mut pod: Pod) -> Pod {
    pod.spec.containers[0].lifecycle.post_start = hook();
    pod
}

fn with_pre_stop(mut pod: Pod) -> Pod {
    pod.spec.containers[0].lifecycle.pre_stop = hook();
    pod
}

/// Everything is answered but hooks.
fn answer(bench: &mut Bench) {
    bench.answer_unless(|a| short(a).starts_with("postStart") || short(a).starts_with("preStop"));
}

fn up(pod: Pod) -> Bench {
    let mut bench = Bench::new(pod);
    answer(&mut bench);
    bench
}

fn attempt(bench: &Bench) -> u32 {
    let record = &bench.state.observed.containers["app"];
    record.instance.as_ref().expect("an instance").attempt
}

fn post_start(bench: &mut Bench, failure: Option<&str>) {
    bench.actions.retain(|a| !short(a).starts_with("postStart"));
    bench.event(Event::PostStartDone {
        container: "app".to_owned(),
        attempt: attempt(bench),
        failure: failure.map(str::to_owned),
    });
}

fn pre_stop(bench: &mut Bench, failure: Option<&str>) {
    bench.actions.retain(|a| !short(a).starts_with("preStop"));
    bench.event(Event::PreStopDone {
        container: "app".to_owned(),
        attempt: attempt(bench),
        failure: failure.map(str::to_owned),
    });
}

fn within(bench: &Bench) -> Vec<u64> {
    let time = |a: &carob_core::action::Action| match a {
        carob_core::action::Action::PreStop { within_ms, .. } => Some(*within_ms),
        _ => None,
    };
    bench.actions.iter().filter_map(time).collect()
}

#[test]
fn the_next_container_waits_for_the_post_start_hook() {
    let mut bench = up(with_post_start(pod(Always, &[], &["app", "next"])));
    assert_eq!(bench.pending(), ["postStart app"]);
    assert!(!bench.log.iter().any(|l| short(&l.1) == "start next 0"));
    // Until then it is not shown to run.
    assert_eq!(bench.doing("app"), "waiting ContainerCreating");
    assert_eq!(bench.status().phase, Phase::Pending);
    bench.advance(3_600_000);
    assert_eq!(bench.doing("app"), "waiting ContainerCreating");
    post_start(&mut bench, None);
    assert_eq!(bench.doing("app"), "running");
    answer(&mut bench);
    assert_eq!(bench.doing("next"), "running");
    assert_eq!(bench.status().phase, Phase::Running);
}

#[test]
fn an_init_container_waits_for_the_hook_of_a_sidecar() {
    let mut pod = pod(Always, &["+side", "init"], &["app"]);
    pod.spec.init_containers[0].lifecycle.post_start = hook();
    let mut bench = up(pod);
    assert_eq!(bench.doing("init"), "waiting PodInitializing");
    assert!(!bench.condition("Initialized").0);
    bench.answer();
    assert_eq!(bench.doing("init"), "running");
}

#[test]
fn a_container_is_not_probed_before_its_hook_is_done() {
    let mut pod = with_post_start(pod(Always, &[], &["app"]));
    let late = Probe {
        initial_delay_seconds: 2,
        ..probe()
    };
    pod.spec.containers[0].readiness_probe = Some(late);
    let mut bench = up(pod);
    bench.advance(5_000);
    assert_eq!(bench.times("Readiness"), [0u64; 0]);
    post_start(&mut bench, None);
    bench.answer();
    // Its delay counts from the start all the same.
    assert_eq!(bench.times("Readiness"), [5_000]);
}

#[test]
fn a_hook_that_fails_ends_the_container() {
    let mut bench = up(with_post_start(pod(Always, &[], &["app", "next"])));
    post_start(&mut bench, Some("exited with 7"));
    assert_eq!(bench.told("FailedPostStartHook"), ["PostStartHook failed"]);
    assert_eq!(bench.told("Killing"), ["FailedPostStartHook"]);
    assert_eq!(bench.signals(), ["app StopSignal"]);
    assert_eq!(bench.sleeps(), Some(30_000));
    // The next one waits for its end.
    assert!(!bench.log.iter().any(|l| short(&l.1) == "start next 0"));
    assert_eq!(bench.doing("app"), "waiting ContainerCreating");
    bench.exit("app", 0);
    let shown = bench.statuses.iter().rev().take(3);
    let waiting: Vec<_> = shown
        .filter_map(|s| s.container_statuses[0].state.waiting.clone())
        .collect();
    assert_eq!(waiting[0].reason, "PostStartHookError");
    assert_eq!(waiting[0].message.as_deref(), Some("exited with 7"));
    answer(&mut bench);
    assert_eq!(bench.doing("next"), "running");
    // At once, and then with a back-off.
    assert_eq!(bench.pending(), ["postStart app"]);
    assert_eq!(bench.doing("app"), "waiting PostStartHookError");
    assert_eq!(bench.container("app").restart_count, 0);
    post_start(&mut bench, Some("exited with 7"));
    bench.signals();
    bench.exit("app", 0);
    answer(&mut bench);
    assert_eq!(bench.container("app").restart_count, 1);
    assert_eq!(bench.doing("app"), "waiting CrashLoopBackOff");
}

#[test]
fn with_never_a_failed_hook_is_the_end() {
    let mut bench = up(with_post_start(pod(Never, &[], &["app"])));
    post_start(&mut bench, Some("boom"));
    bench.exit("app", 143);
    bench.answer();
    assert_eq!(bench.doing("app"), "terminated Error");
    assert_eq!(bench.done(), Some(Outcome::Failed { exit_code: 143 }));
}

#[test]
fn a_container_that_ends_during_its_hook_has_just_ended() {
    let mut bench = up(with_post_start(pod(Always, &[], &["app"])));
    bench.actions.clear();
    bench.exit("app", 3);
    assert_eq!(bench.told("FailedPostStartHook"), [""; 0]);
    bench.event(Event::PostStartDone {
        container: "app".to_owned(),
        attempt: 0,
        failure: Some("gone".to_owned()),
    });
    assert_eq!(bench.told("FailedPostStartHook"), [""; 0]);
    answer(&mut bench);
    assert_eq!(bench.pending(), ["postStart app"]);
}

#[test]
fn the_stop_signal_waits_for_the_pre_stop_hook() {
    let mut bench = up(with_pre_stop(pod(Always, &[], &["app", "other"])));
    bench.delete(Some(10));
    assert_eq!(within(&bench), [10_000]);
    assert_eq!(bench.signals(), ["other StopSignal"]);
    bench.advance(4_000);
    pre_stop(&mut bench, None);
    assert_eq!(bench.signals(), ["app StopSignal"]);
    // The grace period counts from the start of the hook.
    assert_eq!(bench.sleeps(), Some(6_000));
    assert_eq!(bench.told("FailedPreStopHook"), [""; 0]);
    assert_eq!(bench.told("Killing")[0], "Stopping container app");
}

#[test]
fn a_hook_that_hangs_takes_the_grace_and_two_seconds_remain() {
    let mut bench = up(with_pre_stop(pod(Always, &[], &["app"])));
    bench.delete(Some(10));
    bench.advance_unanswered(9_999);
    assert_eq!(bench.signal_count(), 0);
    bench.advance_unanswered(1);
    assert_eq!(bench.signals(), ["app StopSignal"]);
    bench.advance_unanswered(1_999);
    assert_eq!(bench.signals(), [""; 0]);
    bench.advance_unanswered(1);
    assert_eq!(bench.signals(), ["app Kill"]);
    // Nobody waits for the hook.
    bench.actions.clear();
    bench.exit("app", 137);
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Deleted));
}

#[test]
fn a_hook_that_fails_is_told_and_the_stop_goes_on() {
    let mut bench = up(with_pre_stop(pod(Always, &[], &["app"])));
    bench.delete(None);
    pre_stop(&mut bench, Some("boom"));
    assert_eq!(bench.told("FailedPreStopHook"), ["PreStopHook failed"]);
    assert_eq!(bench.signals(), ["app StopSignal"]);
}

#[test]
fn a_shorter_grace_ends_the_hook_early_and_force_at_once() {
    let mut bench = up(with_pre_stop(pod(Always, &[], &["app"])));
    bench.delete(Some(60));
    bench.delete(Some(5));
    bench.advance_unanswered(5_000);
    assert_eq!(bench.signals(), ["app StopSignal"]);
    let mut bench = up(with_pre_stop(pod(Always, &[], &["app"])));
    bench.delete(Some(60));
    bench.delete(Some(0));
    assert_eq!(bench.signals(), ["app Kill"]);
    let mut bench = up(with_pre_stop(pod(Always, &[], &["app"])));
    bench.delete(Some(0));
    assert_eq!(bench.signals(), ["app Kill"]);
    assert_eq!(within(&bench), [0u64; 0]);
}

#[test]
fn a_sidecars_hook_begins_at_once_and_only_its_signal_waits() {
    let mut pod = pod(Always, &["+side"], &["app"]);
    pod.spec.init_containers[0].lifecycle.pre_stop = hook();
    let mut bench = up(pod);
    bench.delete(None);
    assert_eq!(bench.signals(), ["app StopSignal"]);
    assert_eq!(bench.pending(), ["preStop side"]);
    bench.answer();
    assert_eq!(bench.signals(), [""; 0]);
    bench.exit("app", 0);
    assert!(bench.log.iter().any(|l| short(&l.1) == "StopSignal side"));
}

#[test]
fn a_container_that_a_probe_ends_has_its_pre_stop_hook() {
    let mut pod = with_pre_stop(pod(Always, &[], &["app"]));
    pod.spec.containers[0].liveness_probe = Some(Probe {
        failure_threshold: 1,
        termination_grace_period_seconds: Some(7),
        ..probe()
    });
    let mut bench = Bench::new(pod.clone());
    bench.answer_unless(|a| short(a).starts_with("Live"));
    let liveness = carob_core::action::ProbeKind::Liveness;
    bench.probed("app", liveness, ProbeResult::Failure);
    assert_eq!(within(&bench), [7_000]);
    bench.advance_unanswered(3_000);
    pre_stop(&mut bench, None);
    assert_eq!(bench.signals(), ["app StopSignal"]);
    assert_eq!(bench.sleeps(), Some(4_000));
    // Unless there is no time for one.
    pod.spec.termination_grace_period_seconds = 0;
    if let Some(probe) = &mut pod.spec.containers[0].liveness_probe {
        probe.termination_grace_period_seconds = None;
    }
    let mut bench = Bench::new(pod);
    bench.answer_unless(|a| short(a).starts_with("Live"));
    bench.probed("app", liveness, ProbeResult::Failure);
    assert_eq!(within(&bench), [0u64; 0]);
    assert_eq!(bench.signals(), ["app StopSignal"]);
}

#[test]
fn f22_deleted_during_a_post_start_hook() {
    let mut bench = up(with_pre_stop(with_post_start(pod(Always, &[], &["app"]))));
    bench.delete(None);
    assert!(bench.pending().contains(&"preStop app".to_owned()));
    // Running, but never started.
    let app = bench.container("app");
    assert_eq!(
        (bench.doing("app"), app.started, app.ready),
        ("running".into(), false, false)
    );
    pre_stop(&mut bench, None);
    assert_eq!(bench.signals(), ["app StopSignal"]);
    bench.actions.clear();
    bench.exit("app", 143);
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Deleted));
}

#[test]
fn hooks_that_nobody_answered_are_done_again_by_the_next_supervisor() {
    let restart = |bench: &mut Bench| {
        let json = serde_json::to_string(&bench.state).unwrap();
        bench.state = serde_json::from_str::<PodState>(&json).unwrap();
        bench.state.resume();
        bench.actions.clear();
        bench.step();
    };
    let mut bench = up(with_pre_stop(with_post_start(pod(Always, &[], &["app"]))));
    restart(&mut bench);
    assert_eq!(bench.pending(), ["postStart app"]);
    post_start(&mut bench, None);
    restart(&mut bench);
    assert_eq!(bench.pending(), [""; 0]);
    bench.delete(Some(10));
    bench.advance_unanswered(4_000);
    restart(&mut bench);
    assert_eq!(within(&bench), [6_000]);
    pre_stop(&mut bench, None);
    restart(&mut bench);
    assert_eq!(bench.pending(), ["StopSignal app"]);
}

#[test]
fn an_https_hook_that_fell_back_is_told() {
    let mut bench = up(with_post_start(pod(Always, &[], &["app"])));
    bench.event(Event::HookFellBack {
        container: "app".to_owned(),
        attempt: 0,
        host: "10.0.0.2:8443".to_owned(),
    });
    assert_eq!(
        bench.told("LifecycleHTTPFallback"),
        [
            "request to HTTPS lifecycle hook 10.0.0.2:8443 got HTTP response, retry with HTTP succeeded"
        ]
    );
}
