//! A machine that runs short: a cgroup stands for it.

use std::fs;
use std::path::{Path, PathBuf};

use carob_tests::{Pod, Program, pod, shell, with};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::adopt::inits;
use crate::daemon::{Machine, running, up};
use crate::metrics::{address, get, value};

const WAIT: &str = "trap 'exit 0' TERM; sleep 1000 & wait";

/// A Pod of a priority, whose main container runs this.
fn prior(name: &str, priority: i32, script: &str) -> Value {
    let containers = json!([shell("main", script)]);
    pod(
        name,
        json!({"restartPolicy": "Always", "priority": priority, "containers": containers}),
    )
}

/// Waits until a Pod has been evicted and nothing of it runs.
fn evicted(daemon: &Program, name: &str) -> Pod {
    daemon.wait_pod(&format!("{name} to be evicted"), |pod| {
        pod.name() == name
            && pod.text("/status/reason") == "Evicted"
            && pod.container("main")["state"]["terminated"].is_object()
    })
}

/// Takes 300 MiB of memory and keeps it.
fn hog() -> Value {
    let script = "trap 'exit 0' TERM; head -c 314572800 /dev/zero > /v/file; sleep 1000 & wait";
    let main = with(
        shell("main", script),
        json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
    );
    let volume = json!({"name": "v", "emptyDir": {"medium": "Memory"}});
    pod(
        "hog",
        json!({"priority": 5, "volumes": [volume], "containers": [main]}),
    )
}

/// The v1 or v2 directory of the cgroup of all Pods of a machine, for a controller.
fn cgroup_of(machine: &Machine, controller: &str) -> (String, PathBuf) {
    let (pid, _) = inits(&machine.home).pop_first().unwrap();
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let line = |controller: &str| {
        text.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            controllers
                .split(',')
                .any(|c| c == controller)
                .then_some(path.to_owned())
        })
    };
    let (path, v1) = match line(controller) {
        Some(path) => (path, true),
        None => (line("").unwrap(), false),
    };
    // `/carob/TAG/podUID/ID`: of all Pods is `/carob/TAG`.
    let all: Vec<&str> = path.trim_start_matches('/').split('/').take(2).collect();
    let all = all.join("/");
    let mount = if v1 {
        format!("/sys/fs/cgroup/{controller}")
    } else {
        "/sys/fs/cgroup".to_owned()
    };
    let dir = Path::new(&mount).join(&all);
    (format!("/{all}"), dir)
}

#[test]
fn who_uses_most_of_the_lowest_priority_goes_when_memory_is_short() {
    let machine = Machine::new();
    machine.write("quiet.yaml", &[prior("quiet", 5, WAIT)]);
    let daemon = machine.start();
    running(&daemon, "quiet");
    let (cgroup, dir) = cgroup_of(&machine, "memory");
    daemon.stop(Signal::SIGTERM).expect(0);
    let limit = if dir.join("memory.max").exists() {
        "memory.max"
    } else {
        "memory.limit_in_bytes"
    };
    fs::write(dir.join(limit), (600 << 20).to_string()).unwrap();

    let daemon = machine.start_defended(&[
        "--metrics-address",
        "127.0.0.1:0",
        "--eviction-cgroup",
        &cgroup,
        "--eviction-hard",
        "memory.available<400Mi",
    ]);
    running(&daemon, "quiet");
    machine.write("hogs.yaml", &[hog()]);
    let hog = evicted(&daemon, "hog");
    assert_eq!(hog.text("/status/phase"), "Failed");
    let message = hog.text("/status/message");
    let begins = "The node was low on resource: memory. Threshold quantity: 400Mi, available: ";
    assert!(message.starts_with(begins), "{message}");
    assert!(message.contains("Container main was using"), "{message}");
    let conditions = hog.at("/status/conditions").as_array().unwrap();
    let target = conditions.iter().find(|c| c["type"] == "DisruptionTarget");
    assert_eq!(target.unwrap()["reason"], "TerminationByKubelet");

    // Who asks for nothing does not get in while the condition lingers.
    machine.write("late.yaml", &[up("late")]);
    let late = daemon.wait_pod("late to be rejected", |pod| {
        pod.name() == "late" && pod.text("/status/phase") == "Failed"
    });
    let rejected = "Pod was rejected: The node had condition: [MemoryPressure]. ";
    assert_eq!(late.text("/status/message"), rejected);

    let (_, text) = get(&address(&daemon), "/metrics");
    let signal = [("eviction_signal", "memory.available")];
    assert_eq!(value(&text, "kubelet_evictions", &signal), Some(1.0));
    let kills = [("pod", "hog"), ("reason", "evicted")];
    assert_eq!(
        value(&text, "carob_container_kills_total", &kills),
        Some(1.0)
    );
    let quiet = [("pod", "quiet"), ("phase", "Running")];
    assert_eq!(value(&text, "kube_pod_status_phase", &quiet), Some(1.0));
    machine.end(daemon, &["hog", "late", "quiet"]);
}

