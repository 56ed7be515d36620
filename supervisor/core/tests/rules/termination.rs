//! Graceful termination (`killContainer`, kuberuntime_termination_order.go).

use carob_core::decide::Outcome;
use carob_core::event::{Event, ImageFailure};
use carob_core::pod::Pod;
use carob_core::pod::RestartPolicy::{Always, Never};

use crate::kit::{Bench, pod, short};

fn up(pod: Pod) -> Bench {
    let mut bench = Bench::new(pod);
    bench.answer();
    bench
}

/// The signals that are sent while the clock turns.
fn signals_in(bench: &mut Bench, ms: u64) -> Vec<String> {
    let before = bench.log.len();
    bench.advance(ms);
    bench.actions.clear();
    let new = bench.log[before..].iter().map(|l| short(&l.1));
    new.collect()
}

#[test]
fn f21_all_containers_get_the_stop_signal_at_once_and_sigkill_at_the_end() {
    let mut bench = up(pod(Always, &[], &["a", "b"]));
    bench.delete(None);
    assert_eq!(bench.signals(), ["a StopSignal", "b StopSignal"]);
    assert_eq!(
        bench.told("Killing"),
        ["Stopping container a", "Stopping container b"]
    );
    bench.exit("a", 143);
    bench.answer();
    assert_eq!(signals_in(&mut bench, 29_999), [""; 0]);
    assert_eq!(signals_in(&mut bench, 1), ["Kill b"]);
    assert_eq!(bench.wake_at(), None);
    bench.exit("b", 137);
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Deleted));
}

#[test]
fn a_shorter_grace_wins_and_a_longer_one_does_not() {
    let mut bench = up(pod(Always, &[], &["app"]));
    bench.delete(Some(20));
    bench.signals();
    bench.advance(10_000);
    bench.delete(Some(30));
    assert_eq!(bench.sleeps(), Some(10_000));
    bench.delete(Some(3));
    assert_eq!(bench.sleeps(), Some(3_000));
    bench.delete(Some(0));
    assert_eq!(bench.signals(), ["app Kill"]);
    assert_eq!(bench.told("Killing").len(), 1);
}

#[test]
fn the_least_grace_is_two_seconds_after_the_stop_signal() {
    for grace in [0, 1] {
        let mut pod = pod(Always, &[], &["app"]);
        pod.spec.termination_grace_period_seconds = grace;
        let mut bench = up(pod);
        bench.delete(None);
        assert_eq!(bench.signals(), ["app StopSignal"]);
        assert_eq!(bench.sleeps(), Some(2_000));
    }
    let mut bench = up(pod(Always, &[], &["app"]));
    bench.delete(Some(1));
    assert_eq!(bench.signals(), ["app StopSignal"]);
    assert_eq!(signals_in(&mut bench, 1_999), [""; 0]);
    assert_eq!(signals_in(&mut bench, 1), ["Kill app"]);
}

#[test]
fn force_kills_everything_at_once() {
    let mut bench = up(pod(Always, &["+side"], &["app"]));
    bench.delete(Some(0));
    assert_eq!(bench.signals(), ["side Kill", "app Kill"]);
}

#[test]
fn b9_an_endless_grace_overflows_nothing() {
    let mut bench = up(pod(Always, &[], &["app"]));
    bench.delete(Some(u64::MAX));
    assert_eq!(bench.signals(), ["app StopSignal"]);
    bench.delete(Some(1_000_000_000));
    assert_eq!(bench.sleeps(), Some(1_000_000_000_000));
}

#[test]
fn sidecars_wait_for_the_containers_and_for_later_sidecars() {
    let mut bench = up(pod(Always, &["+first", "+second"], &["a", "b"]));
    bench.delete(None);
    assert_eq!(bench.signals(), ["a StopSignal", "b StopSignal"]);
    // Their end is announced now, as a kubelet does.
    assert_eq!(bench.told("Killing").len(), 4);
    bench.exit("a", 0);
    assert_eq!(bench.signals(), [""; 0]);
    bench.exit("b", 0);
    assert_eq!(bench.signals(), ["second StopSignal"]);
    bench.exit("second", 0);
    assert_eq!(bench.signals(), ["first StopSignal"]);
    bench.exit("first", 0);
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Deleted));
}

