//! A sandbox that ends (`PodSandboxChanged`, `computePodActions`).

use carob_core::decide::Outcome;
use carob_core::event::Event;
use carob_core::pod::Pod;
use carob_core::pod::RestartPolicy::{Always, Never, OnFailure};
use carob_core::status::Phase;

use crate::kit::{Bench, pod, short};

fn up(pod: Pod) -> Bench {
    let mut bench = Bench::new(pod);
    bench.answer();
    bench
}

#[test]
fn everything_is_stopped_removed_and_made_anew() {
    let mut bench = up(pod(Always, &["+side"], &["app"]));
    bench.event(Event::SandboxExited { attempt: 0 });
    let text = "Pod sandbox changed, it will be killed and re-created.";
    assert_eq!(bench.told("SandboxChanged"), [text]);
    assert_eq!(bench.signals(), ["app StopSignal"]);
    bench.exit("app", 143);
    assert_eq!(bench.signals(), ["side StopSignal"]);
    bench.exit("side", 0);
    bench.answer();
    assert_eq!(bench.done(), None);
    bench.advance(1_000);
    assert_eq!(
        (bench.doing("side"), bench.doing("app")),
        ("running".into(), "running".into())
    );
    assert_eq!(bench.container("app").restart_count, 1);
    assert_eq!(bench.status().phase, Phase::Running);
    let log: Vec<_> = bench.log.iter().map(|l| short(&l.1)).collect();
    let at = |what: &str| log.iter().position(|l| l == what).unwrap();
    assert!(at("remove app 0") < at("remove sandbox 0"));
    assert!(at("remove sandbox 0") < at("create sandbox 1"));
}

#[test]
fn never_forbids_a_new_one_once_containers_existed() {
    let mut bench = up(pod(Never, &[], &["a", "b"]));
    bench.exit("a", 0);
    bench.event(Event::SandboxExited { attempt: 0 });
    assert_eq!(bench.told("SandboxChanged"), [""; 0]);
    bench.signals();
    bench.exit("b", 143);
    bench.answer();
    assert_eq!(bench.status().phase, Phase::Failed);
    assert_eq!(bench.done(), Some(Outcome::Failed { exit_code: 143 }));
}

#[test]
fn never_allows_a_new_one_before_containers_existed() {
    let mut bench = Bench::new(pod(Never, &[], &["app"]));
    bench.answer_unless(|a| short(a) == "image app");
    bench.event(Event::SandboxExited { attempt: 0 });
    bench.answer();
    bench.advance(1_000);
    assert_eq!(bench.doing("app"), "running");
    assert_eq!(bench.container("app").restart_count, 0);
}

#[test]
fn on_failure_starts_none_that_ended_well() {
    let mut bench = up(pod(OnFailure, &["init"], &["a", "b"]));
    bench.exit("init", 0);
    bench.answer();
    bench.exit("a", 0);
    bench.answer();
    bench.event(Event::SandboxExited { attempt: 0 });
    bench.signals();
    bench.exit("b", 137);
    bench.answer();
    bench.advance(1_000);
    assert_eq!(bench.doing("init"), "running");
    bench.exit("init", 0);
    bench.answer();
    assert_eq!(bench.doing("a"), "terminated Completed");
    assert_eq!(bench.doing("b"), "running");
}

#[test]
fn no_new_one_when_the_last_container_ends_well_while_it_is_stopped() {
    let mut bench = up(pod(OnFailure, &[], &["job"]));
    bench.event(Event::SandboxExited { attempt: 0 });
    bench.signals();
    bench.exit("job", 0);
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Succeeded));
}

#[test]
fn one_that_ends_before_it_is_known_to_be_there() {
    let mut bench = Bench::new(pod(Always, &[], &["app"]));
    bench.event(Event::SandboxExited { attempt: 0 });
    // Not removed before the creation is answered.
    assert!(!bench.pending().contains(&"remove sandbox 0".to_owned()));
    bench.answer();
    bench.advance(1_000);
    assert_eq!(bench.doing("app"), "running");
    assert_eq!(bench.state.observed.sandbox.as_ref().unwrap().attempt, 1);
}

