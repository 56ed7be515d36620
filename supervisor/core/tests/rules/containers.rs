//! The states of containers: waiting and terminated with their reasons.

use carob_core::event::{Event, ImageFailure, StartFailure};
use carob_core::pod::RestartPolicy::{Always, Never};
use carob_core::pod::{Pod, RestartPolicy};

use crate::kit::{Bench, pod};

fn app(policy: RestartPolicy) -> Pod {
    pod(policy, &[], &["app"])
}

fn message(bench: &Bench) -> String {
    let waiting = bench.container("app").state.waiting.clone();
    waiting.and_then(|w| w.message).unwrap_or_default()
}

/// Runs up to the image, whose answer the test gives.
fn at_image(policy: RestartPolicy) -> Bench {
    let mut bench = Bench::new(app(policy));
    bench.answer_unless(|a| format!("{a:?}").starts_with("EnsureImage"));
    bench.take();
    bench
}

fn at(step: &'static str, policy: RestartPolicy) -> Bench {
    let mut bench = Bench::new(app(policy));
    bench.answer_unless(move |a| format!("{a:?}").starts_with(step));
    bench.take();
    bench
}

#[test]
fn waits_for_container_creating_or_pod_initializing() {
    let bench = Bench::new(app(Always));
    assert_eq!(bench.doing("app"), "waiting ContainerCreating");
    let bench = Bench::new(pod(Always, &["init"], &["app"]));
    assert_eq!(bench.doing("app"), "waiting PodInitializing");
    assert_eq!(bench.doing("init"), "waiting PodInitializing");
}

#[test]
fn an_image_error_shows_once_before_its_back_off() {
    let mut bench = at_image(Always);
    bench.fail_image("app", ImageFailure::ErrImagePull);
    let shown: Vec<_> = bench.statuses.iter().rev().take(2).collect();
    let waiting = |i: usize| {
        shown[i].container_statuses[0]
            .state
            .waiting
            .clone()
            .unwrap()
    };
    assert_eq!(waiting(1).reason, "ErrImagePull");
    assert_eq!(waiting(1).message.unwrap(), "boom");
    assert_eq!(waiting(0).reason, "ImagePullBackOff");
    let text = "Back-off pulling image \"image:1\": ErrImagePull: boom";
    assert_eq!(waiting(0).message.unwrap(), text);
}

#[test]
fn images_that_no_pull_can_give() {
    for (reason, again) in [
        (ImageFailure::ErrImageNeverPull, Some(10_000)),
        (ImageFailure::ImageInspectError, Some(10_000)),
        // Only another manifest can help.
        (ImageFailure::InvalidImageName, None),
    ] {
        let mut bench = at_image(Always);
        bench.fail_image("app", reason);
        assert_eq!(bench.doing("app"), format!("waiting {}", reason.as_str()));
        assert_eq!(message(&bench), "boom");
        assert_eq!(bench.sleeps(), again, "{reason:?}");
    }
}

#[test]
fn create_errors_wait_and_are_tried_again() {
    for reason in [
        StartFailure::CreateContainerConfigError,
        StartFailure::CreateContainerError,
    ] {
        let mut bench = at("CreateContainer", Never);
        bench.fail_start("app", reason);
        assert_eq!(bench.doing("app"), format!("waiting {}", reason.as_str()));
        assert_eq!(message(&bench), "boom");
        assert_eq!(bench.sleeps(), Some(10_000));
        bench.advance(10_000);
        bench.answer();
        // Nothing had been made: still the first one.
        assert_eq!(
            (
                bench.doing("app").as_str(),
                bench.container("app").restart_count
            ),
            ("running", 0)
        );
    }
}

#[test]
fn a_start_that_fails_is_a_start_error() {
    let mut bench = at("StartContainer", Never);
    bench.fail_start("app", StartFailure::RunContainerError);
    let terminated = bench.container("app").state.terminated.clone().unwrap();
    assert_eq!(
        (terminated.reason.as_str(), terminated.exit_code),
        ("StartError", 128)
    );
    assert_eq!(terminated.message.as_deref(), Some("boom"));
    assert_eq!(terminated.started_at, None);

    let mut bench = at("StartContainer", Always);
    bench.fail_start("app", StartFailure::RunContainerError);
    assert_eq!(bench.doing("app"), "waiting RunContainerError");
    let last = bench
        .container("app")
        .last_state
        .terminated
        .clone()
        .unwrap();
    assert_eq!((last.reason.as_str(), last.exit_code), ("StartError", 128));
    bench.answer();
    assert_eq!(
        (
            bench.doing("app").as_str(),
            bench.container("app").restart_count
        ),
        ("running", 1)
    );
}

#[test]
fn terminated_reasons_follow_the_exit_code() {
    for (code, reason) in [
        (0, "Completed"),
        (1, "Error"),
        (137, "Error"),
        (143, "Error"),
    ] {
        let mut bench = Bench::new(app(Never));
        bench.answer();
        bench.exit("app", code);
        assert_eq!(bench.doing("app"), format!("terminated {reason}"), "{code}");
    }
}

