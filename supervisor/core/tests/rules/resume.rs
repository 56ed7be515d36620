//! A supervisor that is killed, and the one that comes after it.

use carob_core::event::Event;
use carob_core::pod::RestartPolicy::Always;
use carob_core::state::PodState;

use crate::kit::{Bench, pod, short};

/// Kills the supervisor; what it had issued is lost.
fn restart(bench: &mut Bench) {
    let json = serde_json::to_string(&bench.state).expect("a state is JSON");
    bench.state = serde_json::from_str::<PodState>(&json).expect("its JSON is a state");
    bench.state.resume();
    bench.actions.clear();
}

#[test]
fn every_unanswered_action_is_issued_again() {
    for step in ["create sandbox", "image", "create app", "start app"] {
        let mut bench = Bench::new(pod(Always, &[], &["app"]));
        bench.answer_unless(|a| short(a).starts_with(step));
        let before = bench.pending();
        restart(&mut bench);
        bench.step();
        assert_eq!(bench.pending(), before);
        bench.answer();
        assert_eq!(bench.doing("app"), "running");
        assert_eq!(bench.container("app").restart_count, 0);
    }
}

#[test]
fn f1_what_runs_goes_on() {
    let mut bench = Bench::new(pod(Always, &["+side"], &["app"]));
    bench.answer();
    let before = bench.status().clone();
    restart(&mut bench);
    bench.step();
    assert_eq!(bench.pending(), [""; 0]);
    assert_eq!(bench.status(), &before);
}

#[test]
fn a_crash_back_off_goes_on() {
    let mut bench = Bench::new(pod(Always, &[], &["app"]));
    bench.answer();
    for _ in 0..2 {
        bench.exit("app", 1);
        bench.answer();
    }
    bench.advance(4_000);
    restart(&mut bench);
    bench.step();
    assert_eq!(bench.doing("app"), "waiting CrashLoopBackOff");
    assert_eq!(bench.sleeps(), Some(6_000));
}

#[test]
fn a_stop_goes_on_with_its_grace_and_its_signal_is_sent_again() {
    let mut bench = Bench::new(pod(Always, &[], &["app"]));
    bench.answer();
    bench.delete(Some(20));
    bench.signals();
    bench.advance(5_000);
    restart(&mut bench);
    bench.event(Event::ContainerStarted {
        container: "app".to_owned(),
        attempt: 0,
        pid: 1,
        at: bench.now.wall,
    });
    assert_eq!(bench.signals(), ["app StopSignal"]);
    assert_eq!(bench.sleeps(), Some(15_000));
    assert_eq!(bench.told("Killing").len(), 1);
    // After the end of the grace there are two seconds left.
    bench.turn_to(bench.now.mono.plus_ms(60_000));
    restart(&mut bench);
    bench.step();
    assert_eq!(bench.signals(), ["app StopSignal"]);
    assert_eq!(bench.sleeps(), Some(2_000));
}

#[test]
fn news_of_what_is_gone_changes_nothing() {
    let mut bench = Bench::new(pod(Always, &[], &["app"]));
    bench.answer();
    bench.exit("app", 1);
    bench.answer();
    assert_eq!(bench.container("app").restart_count, 1);
    let (before, now) = (bench.state.clone(), bench.now.wall);
    let (container, attempt) = ("app".to_owned(), 0);
    for event in [
        Event::ContainerExited {
            container: container.clone(),
            attempt,
            exit_code: 9,
            signal: None,
            at: now,
            message: None,
        },
        Event::ContainerStarted {
            container: container.clone(),
            attempt,
            pid: 9,
            at: now,
        },
        Event::ContainerRemoved {
            container: container.clone(),
            attempt,
        },
        Event::ContainerRemoved {
            container: container.clone(),
            attempt: 1,
        },
        Event::ContainerOom {
            container,
            attempt: 7,
        },
        Event::SandboxExited { attempt: 7 },
        Event::SandboxRemoved {
            attempt: 7,
            last: true,
        },
        Event::ImageReady {
            container: "app".to_owned(),
            image_id: "sha256:9".to_owned(),
            image: "image:9".to_owned(),
            pulled: None,
        },
        Event::PullStarted {
            container: "no such".to_owned(),
        },
    ] {
        bench.event(event.clone());
        assert_eq!(bench.state, before, "{event:?}");
    }
}
