//! A machine that is restarted, and what of a Pod survives that.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use carob_tests::{Home, Pod, Program, pod, shell, with};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::adopt::{entries, until};

/// Makes of this world what a restart of the machine would: its processes, their cgroups, network and mounts
/// are gone, and so is what is on a tmpfs when `state_is_gone`.
fn reboot(home: &Home, state_is_gone: bool) {
    home.kill_shims();
    home.lose_all_but_files();
    for record in records(home) {
        let text = fs::read_to_string(&record).unwrap();
        let mut value: Value = serde_json::from_str(&text).unwrap();
        value["clock"]["boot"] = json!("another boot");
        fs::write(&record, value.to_string()).unwrap();
    }
    if state_is_gone {
        fs::remove_dir_all(home.state()).unwrap();
    }
}

/// All copies of the records of this world.
fn records(home: &Home) -> Vec<PathBuf> {
    let kept = entries(&home.root().join("records"));
    let kept = kept.iter().flat_map(|dir| entries(dir));
    let all = entries(&home.state().join("pods")).into_iter().chain(kept);
    all.filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect()
}

/// A Pod that has been restarted once, in a boot that is over.
fn restarted_once(home: &Home, run: &Program) -> Pod {
    let pod = run.wait_pod("restarted", |pod| {
        pod.restarts("main") == 1 && pod.is_running("main")
    });
    // What survives the machine is written in the background.
    until("the copy of the record is up to date", || {
        let copies = entries(&home.root().join("records"));
        let mut copies = copies.iter().flat_map(|dir| entries(dir));
        copies.any(|path| {
            let record: Value =
                serde_json::from_slice(&fs::read(path).unwrap_or_default()).unwrap_or_default();
            let main = &record["state"]["observed"]["containers"]["main"];
            main["instance"]["attempt"] == 1 && main["instance"]["stage"]["Running"].is_object()
        })
    });
    pod
}

fn fails_once() -> Value {
    let mounts = json!({"volumeMounts": [{"name": "count", "mountPath": "/count"}]});
    let main = "trap 'exit 0' TERM; [ -e /count/main ] || { touch /count/main; exit 1; }; \
                sleep 1000 & wait";
    let spec = json!({
        "restartPolicy": "Always",
        "volumes": [{"name": "count", "emptyDir": {}}],
        "initContainers": [with(shell("init", ""), mounts.clone())],
        "containers": [with(shell("main", main), mounts)],
    });
    pod("survivor", spec)
}

fn f16_a_pod_survives_the_machine(state_is_gone: bool) {
    let home = Home::new();
    let seen = home.path().join("seen");
    fs::create_dir(&seen).unwrap();
    let mut survivor = fails_once();
    let spec = &mut survivor["spec"];
    spec["volumes"][1] = json!({"name": "seen", "hostPath": {"path": seen}});
    spec["initContainers"][0]["volumeMounts"][1] = json!({"name": "seen", "mountPath": "/seen"});
    // No crash in the second boot.
    spec["initContainers"][0]["command"] = json!([
        "sh",
        "-c",
        "echo init >>/seen/log; [ $(wc -l </seen/log) = 1 ] || touch /count/main"
    ]);
    let run = home.start_json(&survivor);
    let before = restarted_once(&home, &run);
    home.kill(run);
    reboot(&home, state_is_gone);
    // Whoever has the recorded process IDs now is no business of ours.
    let mut bystander = Command::new("sleep").arg("1000").spawn().unwrap();
    for record in records(&home) {
        let text = fs::read_to_string(&record).unwrap();
        let mut value: Value = serde_json::from_str(&text).unwrap();
        value["state"]["observed"]["sandbox"]["pid"] = json!(bystander.id());
        let stage = &mut value["state"]["observed"]["containers"]["main"]["instance"]["stage"];
        stage["Running"]["pid"] = json!(bystander.id());
        fs::write(&record, value.to_string()).unwrap();
    }
    let adopted = home.start(&["run", "--adopt", "-o", "json"]);
    let after = adopted.wait_pod("running in this boot", |pod| {
        pod.is_running("main") && pod.restarts("main") == 2
    });
    for same in ["/metadata/uid", "/status/startTime"] {
        assert_eq!(after.text(same), before.text(same));
    }
    let last = &after.container("main")["lastState"]["terminated"];
    assert_eq!(last["reason"], "ContainerStatusUnknown", "{last}");
    // In a new sandbox init containers run again.
    let log = fs::read_to_string(seen.join("log")).unwrap();
    assert_eq!(log, "init\ninit\n");
    adopted.stop(Signal::SIGTERM).expect(143);
    assert!(
        bystander.try_wait().unwrap().is_none(),
        "the bystander was killed"
    );
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[test]
fn f16_a_pod_survives_a_machine_whose_state_directory_is_a_tmpfs() {
    f16_a_pod_survives_the_machine(true);
}

#[test]
fn f16_a_pod_survives_a_machine_whose_state_directory_stays() {
    f16_a_pod_survives_the_machine(false);
}
