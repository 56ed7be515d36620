//! `carob explain`: the timeline that a script leads to, and scripts that are refused.

mod kit;

use carob_core::decide::Outcome;
use carob_core::explain::{Script, Timeline, format_ms, simulate};
use carob_core::pod::RestartPolicy::{Always, Never};
use carob_core::pod::{HookHandler, Pod, Probe};
use kit::{pod, probe};

fn lived(pod: &Pod, script: &str, for_ms: u64) -> Timeline {
    let script = Script::parse(pod, &[script]).expect(script);
    simulate(pod, &script, for_ms)
}

/// The lines about a container that begin so, with their times.
fn lines(timeline: &Timeline, container: &str, begins: &[&str]) -> Vec<String> {
    let of = timeline.entries.iter();
    let of = of.filter(|e| e.container.as_deref() == Some(container));
    let like = of.filter(|e| begins.iter().any(|b| e.text.starts_with(b)));
    like.map(|e| format!("{} {}", format_ms(e.at_ms), e.text))
        .collect()
}

fn refused(pod: &Pod, script: &str) -> String {
    Script::parse(pod, &[script]).expect_err(script).to_string()
}

#[test]
fn a_container_that_ends_again_and_again_backs_off() {
    let timeline = lived(&pod(Always, &[], &["app"]), "exit=1 after 5s", 120_000);
    assert_eq!(
        lines(&timeline, "app", &["running", "ended", "waits"]),
        [
            "2.1s running",
            "7.1s ended: Error, exit code 1",
            "7.2s running again (restart 1)",
            "12.2s ended: Error, exit code 1",
            "12.3s waits: CrashLoopBackOff: back-off 10s restarting failed container=app pod=pod_default(uid)",
            "22.3s running again (restart 2)",
            "27.3s ended: Error, exit code 1",
            "27.4s waits: CrashLoopBackOff: back-off 20s restarting failed container=app pod=pod_default(uid)",
            "47.4s running again (restart 3)",
            "52.4s ended: Error, exit code 1",
            "52.5s waits: CrashLoopBackOff: back-off 40s restarting failed container=app pod=pod_default(uid)",
            "1m32.5s running again (restart 4)",
            "1m37.5s ended: Error, exit code 1",
            "1m37.6s waits: CrashLoopBackOff: back-off 1m20s restarting failed container=app pod=pod_default(uid)",
        ]
    );
    assert_eq!((timeline.outcome, timeline.end_ms), (None, 120_000));
}

#[test]
fn what_nothing_is_said_of_is_well() {
    let timeline = lived(&pod(Never, &["init", "+side"], &["job"]), "", 60_000);
    assert_eq!(timeline.outcome, Some(Outcome::Succeeded));
    assert_eq!(
        lines(&timeline, "job", &["running", "ended"]).len(),
        2,
        "{timeline:?}"
    );
    let timeline = lived(&pod(Always, &[], &["app"]), "", 3_600_000);
    assert_eq!(timeline.outcome, None);
    assert_eq!(lines(&timeline, "app", &["ended"]), [""; 0]);
}

#[test]
fn statements_are_about_the_container_that_they_name() {
    let pod = pod(Never, &["init"], &["a", "b"]);
    let timeline = lived(
        &pod,
        "a: exit=3 after 1s; init: oom after 2s 1 time",
        600_000,
    );
    assert_eq!(timeline.outcome, Some(Outcome::Failed { exit_code: 137 }));
    assert_eq!(
        lines(&timeline, "init", &["ended"]),
        ["4.1s ended: OOMKilled, exit code 137"]
    );
    let timeline = lived(&pod, "a: exit=3 after 1s; init: exit=0 after 5s", 600_000);
    assert_eq!(timeline.outcome, Some(Outcome::Failed { exit_code: 3 }));
    assert_eq!(
        lines(&timeline, "b", &["ended"])[0],
        "17.2s ended: Completed, exit code 0"
    );
}