#[test]
fn f20_a_removal_that_fails_is_tried_until_it_works() {
    let mut bench = Bench::new(pod(Always, &[], &["app"]));
    bench.answer();
    bench.delete(Some(0));
    bench.exit("app", 137);
    bench.answer_unless(|a| short(a) == "remove sandbox 0 with volumes");
    for _ in 0..10 {
        bench.actions.clear();
        bench.event(Event::SandboxRemoveFailed {
            attempt: 0,
            last: true,
            message: "address still in use".to_owned(),
        });
        assert_eq!((bench.done(), bench.pending().len()), (None, 0));
        let at = bench.wake_at().expect("another try");
        assert!(at.since(bench.now.mono) <= 10_000);
        bench.turn_to(at);
        bench.step();
        assert_eq!(bench.pending(), ["remove sandbox 0 with volumes"]);
    }
    assert_eq!(
        bench.told("FailedKillPod")[0],
        "error killing pod: address still in use"
    );
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Deleted));
}

#[test]
fn volumes_outlive_a_sandbox_and_end_with_the_pod() {
    let mut bench = up(pod(Always, &[], &["app"]));
    bench.event(Event::SandboxExited { attempt: 0 });
    bench.exit("app", 143);
    bench.answer();
    bench.advance(1_000);
    bench.delete(Some(0));
    bench.exit("app", 137);
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Deleted));
    let log: Vec<_> = bench.log.iter().map(|l| short(&l.1)).collect();
    let removed: Vec<_> = log.iter().filter(|l| l.starts_with("remove s")).collect();
    assert_eq!(
        removed,
        ["remove sandbox 0", "remove sandbox 1 with volumes"]
    );
}

#[test]
fn f22_deleted_between_two_sandboxes_the_volumes_go_too() {
    for deleted_late in [false, true] {
        let mut bench = up(pod(Always, &[], &["app"]));
        bench.event(Event::SandboxExited { attempt: 0 });
        bench.exit("app", 143);
        bench.answer_unless(|a| short(a) == "remove sandbox 0");
        if deleted_late {
            bench.answer_unless(|a| short(a) == "create sandbox 1");
        }
        bench.delete(None);
        bench.answer();
        assert_eq!(bench.done(), Some(Outcome::Deleted), "{deleted_late}");
        let last = bench
            .log
            .iter()
            .map(|l| short(&l.1))
            .rfind(|l| l.starts_with("remove s"));
        let attempt = bench.state.memory.next_sandbox - 1;
        assert_eq!(last, Some(format!("remove sandbox {attempt} with volumes")));
    }
}

#[test]
fn volumes_of_a_sandbox_that_could_not_be_made_stay_until_the_end() {
    let mut bench = Bench::new(pod(Always, &[], &["app"]));
    bench.actions.clear();
    bench.event(Event::SandboxFailed {
        attempt: 0,
        message: "no address left".to_owned(),
    });
    bench.answer();
    // What was made for the first try is there until the end.
    bench.delete(None);
    assert_eq!(bench.pending(), ["remove sandbox 0 with volumes"]);
    bench.answer();
    assert_eq!(bench.done(), Some(Outcome::Deleted));
}

#[test]
fn host_network_shows_the_addresses_of_the_machine() {
    let mut pod = pod(Never, &[], &["job"]);
    pod.spec.host_network = true;
    let mut bench = Bench::new(pod);
    bench.event(Event::Node {
        host_ips: vec!["192.0.2.1".parse().unwrap()],
        runtime: "carob".to_owned(),
    });
    assert_eq!(bench.status().pod_ip, None);
    bench.answer();
    assert_eq!(bench.status().pod_ip, bench.status().host_ip);
    bench.exit("job", 0);
    bench.answer();
    assert_eq!(bench.status().pod_ip, bench.status().host_ip);
}
