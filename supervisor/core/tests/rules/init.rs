//! Init containers and sidecars (`computeInitContainerActions`).

use carob_core::event::Event;
use carob_core::pod::RestartPolicy::{Always, Never, OnFailure};
use carob_core::status::Phase;

use crate::kit::{Bench, pod, short};

/// The order in which containers were started.
fn started(bench: &Bench) -> Vec<String> {
    let actions = bench.log.iter().map(|l| short(&l.1));
    actions.filter(|a| a.starts_with("start")).collect()
}

#[test]
fn each_waits_for_the_one_before_to_end_well_or_a_sidecar_to_start() {
    let mut bench = Bench::new(pod(Always, &["one", "+side", "two"], &["a", "b"]));
    bench.answer();
    assert_eq!(started(&bench), ["start one 0"]);
    bench.exit("one", 0);
    bench.answer();
    assert_eq!(
        started(&bench),
        ["start one 0", "start side 0", "start two 0"]
    );
    bench.exit("two", 0);
    bench.answer();
    assert_eq!(started(&bench)[3..], ["start a 0", "start b 0"]);
}

#[test]
fn a_sidecar_that_ends_is_restarted_while_the_next_init_container_runs() {
    let mut bench = Bench::new(pod(Never, &["+side", "init"], &["app"]));
    bench.answer();
    bench.exit("side", 0);
    bench.answer();
    assert_eq!(
        (bench.doing("side"), bench.doing("init")),
        ("running".into(), "running".into())
    );
    bench.exit("init", 0);
    bench.answer();
    assert_eq!(bench.doing("app"), "running");
}

#[test]
fn a_sidecar_in_back_off_holds_nothing_that_came_after_it() {
    let mut bench = Bench::new(pod(Always, &["+side", "init"], &["app"]));
    bench.answer();
    for _ in 0..2 {
        bench.exit("side", 1);
        bench.answer();
    }
    assert_eq!(bench.doing("side"), "waiting CrashLoopBackOff");
    bench.exit("init", 0);
    bench.answer();
    assert_eq!(bench.doing("app"), "running");
    bench.advance(10_000);
    assert_eq!(bench.doing("side"), "running");
}

#[test]
fn sidecars_do_not_hold_the_pod() {
    let mut bench = Bench::new(pod(OnFailure, &["+side"], &["job"]));
    bench.answer();
    bench.exit("job", 0);
    bench.answer_unless(|a| short(a).contains("StopSignal"));
    assert_eq!(bench.signals(), ["side StopSignal"]);
    bench.exit("side", 0);
    bench.answer();
    assert_eq!(bench.status().phase, Phase::Succeeded);
    assert!(bench.done().is_some());
}

#[test]
fn init_containers_run_again_in_a_new_sandbox_only() {
    let mut bench = Bench::new(pod(Always, &["init"], &["app"]));
    bench.answer();
    bench.exit("init", 0);
    bench.answer();
    bench.exit("app", 1);
    bench.answer();
    assert_eq!(
        started(&bench),
        ["start init 0", "start app 0", "start app 1"]
    );
    bench.event(Event::SandboxExited { attempt: 0 });
    bench.exit("app", 137);
    bench.advance(1_000);
    bench.answer();
    bench.advance(1_000);
    assert_eq!(started(&bench)[3..], ["start init 1"]);
    assert_eq!(bench.doing("app"), "terminated Error");
    bench.exit("init", 0);
    bench.answer();
    bench.advance(60_000);
    assert_eq!(started(&bench)[4..], ["start app 2"]);
}
