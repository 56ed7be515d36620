//! A supervisor that is killed, and one that goes on with its Pods.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use carob_tests::{Home, Pod, Program, pod, shell, with};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const UP: &str = "trap 'exit 0' TERM; echo up; sleep 1000 & wait";

fn up(name: &str) -> Value {
    pod(name, json!({"containers": [shell("main", UP)]}))
}

/// The inits of all containers of this world: process IDs and start times.
pub fn inits(home: &Home) -> BTreeSet<(String, String)> {
    let bundles = home.bundles().into_iter();
    let pids = bundles.map(|bundle| home.init_pid(&bundle));
    pids.map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        (pid, fields.clone().nth(19).unwrap().to_owned())
    })
    .collect()
}

/// What is in a directory.
pub fn entries(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Waits for something that nobody tells of.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if is() {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    panic!("waited in vain until {what}");
}

#[test]
fn f01_twenty_pods_go_on_as_if_nothing_had_happened() {
    let home = Home::new();
    let names: Vec<String> = (0..20).map(|n| format!("pod-{n}")).collect();
    let pods: Vec<_> = names.iter().map(|name| up(name)).collect();
    let running = |run: &Program| -> Vec<Pod> {
        let is = |pod: &Pod, name: &str| {
            pod.text("/metadata/name") == name && pod.state("main") == "running"
        };
        let of = |name: &String| run.wait_pod(name, |pod| is(pod, name));
        names.iter().map(of).collect()
    };
    let run = home.start_pods(&pods, &["-o", "json"]);
    let before = running(&run);
    let processes = inits(&home);
    home.kill(run);
    let adopted = home.start(&["run", "--adopt", "-o", "json"]);
    let after = running(&adopted);
    assert_eq!(inits(&home), processes);
    assert_eq!(processes.len(), 40, "{processes:?}");
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(after.container("main"), before.container("main"));
        assert_eq!(after.restarts("main"), 0);
        for same in ["/metadata/uid", "/status/podIP", "/status/startTime"] {
            assert_eq!(after.text(same), before.text(same));
        }
    }
    adopted.stop(Signal::SIGTERM).expect(143);
}

#[test]
fn an_exit_that_nobody_saw_has_its_code_and_its_time() {
    let home = Home::new();
    let door = home.path().join("door");
    fs::create_dir(&door).unwrap();
    let waits = "echo up; while [ ! -e /door/open ]; do sleep 0.05; done; exit 3";
    let spec = json!({
        "restartPolicy": "OnFailure",
        "volumes": [{"name": "door", "hostPath": {"path": door}}],
        "containers": [with(
            shell("main", waits),
            json!({"volumeMounts": [{"name": "door", "mountPath": "/door"}]}),
        )],
    });
    let run = home.start_json(&pod("unseen", spec));
    run.wait_pod("running", |pod| pod.is_running("main"));
    let bundles = home.bundles();
    let main = bundles.iter().find(|bundle| bundle.ends_with("main.0"));
    let init = home.init_pid(main.unwrap());
    home.kill(run);
    fs::write(door.join("open"), "").unwrap();
    until("it has ended", || {
        !Path::new(&format!("/proc/{init}")).exists()
    });
    fs::remove_file(door.join("open")).unwrap();
    let adopted = home.start(&["run", "--adopt", "-o", "json"]);
    let pod = adopted.wait_pod("running again", |pod| {
        pod.is_running("main") && pod.restarts("main") == 1
    });
    let last = &pod.container("main")["lastState"]["terminated"];
    assert_eq!(last["exitCode"], 3, "{last}");
    let time = |value: &Value| value.as_str().unwrap().parse::<String>().unwrap();
    let again = &pod.container("main")["state"]["running"]["startedAt"];
    assert!(time(&last["finishedAt"]) <= time(again), "{pod:?}");
    assert!(
        time(&last["startedAt"]) <= time(&last["finishedAt"]),
        "{pod:?}"
    );
    adopted.stop(Signal::SIGTERM).expect(143);
}

#[test]
fn a_deletion_goes_on_by_itself() {
    let home = Home::new();
    let stubborn = "trap 'echo asked' TERM; echo up; while true; do sleep 1000 & wait; done";
    let stubborn = pod(
        "stubborn",
        json!({"terminationGracePeriodSeconds": 3, "containers": [shell("main", stubborn)]}),
    );
    let run = home.start_pods(&[stubborn], &[]);
    run.wait_for("main | up");
    run.signal(Signal::SIGINT);
    run.wait_for("main | asked");
    home.kill(run);
    home.carob(&["run", "--adopt"]).expect(0);
    assert_eq!(home.left(), Vec::<String>::new());
}

#[test]
fn a_manifest_starts_what_is_not_there_and_refuses_what_changed() {
    let home = Home::new();
    let run = home.start_pods(&[up("old")], &[]);
    run.wait_for("main | up");
    home.kill(run);

    let mut changed = up("old");
    changed["spec"]["containers"][0]["image"] = json!("busybox:2");
    let file = home.file("changed.json", changed.to_string());
    let refused = home.carob(&["run", "--adopt", file.to_str().unwrap()]);
    let said = refused.expect(125).err();
    for part in [
        "default/old",
        "spec.containers[0].image differs",
        "`carob prune`",
    ] {
        assert!(said.contains(part), "{said}");
    }

    let both = home.start_pods(&[up("new"), up("old")], &["--adopt", "-o", "json"]);
    for name in ["old", "new"] {
        let pod = both.wait_pod(name, |pod| {
            pod.text("/metadata/name") == name && pod.is_running("main")
        });
        assert_eq!(pod.restarts("main"), 0);
    }
    both.stop(Signal::SIGTERM).expect(143);
    let nothing = home.carob(&["run", "--adopt"]).expect(0);
    assert!(
        nothing.err().contains("no Pod was left behind"),
        "{nothing:?}"
    );
}

