//! A machine that is restarted, and what of a Pod survives that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use carob_tests::{Home, Pod, Program, pod, shell, with};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::adopt::{entries, until};

/// Makes of this world what a restart of the machine would; its state directory was on a tmpfs or not.
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
    let mut all = durable_records(home);
    all.extend(whole(&home.state().join("pods")));
    all
}

/// Those that survive the machine.
fn durable_records(home: &Home) -> Vec<PathBuf> {
    let dirs = entries(&home.root().join("records"));
    dirs.iter().flat_map(|dir| whole(dir)).collect()
}

/// Records that are not just being written.
fn whole(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let is_whole = |path: &PathBuf| path.extension().is_some_and(|e| e == "json");
    entries(dir).into_iter().filter(is_whole)
}

/// A Pod that has been restarted once, in a boot that is over.
fn restarted_once(home: &Home, run: &Program) -> Pod {
    let pod = run.wait_pod("restarted", |pod| {
        pod.restarts("main") == 1 && pod.is_running("main")
    });
    // What survives the machine is written in the background.
    until("the copy of the record is up to date", || {
        durable_records(home).into_iter().any(|path| {
            let record: Value =
                serde_json::from_slice(&fs::read(path).unwrap_or_default()).unwrap_or_default();
            let main = &record["state"]["observed"]["containers"]["main"];
            main["instance"]["attempt"] == 1 && main["instance"]["stage"]["Running"].is_object()
        })
    });
    pod
}

/// A Pod whose container fails the first time that it runs, and whose init container leaves a line in a file.
fn fails_once(seen: &Path) -> Value {
    let init = "echo init >>/seen/log; [ $(wc -l </seen/log) = 1 ] || touch /count/main";
    let main = "trap 'exit 0' TERM; [ -e /count/main ] || { touch /count/main; exit 1; }; \
                sleep 1000 & wait";
    let mounts = json!({"volumeMounts": [
        {"name": "count", "mountPath": "/count"},
        {"name": "seen", "mountPath": "/seen"},
    ]});
    let spec = json!({
        "restartPolicy": "Always",
        "volumes": [
            {"name": "count", "emptyDir": {}},
            {"name": "seen", "hostPath": {"path": seen}},
        ],
        "initContainers": [with(shell("init", init), mounts.clone())],
        "containers": [with(shell("main", main), mounts)],
    });
    pod("survivor", spec)
}

fn f16_a_pod_survives_the_machine(state_is_gone: bool) {
    let home = Home::new();
    let seen = home.path().join("seen");
    fs::create_dir(&seen).unwrap();
    let run = home.start_json(&fails_once(&seen));
    let before = restarted_once(&home, &run);
    home.kill(run);
    reboot(&home, state_is_gone);
    // Whoever has the recorded process IDs now is no business of ours.
    let mut bystander = Bystander::new();
    for record in records(&home) {
        let text = fs::read_to_string(&record).unwrap();
        let mut value: Value = serde_json::from_str(&text).unwrap();
        value["state"]["observed"]["sandbox"]["pid"] = json!(bystander.0.id());
        let stage = &mut value["state"]["observed"]["containers"]["main"]["instance"]["stage"];
        stage["Running"]["pid"] = json!(bystander.0.id());
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
    assert!(bystander.lives(), "the bystander was killed");
}

/// A process that has nothing to do with any Pod.
struct Bystander(Child);

impl Bystander {
    fn new() -> Self {
        let mut command = Command::new("sleep");
        Self(command.arg("1000").stdout(Stdio::null()).spawn().unwrap())
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        // One that was killed already fails the test elsewhere.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn f16_a_pod_survives_a_machine_whose_state_directory_is_a_tmpfs() {
    f16_a_pod_survives_the_machine(true);
}

#[test]
fn f16_a_pod_survives_a_machine_whose_state_directory_stays() {
    f16_a_pod_survives_the_machine(false);
}