#[test]
fn a_fork_bomb_goes_before_process_ids_run_out() {
    let machine = Machine::new();
    machine.write("quiet.yaml", &[prior("quiet", 1, WAIT)]);
    let daemon = machine.start();
    running(&daemon, "quiet");
    let (cgroup, dir) = cgroup_of(&machine, "pids");
    daemon.stop(Signal::SIGTERM).expect(0);
    fs::write(dir.join("pids.max"), "200").unwrap();
    let daemon = machine.start_defended(&[
        "--metrics-address",
        "none",
        "--eviction-cgroup",
        &cgroup,
        "--eviction-hard",
        "pid.available<100",
    ]);
    running(&daemon, "quiet");
    let bomb = "i=0; while [ $i -lt 120 ]; do sleep 1000 & i=$((i+1)); done; wait";
    machine.write("bomb.yaml", &[prior("bomb", 0, bomb)]);
    let bomb = evicted(&daemon, "bomb");
    let message = bomb.text("/status/message");
    let begins = "The node was low on resource: pids. Threshold quantity: 100, available: ";
    assert!(message.starts_with(begins), "{message}");
    machine.end(daemon, &["bomb", "quiet"]);
}

#[test]
fn a_pod_above_its_size_limit_goes() {
    let machine = Machine::new();
    let daemon = machine.start_with(&["--metrics-address", "none"]);
    let volume = json!({"name": "v", "emptyDir": {"sizeLimit": "1Mi"}});
    let script = "head -c 3000000 /dev/zero > /v/file; sleep 1000";
    let main = with(
        shell("main", script),
        json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
    );
    let big = pod(
        "big",
        json!({"terminationGracePeriodSeconds": 1, "volumes": [volume], "containers": [main]}),
    );
    machine.write("big.yaml", &[big, up("small")]);
    let big = evicted(&daemon, "big");
    assert_eq!(
        big.text("/status/message"),
        "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". "
    );
    running(&daemon, "small");
    machine.end(daemon, &["big", "small"]);
}

#[test]
fn a_dry_run_tells_and_does_nothing() {
    let machine = Machine::new();
    machine.write("only.yaml", &[up("only")]);
    let daemon = machine.start_defended(&[
        "--metrics-address",
        "none",
        "--eviction-dry-run",
        "--eviction-hard",
        "memory.available<99.9%",
        "--eviction-pressure-transition-period",
        "1",
    ]);
    daemon.wait_for(
        "dry run: Pod default/only would be evicted: The node was low on resource: memory.",
    );
    running(&daemon, "only");
    machine.end(daemon, &["only"]);
}

#[test]
fn thresholds_that_make_no_sense_are_named() {
    let machine = Machine::new();
    for (args, says) in [
        (
            ["--eviction-hard", "memory.free<1Gi"],
            "is no eviction signal",
        ),
        (
            ["--eviction-hard", "memory.available<lots"],
            "is not a quantity",
        ),
        (
            ["--eviction-soft", "memory.available<1Gi"],
            "has no grace period",
        ),
    ] {
        let daemon = machine.start_defended(&args);
        daemon.wait_for(says);
        daemon.finish().expect(125);
    }
}
