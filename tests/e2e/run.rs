//! `carob run`: where the manifest comes from, what is printed, which exit code.

use carob_tests::{Home, pod, shell, with};
use nix::sys::signal::Signal;
use serde_json::json;

#[test]
fn standard_input_is_a_manifest() {
    let home = Home::new();
    let text = "
apiVersion: v1
kind: Pod
metadata: {name: piped}
spec:
  restartPolicy: Never
  containers:
    - name: main
      image: busybox:1
      command: [echo, from standard input]
";
    let mut command = home.command();
    let run = home.start_command(command.args(["run", "-"]), text.as_bytes());
    assert_eq!(run.finish().expect(0).out(), "main | from standard input\n");
}

#[test]
fn output_keeps_its_stream_and_gets_the_containers_name() {
    let home = Home::new();
    let script = "echo one; echo two >&2; printf 'no end of line'";
    let spec = json!({"containers": [shell("a", script), shell("longer", "echo x")]});
    let run = home.run(&pod("streams", spec)).expect(0);
    let out = run.out();
    let mut lines: Vec<_> = out.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["a      | no end of line", "a      | one", "longer | x"]
    );
    assert!(run.err().contains("a      | two\n"), "{run:?}");
}

#[test]
fn exit_code_is_that_of_the_first_failed_container() {
    let home = Home::new();
    for (first, second, code) in [(0, 0, 0), (7, 0, 7), (0, 42, 42), (3, 4, 3), (255, 0, 255)] {
        let exit = |name, code| shell(name, &format!("exit {code}"));
        let spec = json!({"containers": [exit("z-first", first), exit("a-second", second)]});
        home.run(&pod("codes", spec)).expect(code);
    }
}

#[test]
fn exit_code_of_a_failed_init_container_counts() {
    let home = Home::new();
    let spec = json!({
        "initContainers": [shell("prepare", "exit 9")],
        "containers": [shell("main", "echo never")],
    });
    let run = home.run(&pod("init-fails", spec)).expect(9);
    assert_eq!(run.out(), "");
}

#[test]
fn a_container_killed_by_a_signal_exits_with_128_and_the_signal() {
    let home = Home::new();
    // As init of its PID namespace it would be immune to its own signal. Kubernetes makes $ of $$.
    let main = shell("main", "kill -KILL $$$$");
    let spec = json!({"shareProcessNamespace": true, "containers": [main]});
    let run = home.run(&pod("killed", spec)).expect(137);
    assert!(
        run.err().contains("main | Error (exit code 137)"),
        "{run:?}"
    );
}

#[test]
fn two_documents_are_two_pods() {
    let home = Home::new();
    let one = |name: &str, script: &str| pod(name, json!({"containers": [shell("main", script)]}));
    let pods = [one("good", "echo good"), one("bad", "echo bad; exit 5")];
    let run = home.start_pods(&pods, &[]).finish().expect(5);
    let out = run.out();
    let mut lines: Vec<_> = out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["bad/main  | bad", "good/main | good"]);
}

#[test]
fn timeout_deletes_the_pod_and_exits_with_124() {
    let home = Home::new();
    let main = shell("main", "trap 'echo bye; exit 0' TERM; sleep 1000 & wait");
    let spec = json!({"containers": [main]});
    let run = home.start_pods(&[pod("slow", spec)], &["--timeout", "2s"]);
    let run = run.finish().expect(124);
    assert_eq!(run.out(), "main | bye\n");
}

#[test]
fn timeout_that_is_not_reached_changes_nothing() {
    let home = Home::new();
    let spec = json!({"containers": [shell("main", "exit 6")]});
    let run = home.start_pods(&[pod("quick", spec)], &["--timeout", "1h"]);
    run.finish().expect(6);
}

#[test]
fn sigterm_ends_it_like_ctrl_c() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let home = Home::new();
        let main = shell(
            "main",
            "trap 'echo bye; exit 0' TERM; echo up; sleep 1000 & wait",
        );
        let run = home.start_pods(&[pod("daemon", json!({"containers": [main]}))], &[]);
        run.wait_for("main | up");
        let run = run.stop(signal).expect(code);
        assert_eq!(run.out(), "main | up\nmain | bye\n");
    }
}

#[test]
fn a_second_signal_does_not_wait_for_the_grace_period() {
    let home = Home::new();
    let main = shell(
        "main",
        "trap 'echo ignored' TERM; echo up; while true; do sleep 1000 & wait; done",
    );
    let spec = json!({"terminationGracePeriodSeconds": 3600, "containers": [main]});
    let run = home.start_pods(&[pod("stubborn", spec)], &[]);
    run.wait_for("main | up");
    run.signal(Signal::SIGINT);
    run.wait_for("main | ignored");
    let run = run.stop(Signal::SIGINT).expect(130);
    assert!(run.err().contains("exit code 137"), "{run:?}");
}

#[test]
fn a_reader_that_goes_away_does_not_end_the_pod() {
    let home = Home::new();
    let file = home.file("done", "");
    let main = with(
        shell("main", "seq 1 20000; echo done >/out"),
        json!({"volumeMounts": [{"name": "out", "mountPath": "/out"}]}),
    );
    let volume = json!({"name": "out", "hostPath": {"path": file, "type": "File"}});
    let spec = json!({"volumes": [volume], "containers": [main]});
    let manifest = home.file("pod.json", pod("talks", spec).to_string());
    let run = format!(
        "exec 3>&1; {{ {:?} run {manifest:?}; echo code $? >&3; }} | head -n1 >/dev/null",
        home.command()
    );
    let shell = home.start_command(std::process::Command::new("sh").args(["-c", &run]), b"");
    assert_eq!(shell.finish().expect(0).out(), "code 0\n");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "done\n");
}
