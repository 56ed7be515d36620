//! Back-offs: crashes, images, sandboxes.

use carob_core::action::Action;
use carob_core::event::{Event, ImageFailure};
use carob_core::pod::RestartPolicy::{Always, OnFailure};
use carob_core::pod::{Container, Pod};
use jiff::SignedDuration;

use crate::kit::{Bench, container, pod};

/// Seconds from each exit to the next start, when the container ends a second after each start.
fn delays(pod: Pod, name: &str, code: i32, count: usize) -> Vec<u64> {
    let mut bench = Bench::new(pod);
    bench.answer();
    let mut delays = Vec::new();
    for _ in 0..count {
        bench.advance(1_000);
        bench.exit(name, code);
        let exit = bench.now.mono;
        bench.answer();
        while bench.doing(name) != "running" {
            let at = bench.wake_at().expect("a time to wake");
            bench.turn_to(at);
            bench.step();
            bench.answer();
        }
        delays.push(bench.now.mono.since(exit) / 1000);
    }
    delays
}

#[test]
fn restarts_double_from_ten_seconds_to_five_minutes() {
    let expected = [0, 10, 20, 40, 80, 160, 300, 300];
    assert_eq!(delays(pod(Always, &[], &["app"]), "app", 1, 8), expected);
    // Also after exit 0, of init containers, and of sidecars.
    assert_eq!(
        delays(pod(Always, &[], &["app"]), "app", 0, 4),
        expected[..4]
    );
    assert_eq!(
        delays(pod(OnFailure, &["init"], &["app"]), "init", 1, 4),
        expected[..4]
    );
    assert_eq!(
        delays(pod(OnFailure, &["+side"], &["app"]), "side", 0, 4),
        expected[..4]
    );
}

#[test]
fn a_run_of_more_than_ten_minutes_resets_them() {
    for (ran, delay) in [(600_000, 40_000), (600_001, 0)] {
        let mut bench = Bench::new(pod(Always, &[], &["app"]));
        bench.answer();
        for _ in 0..3 {
            bench.exit("app", 1);
            bench.answer();
            let wait = bench.sleeps().unwrap_or(0);
            bench.advance(wait);
        }
        assert_eq!(bench.doing("app"), "running");
        bench.advance(ran);
        bench.exit("app", 1);
        bench.answer();
        assert_eq!(bench.sleeps().unwrap_or(0), delay, "{ran}");
    }
}

#[test]
fn crash_loop_back_off_says_how_long_and_of_what() {
    let mut bench = Bench::new(pod(Always, &[], &["app"]));
    bench.answer();
    for wait in [0, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000] {
        bench.exit("app", 1);
        assert_eq!(bench.doing("app"), "terminated Error");
        bench.answer();
        assert_eq!(bench.sleeps().unwrap_or(0), wait);
        bench.advance(wait);
    }
    bench.exit("app", 1);
    bench.answer();
    let waiting = bench.container("app").state.waiting.clone().unwrap();
    assert_eq!(waiting.reason, "CrashLoopBackOff");
    let text = "back-off 5m0s restarting failed container=app pod=pod_default(uid)";
    assert_eq!(waiting.message.as_deref(), Some(text));
    let text = "Back-off restarting failed container app in pod pod_default(uid)";
    assert_eq!(bench.told("BackOff").last(), Some(&text));
}

#[test]
fn f15_the_wall_clock_moves_no_timer() {
    for hours in [1, -1] {
        let mut bench = Bench::new(pod(Always, &[], &["app"]));
        bench.answer();
        for _ in 0..2 {
            bench.exit("app", 1);
            bench.answer();
        }
        assert_eq!(bench.sleeps(), Some(10_000));
        bench.now.wall += SignedDuration::from_hours(hours);
        bench.step();
        assert_eq!(bench.sleeps(), Some(10_000));
        bench.delete(Some(5));
        bench.now.wall += SignedDuration::from_hours(hours);
        bench.answer();
        assert!(bench.done().is_some());
    }
}

