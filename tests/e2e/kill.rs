//! What survives a SIGKILL, and what cleans up after one.

use std::fs;

use carob_tests::{Home, Program, pod, shell};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const SLEEPS: &str = "trap 'exit 0' TERM; echo up; sleep 1000 & wait";

fn sleeps(name: &str) -> Value {
    pod(name, json!({"containers": [shell("main", SLEEPS)]}))
}

/// The next commands name the Pod, refuse its name, and `prune` leaves nothing of it.
fn is_named_and_pruned(home: &Home, run: Program, name: &str) {
    home.kill(run);
    let next = home.carob(&["image", "ls"]).expect(0);
    let hint = next.err();
    assert!(hint.contains(&format!("Pod default/{name}")), "{hint}");
    assert!(hint.contains("`carob prune`"), "{hint}");
    let refused = home.run(&sleeps(name)).expect(125);
    assert!(refused.err().contains("left behind"), "{refused:?}");
    let pruned = home.carob(&["prune"]).expect(0);
    assert!(
        pruned.out().contains(&format!("Pod default/{name}")),
        "{pruned:?}"
    );
    assert_eq!(home.left(), Vec::<String>::new());
    let again = home.carob(&["prune"]).expect(0);
    assert_eq!(again.out(), "nothing was left behind\n");
}

#[test]
fn a_running_pod_survives_its_supervisor_and_is_pruned() {
    let home = Home::new();
    let run = home.start_pods(&[sleeps("survivor")], &[]);
    run.wait_for("main | up");
    is_named_and_pruned(&home, run, "survivor");
}

#[test]
fn a_pod_in_the_making_is_pruned() {
    let home = Home::new();
    let run = home.start_pods(&[sleeps("unborn")], &[]);
    run.wait_for("main | ContainerCreating");
    is_named_and_pruned(&home, run, "unborn");
}

#[test]
fn a_pod_that_is_being_ended_is_pruned() {
    let home = Home::new();
    let stubborn = "trap 'echo asked' TERM; echo up; while true; do sleep 1000 & wait; done";
    let stubborn = pod("stubborn", json!({"containers": [shell("main", stubborn)]}));
    let run = home.start_pods(&[stubborn], &[]);
    run.wait_for("main | up");
    run.signal(Signal::SIGINT);
    run.wait_for("main | asked");
    is_named_and_pruned(&home, run, "stubborn");
}

#[test]
fn f03_a_killed_shim_costs_one_restart() {
    let home = Home::new();
    let mut orphaned = sleeps("orphaned");
    orphaned["spec"]["restartPolicy"] = json!("Always");
    let run = home.start_json(&orphaned);
    run.wait_pod("running", |pod| pod.state("main") == "running");
    home.kill_shims();
    let pod = run.wait_pod("running again", |pod| {
        pod.state("main") == "running" && pod.container("main")["restartCount"] != 0
    });
    assert_eq!(pod.container("main")["restartCount"], 1);
    run.stop(Signal::SIGTERM).expect(143);
}

#[test]
fn f26_rotation_loses_no_line() {
    let home = Home::new();
    let noisy =
        "i=0; line=$(printf %01000d 0); while [ $i -lt 12000 ]; do i=$((i+1)); echo $i $line; done";
    let noisy = pod(
        "noisy",
        json!({"restartPolicy": "Never", "containers": [shell("main", noisy)]}),
    );
    let run = home.run_json(&noisy).expect(0);
    let uid = run.last_pod().text("/metadata/uid").to_owned();
    let dir = home
        .root()
        .join(format!("logs/pods/default_noisy_{uid}/main"));
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    // The rotated ones by their time, the current one last.
    files.sort_by_key(|path| (path.ends_with("0.log"), path.clone()));
    assert!(files.len() > 1, "{files:?}");
    let numbers: Vec<u32> = files
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).unwrap();
            let number = |line: &str| line.split(' ').nth(3).unwrap().parse().unwrap();
            text.lines().map(number).collect::<Vec<_>>()
        })
        .collect();
    assert!(numbers.into_iter().eq(1..=12000));
}
