//! How containers and Pods end: grace periods, messages, limits, what could not be started.

use carob_tests::{Home, pod, shell, with};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

fn one(name: &str, container: Value) -> Value {
    pod(name, json!({"containers": [container]}))
}

/// How `main` ended.
fn end_of_main(home: &Home, container: Value, code: i32) -> Value {
    let run = home.run_json(&one("ends", container)).expect(code);
    run.last_pod().container("main")["state"]["terminated"].clone()
}

#[test]
fn f21_what_ignores_sigterm_is_killed_after_the_grace_period() {
    let home = Home::new();
    let main = shell(
        "main",
        "trap '' TERM; echo up; while true; do sleep 1000; done",
    );
    let spec = json!({"terminationGracePeriodSeconds": 1, "containers": [main]});
    let run = home.start_json(&pod("stubborn", spec));
    run.wait_pod("it runs", |p| p.is_running("main"));
    let run = run.stop(Signal::SIGINT).expect(130);
    let end = run.last_pod().container("main")["state"]["terminated"].clone();
    assert_eq!(end["exitCode"], 137, "{end}");
    assert_eq!(end["reason"], "Error", "{end}");
}

#[test]
fn all_processes_of_a_container_end_with_it() {
    let home = Home::new();
    // Its own session, its output closed, ignoring all that can be ignored.
    let script = "setsid sh -c 'trap \"\" TERM HUP INT; exec >/dev/null 2>&1; while true; do sleep 1000; done' & \
                  echo up";
    home.run(&one("daemonizes", shell("main", script)))
        .expect(0);
}

#[test]
fn f8_a_child_that_holds_the_output_open_holds_up_nothing() {
    let home = Home::new();
    let spec = json!({
        "shareProcessNamespace": true,
        "containers": [shell("main", "sleep 1000 & echo leaving")],
    });
    let run = home.run(&pod("holds", spec)).expect(0);
    assert_eq!(run.lines_of("main"), ["leaving"]);
}

#[test]
fn f6_a_container_that_ends_at_once_is_not_lost() {
    let home = Home::new();
    let many: Vec<_> = (0..8).map(|i| shell(&format!("c{i}"), "")).collect();
    for _ in 0..3 {
        let run = home
            .run_json(&pod("quick", json!({"containers": many})))
            .expect(0);
        let last = run.last_pod();
        assert!(
            (0..8).all(|i| last.state(&format!("c{i}")) == "Completed"),
            "{last:?}"
        );
    }
}

#[test]
fn termination_message_is_read_from_its_file() {
    let home = Home::new();
    let script = "printf 'why it ended' >/dev/termination-log; exit 2";
    let end = end_of_main(&home, shell("main", script), 2);
    assert_eq!(end["message"], "why it ended", "{end}");
    assert_eq!(end["exitCode"], 2, "{end}");
    assert!(
        end["startedAt"].as_str().unwrap() <= end["finishedAt"].as_str().unwrap(),
        "{end}"
    );

    let path = json!({"terminationMessagePath": "/tmp/why"});
    let end = end_of_main(&home, with(shell("main", "echo here >/tmp/why"), path), 0);
    assert_eq!(end["message"], "here\n", "{end}");
}

#[test]
fn termination_message_may_be_the_end_of_the_log() {
    let home = Home::new();
    let policy = json!({"terminationMessagePolicy": "FallbackToLogsOnError"});
    let script = "seq 1 200; echo the cause >&2; exit 1";
    let end = end_of_main(&home, with(shell("main", script), policy.clone()), 1);
    let message = end["message"].as_str().unwrap();
    assert!(message.ends_with("the cause\n"), "{message}");
    // The last 2048 bytes or 80 lines.
    assert!(
        message.len() <= 2048 && message.lines().count() <= 80,
        "{message}"
    );
    // Not when it succeeds.
    let end = end_of_main(&home, with(shell("main", "echo fine"), policy), 0);
    assert_eq!(end["message"], Value::Null, "{end}");
}

#[test]
fn b31_termination_message_is_short_and_text() {
    let home = Home::new();
    let script = "head -c 1048576 /dev/zero | tr '\\0' m >/dev/termination-log";
    let end = end_of_main(&home, shell("main", script), 0);
    assert_eq!(end["message"].as_str().unwrap().len(), 4096);
    let script = "printf 'a\\377\\0b' >/dev/termination-log";
    let end = end_of_main(&home, shell("main", script), 0);
    let message = end["message"].as_str().unwrap();
    assert!(
        message.starts_with('a') && message.ends_with('b'),
        "{message:?}"
    );
}

