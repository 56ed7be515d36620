//! The daemon as a service: what it tells systemd, and what becomes of the Pods when the machine goes down.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use carob_tests::{Program, bin_dir, pod, shell, with};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::adopt::{inits, until};
use crate::daemon::{ALONE, Machine, gone, running, up};

/// Starts the daemon with these variables and arguments.
fn start(machine: &Machine, env: &[(&str, &str)], args: &[&str]) -> Program {
    let mut command = machine.command();
    command.args(ALONE).args(args).envs(env.iter().copied());
    machine.home.start_command(&mut command, b"")
}

/// A directory with a `systemctl` that says this, as a `PATH`.
fn systemctl(machine: &Machine, says: &str) -> String {
    let dir = machine.home.path().join("bin");
    fs::create_dir_all(&dir).unwrap();
    let program = dir.join("systemctl");
    let script = format!("#!/bin/sh\n[ \"$*\" = is-system-running ] && echo {says}\n");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", dir.display(), std::env::var("PATH").unwrap())
}

#[test]
fn f38_ready_is_said_after_the_first_look_and_the_watchdog_is_fed() {
    let machine = Machine::new();
    machine.write("web.yaml", &[up("web")]);
    let path = machine.home.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut said = Vec::new();
    let mut hear = |until: &str| {
        let mut message = [0; 4096];
        loop {
            let length = socket.recv(&mut message).unwrap();
            said.push(String::from_utf8_lossy(&message[..length]).into_owned());
            if said.last().unwrap().contains(until) {
                return said.clone();
            }
        }
    };
    let env = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "200000"),
    ];
    let daemon = start(&machine, &env, &[]);
    let before = hear("READY=1");
    assert_eq!(before.len(), 1, "{before:?}");
    // The Pod was known by then.
    assert_eq!(before[0], "READY=1\nSTATUS=Pods: 1");
    for _ in 0..3 {
        hear("WATCHDOG=1");
    }
    fs::write(machine.manifests.join("bad.yaml"), "kind: [").unwrap();
    hear("1 manifests can't be used");
    running(&daemon, "web");
    daemon.signal(Signal::SIGTERM);
    hear("STOPPING=1");
    daemon.finish().expect(0);
    let daemon = machine.start();
    machine.end(daemon, &["web"]);
}

#[test]
fn the_unit_is_what_systemd_takes() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../supervisor/systemd/carob.service");
    let text = fs::read_to_string(unit).unwrap();
    let here = bin_dir().join("carob");
    let text = text.replace("/usr/bin/carob", here.to_str().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("carob.service");
    fs::write(&copy, text).unwrap();
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--recursive-errors=no"])
        .arg(&copy)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success(), "{said}");
    assert!(!said.contains("carob.service:"), "{said}");
}

#[test]
fn the_configuration_says_where_each_value_comes_from() {
    let machine = Machine::new();
    let manifests = machine.manifests.to_str().unwrap();
    let text = format!("[daemon]\nmanifests = {manifests:?}\nshutdown_grace_period = 7\n");
    let file = machine.home.file("config.toml", text);
    let file = file.to_str().unwrap();
    let shown = machine
        .home
        .carob(&["config", "--config", file, "--shutdown-grace-period", "9"]);
    let shown = shown.expect(0).out();
    let root = machine.home.root();
    for line in [
        format!("root = \"{}\"  # command line", root.display()),
        "backend = \"embedded\"  # default".to_owned(),
        format!("daemon.manifests = {manifests:?}  # {file}:2"),
        "daemon.shutdown_grace_period = 9  # command line".to_owned(),
        "daemon.leave_running = false  # default".to_owned(),
    ] {
        assert!(shown.contains(&line), "{line}\n{shown}");
    }
    // The daemon does what it says.
    machine.write("web.yaml", &[up("web")]);
    let args = ["daemon", "-o", "json", "--config", file];
    let daemon = machine.home.start(&[&args[..], &ALONE].concat());
    running(&daemon, "web");
    machine.end(daemon, &["web"]);
    let wrong = machine.home.file("wrong.toml", "[daemon]\nmanifest = 1\n");
    let said = machine
        .home
        .carob(&["config", "--config", wrong.to_str().unwrap()]);
    let said = said.expect(125).err();
    assert!(
        said.contains("wrong.toml:2: manifest is no setting; did you mean manifests?"),
        "{said}"
    );
}

