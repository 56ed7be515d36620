//! A Pod that the machine can't keep (`evictPod`, eviction_manager.go; `rejectPod`, kubelet.go).

use carob_core::decide::Outcome;
use carob_core::event::Event;
use carob_core::pod::RestartPolicy::{Always, Never};
use carob_core::status::Phase;

use crate::kit::{Bench, pod, short};

const MESSAGE: &str = "The node was low on resource: memory. ";

fn evict(grace_seconds: u64) -> Event {
    Event::Evict {
        message: MESSAGE.to_owned(),
        grace_seconds,
        disruption: true,
        rejected: false,
    }
}

fn up() -> Bench {
    let mut bench = Bench::new(pod(Always, &[], &["app"]));
    bench.answer();
    bench
}

#[test]
fn an_evicted_pod_fails_and_ends_with_the_grace_that_it_was_given() {
    let mut bench = up();
    bench.event(evict(5));
    let status = bench.status();
    assert_eq!(status.phase, Phase::Failed);
    assert_eq!(status.reason.as_deref(), Some("Evicted"));
    assert_eq!(status.message.as_deref(), Some(MESSAGE));
    assert_eq!(
        bench.condition("DisruptionTarget"),
        (true, "TerminationByKubelet", MESSAGE)
    );
    assert_eq!(bench.told("Evicted"), [MESSAGE]);
    assert_eq!(bench.signals(), ["app StopSignal"]);
    assert_eq!(bench.sleeps(), Some(5_000));
    let before = bench.log.len();
    bench.advance(5_000);
    let sent: Vec<_> = bench.log[before..].iter().map(|l| short(&l.1)).collect();
    assert_eq!(sent, ["Kill app"]);
    bench.exit("app", 137);
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Failed { exit_code: 137 }));
    let status = bench.status();
    assert_eq!(
        (status.phase, status.reason.as_deref()),
        (Phase::Failed, Some("Evicted"))
    );
}

#[test]
fn the_hard_graces_second_is_stretched_to_two_after_the_signal() {
    let mut bench = up();
    bench.event(evict(1));
    assert_eq!(bench.signals(), ["app StopSignal"]);
    assert_eq!(bench.sleeps(), Some(2_000));
}

#[test]
fn a_deletion_goes_on_and_only_gets_shorter() {
    let mut bench = up();
    bench.delete(Some(30));
    assert_eq!(bench.signals(), ["app StopSignal"]);
    bench.event(evict(3));
    assert_eq!(bench.sleeps(), Some(3_000));
    assert!(bench.told("Evicted").is_empty());
    // A longer one changes nothing.
    bench.event(evict(9));
    assert_eq!(bench.sleeps(), Some(3_000));
    bench.exit("app", 143);
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Deleted));
}

#[test]
fn a_pod_that_is_not_let_in_never_has_a_sandbox() {
    let mut bench = Bench::new(pod(Never, &[], &["app"]));
    bench.actions.clear();
    let mut state = carob_core::state::PodState::new(&bench.pod, bench.now);
    let rejected = Event::Evict {
        message: "The node had condition: [DiskPressure]. ".to_owned(),
        grace_seconds: 1,
        disruption: false,
        rejected: true,
    };
    state.observe(&bench.pod, rejected, bench.now);
    let decision = state.step(&bench.pod, bench.now);
    assert!(decision.actions.is_empty() && decision.done.is_some());
    assert_eq!(decision.status.phase, Phase::Failed);
    let message = "Pod was rejected: The node had condition: [DiskPressure]. ";
    assert_eq!(decision.status.message.as_deref(), Some(message));
    assert_eq!(
        decision.events[0].message,
        "The node had condition: [DiskPressure]. "
    );
    assert!(
        decision
            .status
            .conditions
            .iter()
            .all(|c| c.kind != "DisruptionTarget")
    );
}

#[test]
fn a_pod_that_has_finished_is_not_evicted_any_more() {
    let mut bench = Bench::new(pod(Never, &[], &["app"]));
    bench.answer();
    bench.exit("app", 0);
    bench.event(evict(1));
    bench.answer();
    assert_eq!(bench.status().phase, Phase::Succeeded);
    assert_eq!(bench.status().reason, None);
}
