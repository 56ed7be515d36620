//! From nothing to running and back.

use carob_core::decide::Outcome;
use carob_core::event::Event;
use carob_core::pod::RestartPolicy;
use carob_core::status::Phase;

use crate::kit::{Bench, pod};

#[test]
fn a_pod_that_succeeds_is_torn_down() {
    let mut bench = Bench::new(pod(RestartPolicy::Never, &["init"], &["a", "b"]));
    bench.answer();
    assert_eq!(bench.doing("init"), "running");
    bench.exit("init", 0);
    bench.answer();
    assert_eq!(bench.status().phase, Phase::Running);
    bench.exit("a", 0);
    bench.answer();
    bench.exit("b", 0);
    assert_eq!(bench.status().phase, Phase::Succeeded);
    bench.answer();
    let last = bench.last.as_ref().unwrap();
    assert_eq!(last.done, Some(Outcome::Succeeded));
    assert_eq!(last.wake_at, None);
}

#[test]
fn a_deleted_pod_is_torn_down() {
    let mut bench = Bench::new(pod(RestartPolicy::Always, &[], &["a"]));
    bench.answer();
    bench.event(Event::DeleteRequested {
        grace_seconds: None,
    });
    assert_eq!(bench.told("Killing"), ["Stopping container a"]);
    bench.exit("a", 143);
    bench.answer();
    assert_eq!(bench.last.unwrap().done, Some(Outcome::Deleted));
}
