//! `restartPolicy`, sidecars and the back-off, as a kubelet has them.

use carob_tests::{Home, pod, shell, with};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// A container that fails until it was started for the `good`th time, which it counts in a volume.
fn fails_until(name: &str, good: u32) -> Value {
    let script = format!(
        "n=$(($(cat /count/{name} 2>/dev/null || echo 0) + 1)); \
         echo $n >/count/{name}; echo start $n; [ $n -ge {good} ]"
    );
    with(
        shell(name, &script),
        json!({"volumeMounts": [{"name": "count", "mountPath": "/count"}]}),
    )
}

fn counting(name: &str, spec: Value) -> Value {
    pod(
        name,
        with(
            json!({"volumes": [{"name": "count", "emptyDir": {}}]}),
            spec,
        ),
    )
}

#[test]
fn on_failure_restarts_until_it_succeeds() {
    let home = Home::new();
    let spec = json!({"restartPolicy": "OnFailure", "containers": [fails_until("main", 2)]});
    let run = home.run_json(&counting("retried", spec)).expect(0);
    let last = run.last_pod();
    assert_eq!(last.phase(), "Succeeded");
    assert_eq!(last.state("main"), "Completed");
    assert_eq!(last.restarts("main"), 1);
    let before = &last.container("main")["lastState"]["terminated"];
    assert_eq!(
        (&before["exitCode"], &before["reason"]),
        (&json!(1), &json!("Error"))
    );
}

#[test]
fn a_restarted_containers_output_is_shown_once_and_in_order() {
    let home = Home::new();
    let spec = json!({"restartPolicy": "OnFailure", "containers": [fails_until("main", 2)]});
    let run = home.run(&counting("shown", spec)).expect(0);
    assert_eq!(run.lines_of("main"), ["start 1", "start 2"]);
    assert!(
        run.err().contains("main | Completed, restarted once\n"),
        "{run:?}"
    );
}

#[test]
fn always_restarts_what_succeeded_too_and_backs_off() {
    let home = Home::new();
    let spec = json!({"restartPolicy": "Always", "containers": [shell("main", "echo again")]});
    let run = home.start_json(&pod("loop", spec));
    // The first restart is immediate, the second has to wait.
    let waits = run.wait_pod("back-off", |p| p.state("main") == "CrashLoopBackOff");
    assert_eq!(waits.restarts("main"), 1);
    assert_eq!(waits.phase(), "Running");
    assert_eq!(waits.condition("Ready"), "False");
    let uid = waits.text("/metadata/uid");
    assert_eq!(
        waits.container("main")["state"]["waiting"]["message"],
        format!("back-off 10s restarting failed container=main pod=loop_default({uid})")
    );
    assert_eq!(
        waits.container("main")["lastState"]["terminated"]["exitCode"],
        0
    );
    // F22: a deletion does not wait for the back-off.
    run.stop(Signal::SIGINT).expect(130);
}

#[test]
fn a_person_sees_the_back_off() {
    let home = Home::new();
    let spec = json!({"restartPolicy": "OnFailure", "containers": [shell("main", "exit 8")]});
    let run = home.start_pods(&[pod("crash", spec)], &[]);
    let line = run.wait_for("CrashLoopBackOff");
    assert!(
        line.contains("back-off 10s restarting failed container=main"),
        "{line}"
    );
    run.stop(Signal::SIGTERM).expect(143);
}

#[test]
fn one_failing_container_leaves_the_other_alone() {
    let home = Home::new();
    let other = shell("other", "trap 'exit 0' TERM; sleep 1000 & wait");
    let spec = json!({
        "restartPolicy": "OnFailure",
        "containers": [fails_until("main", 2), other],
    });
    let run = home.start_json(&counting("mixed", spec));
    let up = run.wait_pod("main succeeded", |p| {
        p.state("main") == "Completed" && p.is_running("other")
    });
    assert_eq!((up.restarts("main"), up.restarts("other")), (1, 0));
    assert_eq!(up.phase(), "Running");
    run.stop(Signal::SIGINT).expect(130);
}

#[test]
fn a_failed_init_container_is_tried_again() {
    let home = Home::new();
    let spec = json!({
        "restartPolicy": "OnFailure",
        "initContainers": [fails_until("prepare", 2)],
        "containers": [shell("main", "echo ready")],
    });
    let run = home.run_json(&counting("init-retry", spec)).expect(0);
    let last = run.last_pod();
    assert_eq!(last.restarts("prepare"), 1);
    assert_eq!(last.phase(), "Succeeded");
    let early =
        |p: &carob_tests::Pod| !p.is_running("prepare") || p.state("main") == "PodInitializing";
    assert!(run.pods().iter().all(early), "{run:?}");
}

#[test]
fn b30_a_sidecar_runs_beside_the_job_and_ends_after_it() {
    let home = Home::new();
    let sidecar = with(
        shell(
            "sidecar",
            "trap 'echo sidecar ends; exit 0' TERM; echo sidecar up; sleep 1000 & wait",
        ),
        json!({"restartPolicy": "Always"}),
    );
    let spec = json!({"initContainers": [sidecar], "containers": [shell("job", "echo job done")]});
    let run = home.run(&pod("sidecar", spec)).expect(0);
    assert_eq!(run.lines_of("job"), ["job done"]);
    assert_eq!(run.lines_of("sidecar"), ["sidecar up", "sidecar ends"]);
}

#[test]
fn a_failed_job_fails_the_pod_whatever_its_sidecar_says() {
    let home = Home::new();
    let sidecar = with(
        shell("sidecar", "trap 'exit 0' TERM; sleep 1000 & wait"),
        json!({"restartPolicy": "Always"}),
    );
    let spec = json!({"initContainers": [sidecar], "containers": [shell("job", "exit 17")]});
    let run = home.run_json(&pod("sidecar-fails", spec)).expect(17);
    assert_eq!(run.last_pod().phase(), "Failed");
}

#[test]
fn a_sidecar_that_ends_is_started_again() {
    let home = Home::new();
    let sidecar = with(
        fails_until("sidecar", 100),
        json!({"restartPolicy": "Always"}),
    );
    let job = with(
        shell("job", "until [ \"$(cat /count/sidecar)\" = 2 ]; do :; done"),
        json!({"volumeMounts": [{"name": "count", "mountPath": "/count"}]}),
    );
    let spec = json!({"initContainers": [sidecar], "containers": [job]});
    let run = home.run_json(&counting("sidecar-again", spec)).expect(0);
    assert_eq!(run.last_pod().phase(), "Succeeded");
    assert!(
        run.pods().iter().any(|p| p.restarts("sidecar") == 1),
        "{run:?}"
    );
}