#[test]
fn a_restart_of_the_daemon_is_not_the_end_of_the_machine() {
    let machine = Machine::new();
    machine.write("web.yaml", &[up("web")]);
    let path = systemctl(&machine, "running");
    let daemon = start(&machine, &[("PATH", &path)], &[]);
    running(&daemon, "web");
    let processes = inits(&machine.home);
    daemon.stop(Signal::SIGTERM).expect(0);
    assert_eq!(inits(&machine.home), processes);
    let path = systemctl(&machine, "stopping");
    let daemon = start(&machine, &[("PATH", &path)], &["--leave-running"]);
    running(&daemon, "web");
    daemon.stop(Signal::SIGTERM).expect(0);
    assert_eq!(inits(&machine.home), processes);
    let daemon = machine.start();
    machine.end(daemon, &["web"]);
}

#[test]
fn pods_end_with_the_machine_by_priority_and_begin_with_it() {
    let machine = Machine::new();
    let order = machine.home.path().join("order");
    fs::create_dir(&order).unwrap();
    // Each writes down when it ends.
    let told = |name: &str, priority: i64, policy: &str| {
        let script = format!(
            "trap 'echo {name} >>/order/log; exit 0' TERM; touch /order/up.{name}; while :; do sleep 0.05; done"
        );
        let mounts = json!({"volumeMounts": [{"name": "order", "mountPath": "/order"}]});
        pod(
            name,
            json!({
                "restartPolicy": policy,
                "priority": priority,
                "volumes": [{"name": "order", "hostPath": {"path": order}}],
                "containers": [with(shell("main", &script), mounts)],
            }),
        )
    };
    machine.write(
        "critical.yaml",
        &[told("critical", 2_000_000_000, "Always")],
    );
    machine.write("web.yaml", &[told("web", 0, "Always")]);
    machine.write("job.yaml", &[told("job", 0, "Never")]);
    let path = systemctl(&machine, "stopping");
    let daemon = start(&machine, &[("PATH", &path)], &[]);
    for name in ["critical", "web", "job"] {
        // It runs before it listens to SIGTERM.
        until("it is up", || order.join(format!("up.{name}")).exists());
        running(&daemon, name);
    }
    daemon.stop(Signal::SIGTERM).expect(0);
    assert!(inits(&machine.home).is_empty());
    let log = fs::read_to_string(order.join("log")).unwrap();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 3, "{log}");
    assert_eq!(lines[2], "critical", "{log}");
    // The state directory is empty after a boot.
    fs::remove_dir_all(machine.home.state()).unwrap();
    let daemon = machine.start();
    running(&daemon, "critical");
    let web = running(&daemon, "web");
    assert_eq!(web.restarts("main"), 0);
    let job = daemon.wait_pod("the job", |pod| pod.name() == "job");
    assert_eq!(job.phase(), "Failed");
    assert_eq!(job.text("/status/reason"), "Terminated");
    assert_eq!(
        job.text("/status/message"),
        "Pod was terminated in response to imminent node shutdown."
    );
    machine.end(daemon, &["critical", "web", "job"]);
}

#[test]
fn one_that_will_not_end_is_killed_in_time() {
    let machine = Machine::new();
    let stubborn = pod(
        "stubborn",
        json!({
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 1000,
            "containers": [shell("main", "trap '' TERM; echo up; while :; do sleep 0.05; done")],
        }),
    );
    machine.write("stubborn.yaml", &[stubborn]);
    let path = systemctl(&machine, "stopping");
    let args = [
        "--shutdown-grace-period",
        "4",
        "--shutdown-grace-period-critical",
        "1",
    ];
    let daemon = start(&machine, &[("PATH", &path)], &args);
    running(&daemon, "stubborn");
    daemon.stop(Signal::SIGTERM).expect(0);
    assert!(inits(&machine.home).is_empty());
    machine.remove("stubborn.yaml");
    let daemon = machine.start();
    gone(&daemon, "stubborn");
    machine.end(daemon, &[]);
}
