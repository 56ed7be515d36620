//! `carob daemon`: Pods of a directory of manifests, kept over restarts of the daemon.

use std::fs;
use std::path::PathBuf;

use carob_tests::{Home, Pod, Program, pod, shell};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::adopt::inits;

const UP: &str = "trap 'exit 0' TERM; echo up; sleep 1000 & wait";

/// A Pod that runs until it is told to end.
pub fn up(name: &str) -> Value {
    pod(
        name,
        json!({"restartPolicy": "Always", "containers": [shell("main", UP)]}),
    )
}

/// A directory of manifests and the daemon's view of it.
pub struct Machine {
    pub home: Home,
    pub manifests: PathBuf,
}

impl Machine {
    pub fn new() -> Self {
        let home = Home::new();
        let manifests = home.path().join("manifests");
        fs::create_dir(&manifests).unwrap();
        Self { home, manifests }
    }

    /// Writes a manifest as careful programs do: beside, and then renamed.
    pub fn write(&self, file: &str, documents: &[Value]) {
        let text: Vec<String> = documents.iter().map(Value::to_string).collect();
        let beside = self.manifests.join(format!(".{file}.new"));
        fs::write(&beside, text.join("\n---\n")).unwrap();
        fs::rename(beside, self.manifests.join(file)).unwrap();
    }

    pub fn remove(&self, file: &str) {
        fs::remove_file(self.manifests.join(file)).unwrap();
    }

    pub fn start(&self) -> Program {
        self.start_with(&["--metrics-address", "none"])
    }

    pub fn start_with(&self, more: &[&str]) -> Program {
        let manifests = self.manifests.to_str().unwrap();
        let args = ["daemon", "--manifests", manifests, "-o", "json"];
        self.home.start(&[&args, more].concat())
    }

    /// Takes the manifests away, waits until their Pods are gone, and ends the daemon.
    pub fn end(&self, daemon: Program, pods: &[&str]) {
        for entry in fs::read_dir(&self.manifests).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_dir() {
                fs::remove_file(path).unwrap();
            }
        }
        for name in pods {
            gone(&daemon, name);
        }
        daemon.stop(Signal::SIGTERM).expect(0);
    }
}

/// Waits until a Pod's main container runs.
pub fn running(daemon: &Program, name: &str) -> Pod {
    daemon.wait_pod(&format!("{name} to run"), |pod| {
        pod.name() == name && pod.change() != "DELETED" && pod.is_running("main")
    })
}

/// Waits until nothing is left of a Pod.
pub fn gone(daemon: &Program, name: &str) -> Pod {
    daemon.wait_pod(&format!("{name} to be gone"), |pod| {
        pod.name() == name && pod.change() == "DELETED"
    })
}

#[test]
fn a_manifest_is_kept_running_and_ends_with_its_file() {
    let machine = Machine::new();
    machine.write("web.yaml", &[up("web"), up("db")]);
    let daemon = machine.start();
    let web = running(&daemon, "web");
    running(&daemon, "db");
    assert_eq!(
        web.text("/metadata/annotations/kubernetes.io~1config.source"),
        "file"
    );
    machine.write("late.yaml", &[up("late")]);
    running(&daemon, "late");
    machine.remove("web.yaml");
    gone(&daemon, "web");
    gone(&daemon, "db");
    machine.end(daemon, &["late"]);
}

#[test]
fn f01_killed_or_restarted_a_daemon_touches_no_pod() {
    let machine = Machine::new();
    machine.write("web.yaml", &[up("web"), up("db")]);
    let daemon = machine.start();
    let before = [running(&daemon, "web"), running(&daemon, "db")];
    let processes = inits(&machine.home);
    machine.home.kill(daemon);
    let daemon = machine.start();
    let after = [running(&daemon, "web"), running(&daemon, "db")];
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.container("main"), after.container("main"));
        assert_eq!(before.text("/metadata/uid"), after.text("/metadata/uid"));
    }
    // An orderly end is no other.
    daemon.stop(Signal::SIGTERM).expect(0);
    assert_eq!(inits(&machine.home), processes);
    let daemon = machine.start();
    running(&daemon, "web");
    assert_eq!(inits(&machine.home), processes);
    machine.end(daemon, &["web", "db"]);
}

#[test]
fn f27_a_second_daemon_says_so_and_exits() {
    let machine = Machine::new();
    machine.write("web.yaml", &[up("web")]);
    let daemon = machine.start();
    running(&daemon, "web");
    let second = machine.start().finish().expect(125);
    let says = format!("keeps the Pods of {:?} already", machine.home.state());
    assert!(second.err().contains(&says), "{second:?}");
    let pid = format!("(process {})", daemon.pid());
    assert!(second.err().contains(&pid), "{second:?}");
    machine.end(daemon, &["web"]);
}

#[test]
fn a_static_pod_that_is_through_stays_so() {
    let machine = Machine::new();
    let job = pod("job", json!({"containers": [shell("main", "echo done")]}));
    machine.write("job.yaml", &[job]);
    let daemon = machine.start();
    let ended = daemon.wait_pod("it to be through", |pod| pod.phase() == "Succeeded");
    daemon.wait_pod("its sandbox to be gone", |pod| {
        pod.phase() == "Succeeded" && pod.condition("PodReadyToStartContainers") == "False"
    });
    daemon.stop(Signal::SIGTERM).expect(0);
    let daemon = machine.start();
    let again = daemon.wait_pod("it to be known", |pod| pod.name() == "job");
    assert_eq!(again.phase(), "Succeeded");
    assert_eq!(again.container("main"), ended.container("main"));
    machine.end(daemon, &["job"]);
}