#[test]
fn b31_termination_messages_of_a_pod_share_12_kib() {
    let home = Home::new();
    let script = "truncate -s 1G /dev/termination-log; seq -s , 5000 >>/dev/termination-log";
    let containers: Vec<_> = (0..4).map(|n| shell(&format!("c{n}"), script)).collect();
    let run = home.run_json(&pod("share", json!({"containers": containers})));
    let last = run.expect(0).last_pod();
    for n in 0..4 {
        let end = &last.container(&format!("c{n}"))["state"]["terminated"];
        // The beginning of the last 4096 bytes.
        assert_eq!(end["message"].as_str().unwrap().len(), 3072, "{end}");
    }
}

#[test]
fn f14_out_of_memory_has_its_own_reason() {
    let home = Home::new();
    let limit = json!({"resources": {"limits": {"memory": "24Mi"}}});
    let run = home.run_json(&one("hog", with(shell("main", "tail /dev/zero"), limit)));
    let run = run.expect(137);
    let end = &run.last_pod().container("main")["state"]["terminated"].clone();
    assert_eq!(end["reason"], "OOMKilled", "{end}");
    assert_eq!(end["exitCode"], 137, "{end}");
}

#[test]
fn active_deadline_fails_the_pod() {
    let home = Home::new();
    let main = shell("main", "trap 'exit 5' TERM; sleep 1000 & wait");
    let spec = json!({"activeDeadlineSeconds": 1, "containers": [main]});
    let run = home.run_json(&pod("late", spec)).expect(5);
    let last = run.last_pod();
    assert_eq!(last.phase(), "Failed");
    assert_eq!(last.text("/status/reason"), "DeadlineExceeded");
    assert_eq!(
        last.text("/status/message"),
        "Pod was active on the node longer than the specified deadline"
    );
}

#[test]
fn a_command_that_is_not_there_is_a_start_error() {
    let home = Home::new();
    let run = home.run_json(&one(
        "typo",
        with(shell("main", ""), json!({"command": ["no-such"]})),
    ));
    let last = run.expect(128).last_pod();
    assert_eq!(last.phase(), "Failed");
    let end = &last.container("main")["state"]["terminated"];
    assert_eq!(end["reason"], "StartError", "{end}");
    assert_eq!(end["exitCode"], 128, "{end}");
    let message = end["message"].as_str().unwrap();
    assert!(
        message.contains("no-such") && message.contains("not found"),
        "{message}"
    );
}

#[test]
fn a_command_that_cannot_be_executed_is_a_start_error() {
    let home = Home::new();
    for (command, cause) in [("/etc/passwd", "ermission"), ("/etc", "")] {
        let main = with(shell("main", ""), json!({"command": [command]}));
        let run = home.run_json(&one("no-program", main)).expect(128);
        let end = &run.last_pod().container("main")["state"]["terminated"].clone();
        assert_eq!(end["reason"], "StartError", "{end}");
        let message = end["message"].as_str().unwrap();
        assert!(
            message.contains(command) && message.contains(cause),
            "{message}"
        );
    }
}

#[test]
fn a_person_is_told_what_could_not_be_started() {
    let home = Home::new();
    let main = with(shell("main", ""), json!({"command": ["no-such"]}));
    let run = home.run(&one("typo", main)).expect(128);
    assert!(run.err().contains("no-such"), "{run:?}");
    assert!(run.err().contains("StartError"), "{run:?}");
}

#[test]
fn with_restarts_a_command_that_is_not_there_is_tried_again() {
    let home = Home::new();
    let main = with(shell("main", ""), json!({"command": ["no-such"]}));
    let spec = json!({"restartPolicy": "Always", "containers": [main]});
    let run = home.start_json(&pod("typo", spec));
    let waits = run.wait_pod("back-off", |p| p.state("main") == "CrashLoopBackOff");
    let before = &waits.container("main")["lastState"]["terminated"];
    assert_eq!(before["reason"], "StartError", "{before}");
    run.stop(Signal::SIGINT).expect(130);
}

#[test]
fn f28_a_signal_at_any_moment_leaves_nothing() {
    let home = Home::new();
    let main = shell("main", "trap 'exit 0' TERM; sleep 1000 & wait");
    let spec = json!({"initContainers": [shell("first", "")], "containers": [main]});
    // A sample of moments, from before anything is there to when all is up.
    for millis in (0..300).step_by(30) {
        let run = home.start_pods(&[pod("early", spec.clone())], &[]);
        std::thread::sleep(std::time::Duration::from_millis(millis));
        run.stop(Signal::SIGTERM).expect(143);
        let left = home.left();
        assert!(left.is_empty(), "after {millis} ms:\n{}", left.join("\n"));
    }
}
