//! `carob daemon`: Pods of a directory of manifests, kept over restarts of the daemon.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use carob_tests::{Home, Pod, Program, pod, shell};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::adopt::{inits, until};

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

/// Whatever this machine is short of, no Pod is evicted for it and no image removed; nor does a daemon meet another's
/// metrics.
pub const ALONE: [&str; 6] = [
    "--eviction-hard",
    "",
    "--image-gc-high-threshold",
    "100",
    "--metrics-address",
    "none",
];

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

    /// `carob daemon` of this machine.
    pub fn command(&self) -> Command {
        let mut command = self.home.command();
        command.args(["daemon", "-o", "json", "--manifests"]);
        command.arg(&self.manifests);
        command
    }

    pub fn start(&self) -> Program {
        self.start_with(&["--metrics-address", "none"])
    }

    /// Whatever this machine is short of, no Pod is evicted for it.
    pub fn start_with(&self, more: &[&str]) -> Program {
        self.start_defended(&[&["--eviction-hard", ""], more].concat())
    }

    pub fn start_defended(&self, more: &[&str]) -> Program {
        let mut command = self.command();
        // Nor is an image removed.
        command.args(["--image-gc-high-threshold", "100"]);
        self.home.start_command(command.args(more), b"")
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

#[test]
fn an_edit_makes_a_new_pod_once_the_old_one_is_gone() {
    let machine = Machine::new();
    machine.write("web.yaml", &[up("web")]);
    let daemon = machine.start();
    let old = running(&daemon, "web");
    let mut new = up("web");
    new["metadata"]["labels"] = json!({"edited": "yes"});
    machine.write("web.yaml", &[new]);
    let gone = gone(&daemon, "web");
    assert_eq!(gone.text("/metadata/uid"), old.text("/metadata/uid"));
    let new = daemon.wait_pod("the new one to run", |pod| {
        pod.text("/metadata/labels/edited") == "yes" && pod.is_running("main")
    });
    assert_ne!(new.text("/metadata/uid"), old.text("/metadata/uid"));
    machine.remove("web.yaml");
    let uid = new.text("/metadata/uid").to_owned();
    daemon.wait_pod("the new one to be gone", |pod| {
        pod.change() == "DELETED" && pod.text("/metadata/uid") == uid
    });
    machine.end(daemon, &[]);
}

#[test]
fn b57_broken_renamed_and_foreign_files_harm_no_pod() {
    let machine = Machine::new();
    machine.write("web.yaml", &[up("web")]);
    machine.write("db.yaml", &[up("db")]);
    let daemon = machine.start();
    running(&daemon, "web");
    running(&daemon, "db");
    let processes = inits(&machine.home);
    let write = |name: &str, text: &str| fs::write(machine.manifests.join(name), text).unwrap();
    // Half of it, and a field that nobody knows.
    write(
        "web.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  contaners: []\n",
    );
    daemon.wait_for("web.yaml:5:3: spec.contaners: unknown field; did you mean containers?");
    // What editors leave, and what is no file.
    for name in [
        ".web.yaml.swp",
        "web.yaml~",
        "#web.yaml#",
        "web.yaml.dpkg-new",
    ] {
        write(name, "kind: [");
    }
    std::os::unix::fs::symlink("round", machine.manifests.join("round")).unwrap();
    daemon.wait_for("round: it is a symbolic link that leads round in a circle");
    fs::create_dir(machine.manifests.join("below")).unwrap();
    // A copy is told of and changes nothing.
    fs::copy(
        machine.manifests.join("db.yaml"),
        machine.manifests.join("copy.yaml"),
    )
    .unwrap();
    daemon.wait_for("Pod default/db is in");
    fs::remove_file(machine.manifests.join("copy.yaml")).unwrap();
    // A rename touches no Pod.
    fs::rename(
        machine.manifests.join("db.yaml"),
        machine.manifests.join("base.yaml"),
    )
    .unwrap();
    machine.write("third.yaml", &[up("third")]);
    running(&daemon, "third");
    machine.remove("third.yaml");
    gone(&daemon, "third");
    assert_eq!(inits(&machine.home), processes);
    // Not even by a daemon that never saw the manifest whole.
    machine.home.kill(daemon);
    let daemon = machine.start();
    daemon.wait_for("web.yaml:5:3");
    running(&daemon, "web");
    running(&daemon, "db");
    assert_eq!(inits(&machine.home), processes);
    machine.end(daemon, &["web", "db"]);
}

#[test]
fn b57_a_directory_of_links_is_followed_as_one() {
    let machine = Machine::new();
    // As Kubernetes itself mounts a ConfigMap.
    let moment = |name: &str, pod: Value| {
        let dir = machine.manifests.join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("web.yaml"), pod.to_string()).unwrap();
        let link = machine.manifests.join("..data_tmp");
        std::os::unix::fs::symlink(name, &link).unwrap();
        fs::rename(link, machine.manifests.join("..data")).unwrap();
    };
    moment("..one", up("web"));
    std::os::unix::fs::symlink("..data/web.yaml", machine.manifests.join("web.yaml")).unwrap();
    let daemon = machine.start();
    running(&daemon, "web");
    moment("..two", up("other"));
    gone(&daemon, "web");
    running(&daemon, "other");
    machine.remove("web.yaml");
    gone(&daemon, "other");
    machine.end(daemon, &[]);
}

