//! `carob run -o json`: the whole Pod with its status as one line at each change.

use carob_tests::{Home, Pod, pod, shell, with};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const SLEEPS: &str = "trap 'exit 0' TERM; sleep 1000 & wait";

/// A value at each line, without its repetitions.
fn steps(pods: &[Pod], of: impl Fn(&Pod) -> String) -> Vec<String> {
    let mut steps: Vec<String> = pods.iter().map(of).collect();
    steps.dedup();
    steps
}

#[test]
fn phases_and_states_come_in_kubernetes_order() {
    let home = Home::new();
    let spec = json!({
        "initContainers": [shell("prepare", "true")],
        "containers": [shell("main", "echo hi")],
    });
    let run = home.run_json(&pod("order", spec)).expect(0);
    let pods = run.pods();
    assert_eq!(
        steps(&pods, |p| p.phase().to_owned()),
        ["Pending", "Running", "Succeeded"]
    );
    assert_eq!(
        steps(&pods, |p| p.state("prepare").to_owned()),
        ["PodInitializing", "running", "Completed"]
    );
    assert_eq!(
        steps(&pods, |p| p.state("main").to_owned()),
        ["PodInitializing", "running", "Completed"]
    );
    // At each *change*.
    assert!(pods.windows(2).all(|two| two[0] != two[1]), "{run:?}");
}

#[test]
fn a_running_pod_has_all_that_kubernetes_shows() {
    let home = Home::new();
    let object = json!({"labels": {"app": "x"}, "annotations": {"note": "y"}, "name": "full"});
    let mut manifest = pod(
        "full",
        json!({"containers": [shell("b", SLEEPS), shell("a", SLEEPS)]}),
    );
    manifest["metadata"] = object;
    let run = home.start_json(&manifest);
    let up = run.wait_pod("both run", |p| p.is_running("a") && p.is_running("b"));
    assert_eq!(up.phase(), "Running");
    assert_eq!(up.text("/metadata/namespace"), "default");
    assert_eq!(up.text("/metadata/labels/app"), "x");
    assert_eq!(up.text("/metadata/annotations/note"), "y");
    assert_eq!(up.text("/metadata/uid").len(), 36);
    for condition in [
        "PodScheduled",
        "PodReadyToStartContainers",
        "Initialized",
        "ContainersReady",
        "Ready",
    ] {
        assert_eq!(up.condition(condition), "True", "{condition} in {up:?}");
    }
    let ip = up.text("/status/podIP");
    assert!(
        ip.parse::<std::net::Ipv4Addr>().unwrap().is_private(),
        "{ip}"
    );
    assert_eq!(up.text("/status/podIPs/0/ip"), ip);
    assert!(
        up.text("/status/hostIP")
            .parse::<std::net::IpAddr>()
            .is_ok(),
        "{up:?}"
    );
    assert_eq!(up.text("/status/qosClass"), "BestEffort");
    assert!(up.text("/status/startTime").ends_with('Z'), "{up:?}");
    for name in ["a", "b"] {
        let container = up.container(name);
        assert_eq!(container["ready"], true, "{container}");
        assert_eq!(container["started"], true, "{container}");
        assert_eq!(container["restartCount"], 0, "{container}");
        assert_eq!(
            container["image"], "docker.io/library/busybox:1",
            "{container}"
        );
        let id = container["containerID"].as_str().unwrap();
        assert!(id.starts_with("carob://") && id.len() == 8 + 64, "{id}");
        assert!(
            container["imageID"].as_str().unwrap().contains("sha256:"),
            "{container}"
        );
        assert!(
            container["state"]["running"]["startedAt"].is_string(),
            "{container}"
        );
    }
    run.stop(Signal::SIGINT).expect(130);
}

#[test]
fn sigterm_deletes_gracefully() {
    let home = Home::new();
    let main = shell("main", "trap 'echo bye; exit 3' TERM; sleep 1000 & wait");
    let run = home.start_json(&pod("graceful", json!({"containers": [main]})));
    run.wait_pod("it runs", |p| p.is_running("main"));
    let run = run.stop(Signal::SIGTERM).expect(143);
    let last = run.pods().pop().unwrap();
    assert_eq!(last.phase(), "Failed");
    assert_eq!(last.container("main")["state"]["terminated"]["exitCode"], 3);
    assert_eq!(last.condition("Ready"), "False");
    assert_eq!(log(&home, &last, "main"), ["stdout F bye"]);
}

#[test]
fn logs_are_in_files_in_kubernetes_format() {
    let home = Home::new();
    let script = "echo out; echo err >&2; head -c 20000 /dev/zero | tr '\\0' x; echo; printf tail";
    let run = home.run_json(&pod("logs", json!({"containers": [shell("main", script)]})));
    let run = run.expect(0);
    // Nothing of it is mixed into what a script parses.
    let last = run.pods().pop().unwrap();
    let lines = log(&home, &last, "main");
    assert!(lines.contains(&"stdout F out".to_owned()), "{lines:?}");
    assert!(lines.contains(&"stderr F err".to_owned()), "{lines:?}");
    let long: Vec<_> = lines.iter().filter(|l| l.contains(" xxx")).collect();
    assert!(
        long.len() > 1 && long[0].starts_with("stdout P "),
        "{} lines",
        long.len()
    );
    assert!(long[long.len() - 1].starts_with("stdout F "));
    let length: usize = long.iter().map(|l| l.len() - "stdout P ".len()).sum();
    assert_eq!(length, 20000);
    assert!(lines.last().unwrap().ends_with(" tail"), "{lines:?}");
}

/// A container's log, without the times, which must be RFC 3339.
fn log(home: &Home, pod: &Pod, container: &str) -> Vec<String> {
    let dir = format!(
        "logs/pods/default_{}_{}/{container}/0.log",
        pod.text("/metadata/name"),
        pod.text("/metadata/uid")
    );
    let text = std::fs::read_to_string(home.root().join(dir)).unwrap();
    let lines = text.lines().map(|line| {
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.len() >= 30 && time.as_bytes()[10] == b'T', "{line}");
        rest.to_owned()
    });
    lines.collect()
}

#[test]
fn status_survives_being_read_as_a_manifest_again() {
    let home = Home::new();
    let env = json!({"env": [{"name": "A", "value": "1"}]});
    let main = with(shell("main", "echo $A"), env);
    let run = home
        .run_json(&pod("again", json!({"containers": [main]})))
        .expect(0);
    let last: Value = serde_json::from_str(run.out().lines().last().unwrap()).unwrap();
    let run = home.run(&last).expect(0);
    assert_eq!(run.out(), "main | 1\n");
}

#[test]
fn two_pods_have_their_own_lines() {
    let home = Home::new();
    let one = |name: &str| pod(name, json!({"containers": [shell("main", "true")]}));
    let run = home
        .start_pods(&[one("x"), one("y")], &["-o", "json"])
        .finish()
        .expect(0);
    for name in ["x", "y"] {
        let pods = run.pods();
        let last = pods
            .iter()
            .rev()
            .find(|p| p.text("/metadata/name") == name)
            .unwrap();
        assert_eq!(last.phase(), "Succeeded");
    }
}
