//! ConfigMaps and Secrets beside Pods: as variables, as files, changed while containers run.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use carob_tests::{Home, Program, pod, shell, with};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::adopt::{entries, until};
use crate::daemon::{Machine, running};

fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn secret(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
}

/// A Pod whose container mounts one volume and keeps saying what is in a file of it until it says `end`.
fn watcher(volume: Value, mount: Value) -> Value {
    let script = "trap 'exit 0' TERM; while :; do cat /config/word; sleep 0.1; done";
    let mount = with(json!({"name": "config", "mountPath": "/config"}), mount);
    pod(
        "watcher",
        json!({
            "restartPolicy": "Always",
            "volumes": [with(json!({"name": "config"}), volume)],
            "containers": [with(shell("main", script), json!({"volumeMounts": [mount]}))],
        }),
    )
}

/// Waits until the log of the Pod's container has a line, and returns all of it.
fn logged(machine: &Machine, text: &str) -> String {
    let mut log = String::new();
    until(&format!("the container says {text}"), || {
        let files = fs::read_dir(machine.home.root().join("logs/pods"));
        let dirs = files.into_iter().flatten().map(|e| e.unwrap().path());
        let logs = dirs.map(|dir| fs::read_to_string(dir.join("main/0.log")).unwrap_or_default());
        log = logs.collect();
        log.lines().any(|line| line.ends_with(text))
    });
    log
}

fn end(machine: &Machine, daemon: Program) {
    machine.end(daemon, &["watcher"]);
}