#[test]
fn f11_a_damaged_record_keeps_no_other_pod_from_going_on() {
    let home = Home::new();
    let run = home.start_pods(&[up("good"), up("bad")], &["-o", "json"]);
    for name in ["good", "bad"] {
        run.wait_pod(name, |pod| {
            pod.text("/metadata/name") == name && pod.is_running("main")
        });
    }
    home.kill(run);
    let records = entries(&home.state().join("pods"));
    let bad = records.iter().find(|path| {
        let text = fs::read_to_string(path).unwrap();
        text.contains(r#""name":"bad""#)
    });
    let bad = bad.unwrap();
    let text = fs::read(bad).unwrap();
    fs::write(bad, &text[..text.len() / 2]).unwrap();
    let adopted = home.start(&["run", "--adopt", "-o", "json"]);
    let said = adopted.wait_for("stays behind");
    for part in [bad.to_str().unwrap(), "`carob prune`"] {
        assert!(said.contains(part), "{said}");
    }
    let pod = adopted.wait_pod("running", |pod| pod.is_running("main"));
    assert_eq!(pod.text("/metadata/name"), "good");
    adopted.stop(Signal::SIGTERM).expect(143);
    home.carob(&["prune"]).expect(0);
}

#[test]
fn f03_a_shim_that_was_killed_meanwhile_costs_one_restart() {
    let home = Home::new();
    let mut orphan = up("orphan");
    orphan["spec"]["restartPolicy"] = json!("Always");
    let run = home.start_json(&orphan);
    run.wait_pod("running", |pod| pod.is_running("main"));
    home.kill(run);
    home.kill_shims();
    let adopted = home.start(&["run", "--adopt", "-o", "json"]);
    let pod = adopted.wait_pod("running again", |pod| {
        pod.is_running("main") && pod.restarts("main") == 1
    });
    let last = &pod.container("main")["lastState"]["terminated"];
    assert_eq!(last["reason"], "ContainerStatusUnknown", "{last}");
    adopted.stop(Signal::SIGTERM).expect(143);
}

#[test]
fn each_line_of_a_log_is_shown_once() {
    let home = Home::new();
    let door = home.path().join("door");
    fs::create_dir(&door).unwrap();
    let script = "trap 'exit 0' TERM; echo one; echo two; \
                  while [ ! -e /door/open ]; do sleep 0.05; done; echo three; sleep 1000 & wait";
    let spec = json!({
        "volumes": [{"name": "door", "hostPath": {"path": door}}],
        "containers": [with(
            shell("main", script),
            json!({"volumeMounts": [{"name": "door", "mountPath": "/door"}]}),
        )],
    });
    let run = home.start_pods(&[pod("talking", spec)], &[]);
    run.wait_for("main | two");
    // Killed just after it had shown a line, it would show it again.
    until("it has noted what it showed", || {
        let files = entries(&home.state().join("pods"));
        let shown = files
            .iter()
            .find(|f| f.extension().is_some_and(|e| e == "shown"));
        let Some(text) = shown.and_then(|file| fs::read(file).ok()) else {
            return false;
        };
        let logs: Value = serde_json::from_slice(&text).unwrap();
        let mut logs = logs.as_object().unwrap().iter();
        logs.all(|(log, at)| at["bytes"] == fs::metadata(log).unwrap().len())
    });
    assert_eq!(home.kill(run).lines_of("main"), ["one", "two"]);
    fs::write(door.join("open"), "").unwrap();
    let adopted = home.start(&["run", "--adopt"]);
    adopted.wait_for("main | three");
    let adopted = adopted.stop(Signal::SIGTERM).expect(143);
    assert_eq!(adopted.lines_of("main"), ["three"]);
}

#[test]
fn events_are_counted_over_supervisors_and_outlive_the_pod() {
    let home = Home::new();
    let run = home.start_pods(&[up("eventful")], &[]);
    // Its events are written before it is shown.
    run.wait_for("main | Running");
    home.kill(run);
    let adopted = home.start(&["run", "--adopt"]);
    adopted.wait_for("Running");
    adopted.stop(Signal::SIGTERM).expect(143);
    let of_pod = home.carob(&["events", "eventful", "-o", "json"]).expect(0);
    let list: Value = serde_json::from_slice(&of_pod.stdout).unwrap();
    assert_eq!(list["kind"], "List");
    let reasons: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            assert_eq!(event["involvedObject"]["name"], "eventful");
            assert_eq!(event["count"], 1, "{event}");
            event["reason"].as_str().unwrap()
        })
        .collect();
    assert_eq!(reasons, ["Pulled", "Created", "Started", "Killing"]);
    let table = home.carob(&["events"]).expect(0).out();
    for part in ["LAST SEEN", "default/eventful", "Container started"] {
        assert!(table.contains(part), "{table}");
    }
    let nobody = home.carob(&["events", "nobody"]).expect(0);
    assert_eq!(nobody.out(), "");
}