#[test]
fn terminated_tells_times_signal_and_message() {
    let mut bench = Bench::new(app(Never));
    bench.answer();
    let started = bench.now.wall;
    bench.advance(5_000);
    bench.event(Event::ContainerExited {
        container: "app".to_owned(),
        attempt: 0,
        exit_code: 139,
        signal: Some(11),
        at: bench.now.wall,
        message: Some("last words".to_owned()),
    });
    let terminated = bench.container("app").state.terminated.clone().unwrap();
    assert_eq!(terminated.started_at.unwrap().0, started);
    assert_eq!(terminated.finished_at.unwrap().0, bench.now.wall);
    assert_eq!(terminated.signal, Some(11));
    assert_eq!(terminated.message.as_deref(), Some("last words"));
    assert_eq!(terminated.container_id.as_deref(), Some("carob://app-0"));
}

#[test]
fn f14_oom_killed() {
    let oom = || Event::ContainerOom {
        container: "app".to_owned(),
        attempt: 0,
    };
    // Told before the exit, after it, and of a child that the container could spare.
    for (before, code, after, reason) in [
        (true, 137, false, "OOMKilled"),
        (false, 137, true, "OOMKilled"),
        (true, 1, false, "OOMKilled"),
        (true, 0, false, "Completed"),
    ] {
        let mut bench = Bench::new(app(Never));
        bench.answer();
        if before {
            bench.event(oom());
            assert_eq!(bench.doing("app"), "running");
        }
        bench.exit("app", code);
        if after {
            bench.event(oom());
        }
        assert_eq!(bench.doing("app"), format!("terminated {reason}"));
    }
}

#[test]
fn f3_a_container_that_vanished_is_unknown_and_restarted() {
    let mut bench = Bench::new(app(Always));
    bench.answer();
    bench.event(Event::ContainerLost {
        container: "app".to_owned(),
        attempt: 0,
        at: bench.now.wall,
        message: "its shim died".to_owned(),
    });
    let terminated = bench.container("app").state.terminated.clone().unwrap();
    assert_eq!(
        (terminated.reason.as_str(), terminated.exit_code),
        ("ContainerStatusUnknown", 137)
    );
    bench.answer();
    assert_eq!(bench.doing("app"), "running");
}

#[test]
fn containers_that_never_ran_end_with_their_pod_as_unknown() {
    let mut bench = at_image(Always);
    bench.fail_image("app", ImageFailure::ErrImagePull);
    bench.delete(None);
    // A kubelet says why a container waits only while it is going to start it.
    assert_eq!(bench.doing("app"), "waiting ContainerCreating");
    bench.answer();
    let terminated = bench.container("app").state.terminated.clone().unwrap();
    assert_eq!(
        (terminated.reason.as_str(), terminated.exit_code),
        ("ContainerStatusUnknown", 137)
    );
    let text = "The container could not be located when the pod was terminated";
    assert_eq!(terminated.message.as_deref(), Some(text));
}

#[test]
fn f6_an_exit_that_comes_before_its_start() {
    let mut bench = Bench::new(app(Never));
    bench.answer_unless(|a| format!("{a:?}").starts_with("StartContainer"));
    bench.exit("app", 7);
    assert_eq!(bench.doing("app"), "terminated Error");
    assert_eq!(
        bench
            .container("app")
            .state
            .terminated
            .as_ref()
            .unwrap()
            .started_at,
        None
    );
    // Nothing is done to the container before its start is answered.
    assert_eq!(bench.pending(), ["start app 0"]);
    let started = bench.now.wall;
    bench.answer();
    let terminated = bench.container("app").state.terminated.clone().unwrap();
    assert_eq!(terminated.started_at.unwrap().0, started);
    assert_eq!(bench.told("Started").len(), 1);
    assert!(bench.done().is_some());
}

#[test]
fn the_image_is_named_as_the_runtime_names_it() {
    let mut bench = Bench::new(app(Always));
    assert_eq!(bench.container("app").image, "image:1");
    assert_eq!(bench.container("app").image_id, "");
    bench.event(Event::Node {
        host_ips: vec!["192.0.2.1".parse().unwrap()],
        runtime: "containerd".to_owned(),
    });
    bench.answer();
    let app = bench.container("app");
    assert_eq!(
        (app.image.as_str(), app.image_id.as_str()),
        ("registry/image:1", "sha256:0")
    );
    assert_eq!(app.container_id.as_deref(), Some("containerd://app-0"));
    let json = serde_json::to_value(bench.status()).unwrap();
    assert_eq!(json["hostIP"], "192.0.2.1");
    assert_eq!(json["podIPs"][0]["ip"], "10.0.0.2");
    assert_eq!(
        json["conditions"][0]["lastProbeTime"],
        serde_json::Value::Null
    );
    assert_eq!(json["qosClass"], "BestEffort");
}