/// Seconds between tries, each answered with a failure.
fn image_tries(bench: &mut Bench, name: &str, count: usize) -> Vec<u64> {
    let mut waits = Vec::new();
    for _ in 0..count {
        bench.answer_unless(|a| format!("{a:?}").starts_with("EnsureImage"));
        bench.actions.clear();
        bench.fail_image(name, ImageFailure::ErrImagePull);
        let wait = bench.sleeps().expect("a back-off");
        waits.push(wait / 1000);
        let at = bench.now.mono.plus_ms(wait);
        bench.turn_to(at);
        bench.step();
    }
    waits
}

#[test]
fn pulls_double_from_ten_seconds_to_five_minutes() {
    let mut bench = Bench::new(pod(Always, &[], &["app"]));
    let expected = [10, 20, 40, 80, 160, 300, 300];
    assert_eq!(image_tries(&mut bench, "app", 7), expected);
    assert_eq!(bench.doing("app"), "waiting ImagePullBackOff");
    bench.answer();
    assert_eq!(bench.doing("app"), "running");
}

#[test]
fn a_pull_back_off_belongs_to_the_image() {
    let mut pod = pod(Always, &[], &["a", "b"]);
    pod.spec.containers.push(Container {
        image: "other:1".to_owned(),
        ..container("c")
    });
    let mut bench = Bench::new(pod);
    assert_eq!(
        bench.pending(),
        ["create sandbox 0", "image a", "image b", "image c"]
    );
    bench.answer_unless(|a| format!("{a:?}").starts_with("EnsureImage"));
    bench.actions.clear();
    bench.fail_image("a", ImageFailure::ErrImagePull);
    bench.fail_image("b", ImageFailure::ErrImagePull);
    bench.fail_image("c", ImageFailure::ErrImagePull);
    // Two failures of the same image, one of the other.
    bench.advance(10_000);
    let again: Vec<_> = bench
        .log
        .iter()
        .rev()
        .take_while(|l| l.0 == bench.now.mono)
        .collect();
    assert!(
        again.iter().all(|l| format!("{:?}", l.1).contains("\"c\"")),
        "{again:?}"
    );
    assert_eq!(bench.doing("c"), "running");
    assert_eq!(bench.doing("a"), "waiting ImagePullBackOff");
}

#[test]
fn sandboxes_are_tried_again_after_one_to_ten_seconds() {
    let mut bench = Bench::new(pod(Always, &[], &["app"]));
    let mut waits = Vec::new();
    for attempt in 0..6 {
        bench.actions.clear();
        bench.event(Event::SandboxFailed {
            attempt,
            message: "no address left".to_owned(),
        });
        // What there is of it goes first.
        assert_eq!(bench.pending(), [format!("remove sandbox {attempt}")]);
        bench.answer();
        let wait = bench.sleeps().expect("a back-off");
        waits.push(wait / 1000);
        let at = bench.now.mono.plus_ms(wait);
        bench.turn_to(at);
        bench.step();
        let next = attempt + 1;
        assert!(bench.pending().contains(&format!("create sandbox {next}")));
    }
    assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
    assert_eq!(
        bench.told("FailedCreatePodSandBox")[0],
        "Failed to create pod sandbox: no address left"
    );
}

#[test]
fn a_sandbox_that_ends_at_once_each_time_keeps_nobody_busy() {
    let mut bench = Bench::new(pod(Always, &[], &["app"]));
    for attempt in 0..6 {
        bench.answer();
        bench.event(Event::SandboxExited { attempt });
        if bench.doing("app") == "running" {
            bench.exit("app", 137);
        }
        bench.answer();
        while bench.state.memory.next_sandbox == attempt + 1 {
            let at = bench.wake_at().expect("another try");
            bench.turn_to(at);
            bench.step();
        }
    }
    let made = |a: &Action| matches!(a, Action::CreateSandbox { .. });
    let made: Vec<_> = bench
        .log
        .iter()
        .filter(|l| made(&l.1))
        .map(|l| l.0)
        .collect();
    let gaps: Vec<_> = made.windows(2).map(|w| w[1].since(w[0]) / 1000).collect();
    assert_eq!(gaps, [1, 2, 4, 8, 10, 10]);
}