#[test]
fn probes_fail_from_one_time_until_another() {
    let mut pod = pod(Always, &[], &["app"]);
    let app = &mut pod.spec.containers[0];
    let quick = Probe {
        period_seconds: 1,
        failure_threshold: 2,
        ..probe()
    };
    app.readiness_probe = Some(quick.clone());
    app.startup_probe = Some(Probe {
        failure_threshold: 30,
        ..quick
    });
    let script = "startup fails until 3s; readiness fails from 10s until 12s";
    let timeline = lived(&pod, script, 60_000);
    assert_eq!(
        lines(
            &timeline,
            "app",
            &["running", "ready", "not ready", "started"]
        ),
        [
            "2.1s running",
            "5.1s started",
            "5.1s ready",
            "13.1s not ready",
            "14.1s ready",
        ]
    );
    let said = |text: &str| timeline.entries.iter().find(|e| e.text == text);
    let failed = said("Startup probe failed: simulated").unwrap();
    assert_eq!((failed.count, failed.last_ms), (3, 4_100));
}

#[test]
fn deletion_hooks_and_stops_take_their_time() {
    let mut pod = pod(Always, &[], &["app"]);
    pod.spec.containers[0].lifecycle.pre_stop = Some(HookHandler::Sleep { seconds: 3 });
    let timeline = lived(&pod, "delete at 20s; stop after 2s", 60_000);
    assert_eq!(
        lines(&timeline, "app", &["Stopping"]),
        ["20.0s Stopping container app"]
    );
    assert_eq!(
        lines(&timeline, "app", &["ended"]),
        ["25.0s ended: Error, exit code 143"]
    );
    assert_eq!(timeline.outcome, Some(Outcome::Deleted));
    let timeline = lived(&pod, "delete at 20s grace 10s; stop never", 60_000);
    assert_eq!(
        lines(&timeline, "app", &["ended"]),
        ["30.0s ended: Error, exit code 137"]
    );
    let script = "delete at 20s; preStop takes 1s fails";
    let timeline = lived(&pod, script, 60_000);
    assert_eq!(
        lines(&timeline, "app", &["PreStop"]),
        ["21.0s PreStopHook failed"]
    );
}

#[test]
fn images_are_pulled_once_and_fail_as_often_as_said() {
    let mut pod = pod(Always, &[], &["a", "b", "c"]);
    pod.spec.containers[1].image = "other:1".to_owned();
    pod.spec.containers[2].image = "other:1".to_owned();
    let timeline = lived(&pod, "a: pull fails 2 times", 120_000);
    assert_eq!(
        lines(&timeline, "a", &["waits: Err", "Success"]),
        [
            "2.0s waits: ErrImagePull: simulated",
            "14.0s waits: ErrImagePull: simulated",
            "36.0s Successfully pulled image \"image:1\" in 2s (2s including waiting). Image size: 0 bytes.",
        ]
    );
    assert_eq!(lines(&timeline, "a", &["running"]).len(), 1);
    // The second container with an image finds it.
    assert_eq!(lines(&timeline, "b", &["Pulling"]).len(), 1);
    assert_eq!(lines(&timeline, "c", &["Container image"]).len(), 1);
    assert_eq!(lines(&timeline, "c", &["Pulling"]), [""; 0]);
}

#[test]
fn a_script_that_is_none_is_refused_in_one_sentence() {
    let mut pod = pod(Always, &["init"], &["app"]);
    pod.spec.containers[0].liveness_probe = Some(probe());
    for (script, why) in [
        (
            "exit=1 in 5s",
            "there is \"in\" where \"after\" is expected",
        ),
        ("exit=1", "it ends where \"after\" is expected"),
        ("exit=1 after 5", "there is \"5\" where a time such as 5s"),
        (
            "exit=256 after 5s",
            "an exit code is a number from 0 to 255",
        ),
        ("exit=x after 5s", "an exit code is a number"),
        ("exit=1 after 5s 3", "it ends where \"times\" is expected"),
        (
            "exit=1 after 5s 3 times more",
            "there is \"more\" where the statement should end",
        ),
        ("crash after 5s", "\"crash\" is none of exit=CODE"),
        (
            "wbe: oom after 1s",
            "the Pod has no container \"wbe\", only app, init",
        ),
        ("readiness fails", "container app has no readinessProbe"),
        ("preStop fails", "container app has no preStop hook"),
        ("liveness", "it ends where \"fails\" is expected"),
        ("delete in 5s", "there is \"in\" where \"at\" is expected"),
        (":", "the Pod has no container \"\""),
    ] {
        let said = refused(&pod, script);
        assert!(said.contains(why), "{script}: {said}");
        assert!(
            said.starts_with(&format!("--simulate {script:?}: ")),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1);
    }
}