#[test]
fn sidecars_get_their_two_seconds_when_the_grace_is_used_up() {
    let mut bench = up(pod(Always, &["+side"], &["app"]));
    bench.delete(Some(10));
    bench.signals();
    let sent = signals_in(&mut bench, 10_000);
    assert_eq!(sent, ["StopSignal side", "Kill app"]);
    assert_eq!(signals_in(&mut bench, 1_999), [""; 0]);
    assert_eq!(signals_in(&mut bench, 1), ["Kill side"]);
}

#[test]
fn an_init_container_gets_its_grace_too() {
    let mut bench = up(pod(Never, &["+side", "init"], &["app"]));
    bench.delete(Some(5));
    // A sidecar waits for containers and sidecars only.
    assert_eq!(bench.signals(), ["side StopSignal", "init StopSignal"]);
    bench.exit("init", 0);
    bench.exit("side", 0);
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Deleted));
    assert!(!bench.log.iter().any(|l| short(&l.1) == "create app 0"));
}

#[test]
fn nothing_is_restarted_while_terminating() {
    let mut bench = up(pod(Always, &["+side"], &["app"]));
    bench.delete(None);
    bench.signals();
    bench.exit("side", 1);
    bench.answer();
    assert_eq!(bench.doing("side"), "terminated Error");
    bench.exit("app", 0);
    bench.answer();
    assert!(bench.done().is_some());
}

#[test]
fn f22_deleted_during_each_step_of_the_way_up() {
    for step in ["create sandbox", "image", "create app", "start app"] {
        let mut bench = Bench::new(pod(Always, &[], &["app"]));
        bench.answer_unless(|a| short(a).starts_with(step));
        bench.delete(Some(5));
        if step == "image" {
            // It leaves nothing behind: nobody waits for it.
            bench.actions.retain(|a| !short(a).starts_with("image"));
        } else {
            // What is under way can't be undone before it has ended.
            assert_eq!(bench.pending().len(), 1, "{step}");
            bench.advance(60_000);
        }
        bench.answer();
        if step == "start app" {
            // Late as it is, it still gets its two seconds.
            assert!(bench.log.iter().any(|l| short(&l.1) == "StopSignal app"));
            assert_eq!(bench.sleeps(), Some(2_000));
            bench.exit("app", 143);
        }
        bench.answer();
        assert_eq!(bench.done(), Some(Outcome::Deleted), "{step}");
    }
}

#[test]
fn f22_deleted_in_a_back_off() {
    let mut bench = up(pod(Always, &[], &["app"]));
    for _ in 0..2 {
        bench.exit("app", 1);
        bench.answer();
    }
    assert_eq!(bench.doing("app"), "waiting CrashLoopBackOff");
    bench.delete(None);
    assert_eq!(bench.doing("app"), "terminated Error");
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Deleted));

    let mut bench = Bench::new(pod(Always, &[], &["app"]));
    bench.answer_unless(|a| short(a).starts_with("image"));
    bench.actions.clear();
    bench.fail_image("app", ImageFailure::ErrImagePull);
    bench.delete(None);
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Deleted));

    let mut bench = Bench::new(pod(Always, &[], &["app"]));
    bench.actions.clear();
    bench.event(Event::SandboxFailed {
        attempt: 0,
        message: "boom".to_owned(),
    });
    bench.answer();
    bench.delete(None);
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Deleted));
}

#[test]
fn a_signal_that_fails_is_sent_again() {
    let mut bench = up(pod(Always, &[], &["app"]));
    let failed = || Event::SignalFailed {
        container: "app".to_owned(),
        attempt: 0,
        message: "boom".to_owned(),
    };
    bench.delete(Some(10));
    bench.signals();
    bench.event(failed());
    assert_eq!(signals_in(&mut bench, 1_000), ["StopSignal app"]);
    assert_eq!(signals_in(&mut bench, 9_000), ["Kill app"]);
    bench.event(failed());
    assert_eq!(signals_in(&mut bench, 2_000), ["Kill app"]);
    assert_eq!(bench.wake_at(), None);
}

#[test]
fn deleting_a_pod_that_is_about_to_succeed_shortens_its_end_only() {
    let mut bench = up(pod(Never, &["+side"], &["job"]));
    bench.exit("job", 0);
    assert_eq!(bench.signals(), ["side StopSignal"]);
    bench.delete(Some(5));
    assert_eq!(bench.sleeps(), Some(5_000));
    bench.exit("side", 0);
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Succeeded));
}
