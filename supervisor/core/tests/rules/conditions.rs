//! The conditions (`status/generate.go`).

use carob_core::event::Event;
use carob_core::pod::RestartPolicy::{Always, Never};

use crate::kit::{Bench, pod};

#[test]
fn pod_scheduled_is_always_true() {
    let bench = Bench::new(pod(Always, &[], &["app"]));
    assert_eq!(bench.condition("PodScheduled"), (true, "", ""));
}

#[test]
fn pod_ready_to_start_containers_follows_the_sandbox() {
    let mut bench = Bench::new(pod(Always, &[], &["app"]));
    let holds = |b: &Bench| b.condition("PodReadyToStartContainers").0;
    assert!(!holds(&bench));
    bench.answer();
    assert!(holds(&bench));
    bench.event(Event::SandboxExited { attempt: 0 });
    assert!(!holds(&bench));
}

#[test]
fn initialized_needs_every_init_container_ended_well_and_every_sidecar_started() {
    let mut bench = Bench::new(pod(Always, &["+side", "a", "b"], &["app"]));
    let is = |b: &Bench, names: &str| {
        let text = format!("containers with incomplete status: [{names}]");
        let expected = (false, "ContainersNotInitialized", text.as_str());
        assert_eq!(b.condition("Initialized"), expected);
    };
    is(&bench, "side a b");
    bench.answer();
    is(&bench, "a b");
    bench.exit("a", 0);
    bench.answer();
    is(&bench, "b");
    bench.exit("b", 0);
    assert_eq!(bench.condition("Initialized"), (true, "", ""));
    bench.answer();
    // Stays so once a regular container has started.
    bench.exit("side", 1);
    assert_eq!(bench.condition("Initialized"), (true, "", ""));
}

#[test]
fn ready_needs_all_containers_and_sidecars() {
    let mut bench = Bench::new(pod(Always, &["+side"], &["b", "a"]));
    let text = "containers with unready status: [side b a]";
    for kind in ["Ready", "ContainersReady"] {
        assert_eq!(bench.condition(kind), (false, "ContainersNotReady", text));
    }
    bench.answer();
    assert_eq!(bench.condition("Ready"), (true, "", ""));
    bench.exit("side", 1);
    let text = "containers with unready status: [side]";
    assert_eq!(
        bench.condition("ContainersReady"),
        (false, "ContainersNotReady", text)
    );
}

#[test]
fn a_pod_that_ended_is_not_ready_for_that() {
    for (code, reason, initialized) in [(0, "PodCompleted", "PodCompleted"), (1, "PodFailed", "")] {
        let mut bench = Bench::new(pod(Never, &[], &["job"]));
        bench.answer();
        bench.exit("job", code);
        assert_eq!(bench.condition("Ready"), (false, reason, ""));
        assert_eq!(bench.condition("ContainersReady"), (false, reason, ""));
        assert_eq!(bench.condition("Initialized"), (true, initialized, ""));
    }
}

#[test]
fn the_transition_time_changes_with_the_status_only() {
    let mut bench = Bench::new(pod(Always, &[], &["a", "b"]));
    let since = |b: &Bench, kind: &str| {
        let mut all = b.status().conditions.iter();
        all.find(|c| c.kind == kind).unwrap().last_transition_time.0
    };
    let born = bench.now.wall;
    bench.advance(5_000);
    bench.answer();
    assert_eq!(since(&bench, "Ready"), bench.now.wall);
    assert_eq!(since(&bench, "PodScheduled"), born);
    bench.advance(5_000);
    bench.exit("a", 1);
    let unready = bench.now.wall;
    bench.advance(5_000);
    bench.exit("b", 1);
    // Another message, the same status.
    assert_eq!(since(&bench, "Ready"), unready);
}
