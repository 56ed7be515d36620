//! Probes that hang: killed with all that they started, one at a time, also by another supervisor.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use carob_tests::{Home, Shared, eventually, with};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::adopt::entries;
use crate::probes::{lives, readiness, serves};

/// The processes that run `sleep SECONDS`.
fn sleepers(seconds: &str) -> BTreeSet<i32> {
    let wanted = format!("sleep\0{seconds}\0");
    let pids = fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            let line = fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline"));
            line.is_ok_and(|line| line == wanted.as_bytes())
        })
        .collect()
}

/// FIFOs of commands that are in the bundles of this world.
fn fifos(home: &Home) -> usize {
    let bundles = entries(&home.state().join("bundles"));
    let bundles = bundles.iter().flat_map(|pod| entries(pod));
    let files = bundles.flat_map(|bundle| entries(&bundle));
    let is_fifo =
        |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_fifo());
    files.filter(is_fifo).count()
}

#[test]
fn f24_a_command_that_hangs_is_killed_with_all_that_it_started() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let script = "echo run >>/d/runs; (setsid sleep 24680 &); sleep 24680 & sleep 24680";
    let main = readiness(
        lives("main"),
        json!({"exec": {"command": ["sh", "-c", script]}, "timeoutSeconds": 1}),
    );
    let run = home.start_json(&shared.pod("hangs", json!({"containers": [main]})));
    let line = run.wait_for("Readiness probe failed: ");
    assert!(
        line.ends_with(&format!("command \"sh -c {script}\" timed out")),
        "{line}"
    );
    eventually("four runs", || shared.read("runs").lines().count() >= 4);
    // One at a time, and nothing is left of the one before.
    eventually("the end of those before", || sleepers("24680").len() <= 3);
    run.stop(Signal::SIGINT).expect(130);
    assert_eq!(sleepers("24680"), BTreeSet::new());
}

#[test]
fn f24_commands_of_fifty_pods_that_hang_pile_nothing_up() {
    const PODS: usize = 50;
    let home = Home::new();
    let shared = Shared::new(&home);
    let hangs = |n: usize| {
        let script = format!("echo run >>/d/runs-{n}; sleep 24681");
        let command = json!({"exec": {"command": ["sh", "-c", script]}, "timeoutSeconds": 1});
        let main = readiness(lives("main"), command);
        shared.pod(&format!("hangs-{n}"), json!({"containers": [main]}))
    };
    let runs = |n: usize| shared.read(&format!("runs-{n}")).lines().count();
    let pods: Vec<Value> = (0..PODS).map(hangs).collect();
    let run = home.start_pods(&pods, &["-o", "json"]);
    // Each Pod has one command at a time, of two processes and two FIFOs.
    let few = || {
        let before: Vec<usize> = (0..PODS).map(runs).collect();
        eventually("three more runs of each", || {
            (0..PODS).all(|n| runs(n) >= before[n] + 3)
        });
        eventually("the end of those before", || {
            sleepers("24681").len() <= PODS && fifos(&home) <= 2 * PODS
        });
    };
    few();
    home.kill(run);
    let adopted = home.start(&["run", "--adopt", "-o", "json"]);
    few();
    adopted.stop(Signal::SIGINT).expect(130);
    assert_eq!(sleepers("24681"), BTreeSet::new());
}

#[test]
fn f01_a_command_that_hangs_while_its_supervisor_is_killed_is_ended_by_the_next() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let script = "echo run >>/d/runs; [ -e /d/ready ] || sleep 24682";
    let command = json!({"exec": {"command": ["sh", "-c", script]}, "timeoutSeconds": 100_000});
    let main = readiness(lives("main"), command);
    let run = home.start_json(&shared.pod("adopted", json!({"containers": [main]})));
    eventually("the probe", || sleepers("24682").len() == 1);
    let first = sleepers("24682");
    home.kill(run);
    // Nothing that runs depends on the supervisor.
    assert_eq!(sleepers("24682"), first);
    shared.put("ready");
    let adopted = home.start(&["run", "--adopt", "-o", "json"]);
    let ready = adopted.wait_pod("ready", |p| p.condition("Ready") == "True");
    assert_eq!(ready.restarts("main"), 0);
    eventually("the end of the first", || sleepers("24682").is_empty());
    assert!(shared.read("runs").lines().count() >= 2);
    adopted.stop(Signal::SIGINT).expect(130);
}

#[test]
fn f22_a_probe_under_way_holds_up_no_deletion() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let hangs = json!({
        "exec": {"command": ["sh", "-c", "touch /d/runs; sleep 13579"]}, "timeoutSeconds": 100_000,
    });
    let silent = json!({"httpGet": {"port": 8080}, "timeoutSeconds": 100_000});
    // Accepts and never answers.
    let main = serves("main", "(nc -ll -p 8080 -e sleep 13579 &)");
    let main = with(
        main,
        json!({"readinessProbe": hangs, "livenessProbe": silent}),
    );
    let run = home.start_json(&shared.pod("asked", json!({"containers": [main]})));
    eventually("the probe", || shared.has("runs"));
    run.stop(Signal::SIGINT).expect(130);
    assert_eq!(sleepers("13579"), BTreeSet::new());
}