#[test]
fn a_directory_that_is_gone_takes_no_pod_with_it() {
    let machine = Machine::new();
    machine.write("web.yaml", &[up("web")]);
    let daemon = machine.start();
    running(&daemon, "web");
    let processes = inits(&machine.home);
    let away = machine.home.path().join("away");
    fs::rename(&machine.manifests, &away).unwrap();
    daemon.wait_for("cannot read the directory of manifests");
    assert_eq!(inits(&machine.home), processes);
    fs::rename(&away, &machine.manifests).unwrap();
    daemon.signal(Signal::SIGHUP);
    machine.write("db.yaml", &[up("db")]);
    running(&daemon, "db");
    assert_eq!(inits(&machine.home).difference(&processes).count(), 2);
    machine.end(daemon, &["web", "db"]);
}

#[test]
fn f11_a_damaged_record_keeps_no_other_pod_from_going_on() {
    let machine = Machine::new();
    machine.write("web.yaml", &[up("web"), up("db")]);
    let daemon = machine.start();
    let web = running(&daemon, "web");
    running(&daemon, "db");
    machine.home.kill(daemon);
    let name = format!("pods/{}.json", web.text("/metadata/uid"));
    let record = machine.home.state().join(name);
    let whole = fs::read(&record).unwrap();
    fs::write(&record, &whole[..whole.len() / 2]).unwrap();
    let daemon = machine.start();
    daemon.wait_for("can't go on");
    running(&daemon, "db");
    daemon.stop(Signal::SIGTERM).expect(0);
    fs::write(&record, whole).unwrap();
    let daemon = machine.start();
    running(&daemon, "web");
    machine.end(daemon, &["web", "db"]);
}

#[test]
fn f23_deleted_and_made_again_generations_never_overlap() {
    let machine = Machine::new();
    let lock = machine.home.path().join("lock");
    fs::create_dir(&lock).unwrap();
    // Each holds the directory alone, or says so and fails for good. Only once it listens to SIGTERM is it up.
    let generation = |n: u32| {
        let alone = format!(
            "trap 'rmdir /lock/held; exit 0' TERM; \
             mkdir /lock/held || {{ echo overlap >/lock/overlap; exit 1; }}; \
             touch /lock/up.{n}; while :; do sleep 0.02; done"
        );
        let mounts = json!({"volumeMounts": [{"name": "lock", "mountPath": "/lock"}]});
        let mut pod = pod(
            "web",
            json!({
                "restartPolicy": "Always",
                "volumes": [{"name": "lock", "hostPath": {"path": lock}}],
                "containers": [carob_tests::with(shell("main", &alone), mounts)],
            }),
        );
        pod["metadata"]["labels"] = json!({"n": n.to_string()});
        pod
    };
    let up = |n: u32| {
        let mark = lock.join(format!("up.{n}"));
        until("this generation is up", || mark.exists());
    };
    machine.write("web.yaml", &[generation(0)]);
    let daemon = machine.start();
    for n in 1..20 {
        up(n - 1);
        machine.write("web.yaml", &[generation(n)]);
    }
    up(19);
    assert!(!lock.join("overlap").exists());
    machine.remove("web.yaml");
    daemon.wait_pod("the last to be gone", |pod| {
        pod.text("/metadata/labels/n") == "19" && pod.change() == "DELETED"
    });
    machine.end(daemon, &[]);
}
