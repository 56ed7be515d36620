//! The order of things on the way up.

use carob_core::event::{ImageFailure, StartFailure};
use carob_core::pod::RestartPolicy::Always;

use crate::kit::{Bench, pod, short};

#[test]
fn images_are_looked_for_while_the_sandbox_is_made() {
    let bench = Bench::new(pod(Always, &[], &["a", "b"]));
    assert_eq!(bench.pending(), ["create sandbox 0", "image a", "image b"]);
    let bench = Bench::new(pod(Always, &["init"], &["a", "b"]));
    assert_eq!(bench.pending(), ["create sandbox 0", "image init"]);
}

#[test]
fn containers_are_created_at_once_and_started_in_order() {
    let mut bench = Bench::new(pod(Always, &[], &["a", "b"]));
    bench.answer_unless(|a| short(a).starts_with("create a"));
    assert_eq!(bench.pending(), ["create a 0"]);
    assert!(bench.log.iter().any(|l| short(&l.1) == "create b 0"));
    bench.answer();
    let log: Vec<_> = bench.log.iter().map(|l| short(&l.1)).collect();
    assert_eq!(log[log.len() - 2..], ["start a 0", "start b 0"]);
}

#[test]
fn one_that_does_not_start_holds_up_no_other() {
    let mut bench = Bench::new(pod(Always, &[], &["a", "b"]));
    bench.answer_unless(|a| short(a) == "image a");
    bench.actions.clear();
    assert_eq!(bench.doing("b"), "waiting ContainerCreating");
    bench.fail_image("a", ImageFailure::ErrImagePull);
    bench.answer();
    assert_eq!(bench.doing("b"), "running");

    let mut bench = Bench::new(pod(Always, &[], &["a", "b"]));
    bench.answer_unless(|a| short(a) == "create a 0");
    bench.actions.clear();
    bench.fail_start("a", StartFailure::CreateContainerError);
    bench.answer();
    assert_eq!(bench.doing("b"), "running");
}