#[test]
fn b24_variables_and_files_of_one_manifest() {
    let home = Home::new();
    let script = "echo $GREETING $PASSWORD $SITE_color; cat /config/a; stat -Lc %a /secret/password; \
                  stat -f -c %T /secret; cat /all/labels /all/s/password; echo x >/config/a || echo read-only";
    let reference = |kind: &str, name: &str, key: &str| json!({(format!("{kind}KeyRef")): {"name": name, "key": key}});
    let mounts = ["config", "secret", "all"]
        .map(|name| json!({"name": name, "mountPath": format!("/{name}")}));
    let main = with(
        shell("main", script),
        json!({
            "env": [
                {"name": "GREETING", "valueFrom": reference("configMap", "site", "greeting")},
                {"name": "PASSWORD", "valueFrom": reference("secret", "db", "password")},
            ],
            "envFrom": [{"prefix": "SITE_", "configMapRef": {"name": "site"}}],
            "volumeMounts": mounts,
        }),
    );
    let mut pod = pod(
        "config",
        json!({
            "containers": [main],
            "volumes": [
                {"name": "config", "configMap": {"name": "site", "items": [{"key": "color", "path": "a"}]}},
                {"name": "secret", "secret": {"secretName": "db", "defaultMode": 256}},
                {"name": "all", "projected": {"sources": [
                    {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                    {"secret": {"name": "db", "items": [{"key": "password", "path": "s/password"}]}},
                ]}},
            ],
        }),
    );
    pod["metadata"]["labels"] = json!({"app": "web"});
    let documents = [
        config_map("site", json!({"greeting": "hello", "color": "blue\n"})),
        pod,
        secret("db", json!({"password": "hunter2\n"})),
    ];
    let run = home.start_pods(&documents, &[]).finish().expect(0);
    let lines = run.lines_of("main");
    let wanted = [
        "hello hunter2 blue",
        "blue",
        "400",
        "tmpfs",
        "app=\"web\"",
        "hunter2",
        "read-only",
    ];
    assert_eq!(lines, wanted, "{run:?}");
}

#[test]
fn b24_what_is_missing_is_waited_for() {
    let machine = Machine::new();
    let volume = json!({"configMap": {"name": "late"}});
    machine.write("pod.yaml", &[watcher(volume, json!({}))]);
    let script = "echo $WORD; sleep 1000";
    let word =
        json!({"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "late", "key": "word"}}});
    let env = pod(
        "env",
        json!({"restartPolicy": "Always", "terminationGracePeriodSeconds": 0,
               "containers": [with(shell("main", script), json!({"env": [word]}))]}),
    );
    machine.write("env.yaml", &[env]);
    let daemon = machine.start();
    let mount = "FailedMount: MountVolume.SetUp failed for volume \"config\" : configmap \"late\" not found";
    daemon.wait_for(mount);
    let waits = daemon.wait_pod("env to wait", |pod| {
        pod.name() == "env" && pod.state("main") == "CreateContainerConfigError"
    });
    let message = &waits.container("main")["state"]["waiting"]["message"];
    assert_eq!(message, "secret \"late\" not found");
    machine.write(
        "late.yaml",
        &[
            config_map("late", json!({"word": "come"})),
            secret("late", json!({"word": "come too"})),
        ],
    );
    running(&daemon, "watcher");
    running(&daemon, "env");
    machine.end(daemon, &["watcher", "env"]);
}

#[test]
fn a_change_reaches_running_containers_all_at_once() {
    for (volume, document) in [
        (
            json!({"configMap": {"name": "it"}}),
            config_map as fn(&str, Value) -> Value,
        ),
        (json!({"secret": {"secretName": "it"}}), secret),
        (
            json!({"projected": {"sources": [{"secret": {"name": "it"}}]}}),
            secret,
        ),
    ] {
        let machine = Machine::new();
        machine.write("pod.yaml", &[watcher(volume, json!({}))]);
        machine.write("it.yaml", &[document("it", json!({"word": "one\n"}))]);
        let daemon = machine.start();
        logged(&machine, "one");
        machine.write("it.yaml", &[document("it", json!({"word": "two\n"}))]);
        logged(&machine, "two");
        // A mistake leaves it as it is, and nobody restarts for any of this.
        fs::write(machine.manifests.join("it.yaml"), "kind: [").unwrap();
        daemon.wait_for("it.yaml:1:");
        machine.write("it.yaml", &[document("it", json!({"word": "three\n"}))]);
        let log = logged(&machine, "three");
        assert!(!log.contains("can't open"), "{log}");
        assert_eq!(running(&daemon, "watcher").restarts("main"), 0);
        end(&machine, daemon);
    }
}

#[test]
fn a_change_while_the_daemon_was_away_is_made_up_for() {
    let machine = Machine::new();
    machine.write(
        "pod.yaml",
        &[watcher(json!({"configMap": {"name": "it"}}), json!({}))],
    );
    machine.write("it.yaml", &[config_map("it", json!({"word": "one\n"}))]);
    let daemon = machine.start();
    logged(&machine, "one");
    machine.home.kill(daemon);
    machine.write("it.yaml", &[config_map("it", json!({"word": "two\n"}))]);
    let daemon = machine.start();
    logged(&machine, "two");
    end(&machine, daemon);
}

#[test]
fn a_sub_path_stays_as_it_was_mounted() {
    let machine = Machine::new();
    let mount = json!({"mountPath": "/config/word", "subPath": "word"});
    machine.write(
        "pod.yaml",
        &[watcher(json!({"configMap": {"name": "it"}}), mount)],
    );
    machine.write("it.yaml", &[config_map("it", json!({"word": "one\n"}))]);
    let daemon = machine.start();
    logged(&machine, "one");
    machine.write("it.yaml", &[config_map("it", json!({"word": "two\n"}))]);
    // What the volume itself has now is the sign that the change was made.
    let volumes = machine.home.root().join("pods");
    let word = |pod: fs::DirEntry| {
        let path = pod
            .path()
            .join("volumes/kubernetes.io~configmap/config/word");
        fs::read_to_string(path).unwrap_or_default()
    };
    until("the volume is changed", || {
        let pods = fs::read_dir(&volumes).unwrap();
        pods.map(|pod| word(pod.unwrap()))
            .any(|text| text == "two\n")
    });
    let before = logged(&machine, "one").lines().count();
    until("the container has looked again", || {
        logged(&machine, "one").lines().count() > before + 2
    });
    assert!(!logged(&machine, "one").contains("two"));
    end(&machine, daemon);
}

#[test]
fn an_immutable_one_stays_until_it_is_removed() {
    let machine = Machine::new();
    let immutable = |word: &str| {
        with(
            config_map("it", json!({"word": word})),
            json!({"immutable": true}),
        )
    };
    machine.write(
        "pod.yaml",
        &[watcher(json!({"configMap": {"name": "it"}}), json!({}))],
    );
    machine.write("it.yaml", &[immutable("one\n")]);
    let daemon = machine.start();
    logged(&machine, "one");
    machine.write("it.yaml", &[immutable("two\n")]);
    daemon.wait_for("ConfigMap default/it is immutable");
    machine.remove("it.yaml");
    daemon.wait_for("a volume stays as it was");
    machine.write("it.yaml", &[immutable("three\n")]);
    let log = logged(&machine, "three");
    assert!(!log.contains("two"), "{log}");
    end(&machine, daemon);
}

#[test]
fn secrets_are_nowhere_to_be_read() {
    let home = Home::new();
    let word = json!({"name": "W", "valueFrom": {"secretKeyRef": {"name": "db", "key": "word"}}});
    let main = with(shell("main", "echo up; sleep 1000"), json!({"env": [word]}));
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [main]});
    let documents = [pod("quiet", spec), secret("db", json!({"word": "hunter2"}))];
    let mut command = home.command();
    command
        .args(["run", "-", "-o", "json"])
        .env("CAROB_LOG", "trace");
    let text: Vec<String> = documents.iter().map(Value::to_string).collect();
    let run = home.start_command(&mut command, text.join("\n---\n").as_bytes());
    run.wait_pod("running", |pod| pod.is_running("main"));
    let mut found = 0;
    let mut dirs = vec![home.root(), home.state()];
    while let Some(dir) = dirs.pop() {
        // What is there only for a moment is not looked for.
        for path in entries(&dir) {
            let Ok(meta) = fs::symlink_metadata(&path) else {
                continue;
            };
            if meta.is_dir() {
                dirs.push(path);
            } else if meta.is_file() && meta.len() < 1 << 20 {
                let text = fs::read(&path).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                if text.contains("hunter2") || text.contains("aHVudGVyMg") {
                    found += 1;
                    assert_eq!(meta.permissions().mode() & 0o777, 0o600, "{path:?}");
                }
            }
        }
    }
    // Its config.json, and what whoever goes on needs.
    assert_eq!(found, 2);
    // Whoever goes on has it too.
    home.kill(run);
    let adopted = home.start(&["run", "--adopt", "-o", "json"]);
    adopted.wait_pod("running", |pod| pod.is_running("main"));
    let said = adopted.stop(Signal::SIGTERM).expect(143);
    assert!(!format!("{said:?}").contains("hunter2"), "{said:?}");
}
