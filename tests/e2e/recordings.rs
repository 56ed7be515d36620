//! What a kubelet reported of real Pods, held to what ours go through with real containers.
//!
//! The recordings are those of `supervisor/core/tests/recordings`, where the decisions alone are held to them, all
//! containers of a Pod beside each other. Here each container is followed by itself, as the machine may be slow: every
//! state that a kubelet showed (running, waiting, terminated, reason, message, exit code, ready, started, restart
//! count, last state; and the phase) must come, in that order. States that it was too slow to show are listed.
//!
//! Of the times, only those count that a rule sets and a slow machine can't shorten: a restart comes no earlier than
//! its back-off after the end that it follows (to the second that the status gives), and what sleeps, sleeps. How late
//! things come is nobody's promise.

use std::time::{Duration, Instant};

use carob_tests::{Finished, Home, Pod, Program};
use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde_json::Value;

/// A recording.
struct Recording {
    name: &'static str,
    manifest: &'static str,
    rows: &'static str,
    /// Containers that end before it can be told that they run.
    short: &'static [&'static str],
    /// What ours show besides.
    besides: &'static [&'static str],
}

macro_rules! recording {
    ($name:literal, short: $short:expr, besides: $besides:expr) => {
        Recording {
            name: $name,
            manifest: include_str!(concat!(
                "../../supervisor/core/tests/recordings/",
                $name,
                ".yaml"
            )),
            rows: include_str!(concat!(
                "../../supervisor/core/tests/recordings/",
                $name,
                ".jsonl"
            )),
            short: $short,
            besides: $besides,
        }
    };
}

const RECORDINGS: &[Recording] = &[
    recording!("init-crashloop-always", short: &[], besides: &[]),
    recording!("init-two-in-order", short: &[], besides: &[]),
    // A kubelet that kills a container for its probe starts it again before it shows the end.
    recording!("liveness-exec", short: &[], besides: &["#0 -- Error 137", "#1 -- Error 137 after Error 137"]),
    recording!("never-fails", short: &[], besides: &[]),
    recording!("never-succeeds", short: &[], besides: &[]),
    recording!("onfailure-crashloop", short: &["crash"], besides: &[]),
    recording!("poststart-fails", short: &[], besides: &[]),
    // On a busy machine a request may take too long now and then.
    recording!("readiness-http", short: &[], besides: &["#0 -s running", "#0 rs running"]),
    recording!("sidecar-and-job", short: &[], besides: &[]),
    recording!("two-containers", short: &[], besides: &[]),
];

impl Recording {
    /// The recorded statuses; those from before a kubelet knows the Pod are left out.
    fn statuses(&self) -> Vec<Value> {
        let rows = self.rows.lines();
        let rows = rows.map(|row| serde_json::from_str::<Value>(row).unwrap());
        rows.filter(|row| row["conditions"].as_object().is_some_and(|c| !c.is_empty()))
            .collect()
    }

    /// The names of the containers.
    fn containers(&self) -> Vec<String> {
        let statuses = self.statuses();
        let last = statuses.last().unwrap();
        let lists = ["init", "containers"].map(|list| last[list].as_array().unwrap());
        let all = lists.into_iter().flatten();
        all.map(|c| c["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// What a container went through.
    fn of(&self, container: &str) -> Vec<String> {
        let statuses = self.statuses();
        let found = statuses.iter().filter_map(|status| {
            let lists = ["init", "containers"].map(|list| status[list].as_array().unwrap());
            let found = lists.into_iter().flatten().find(|c| c["name"] == container);
            Some(line(found?))
        });
        let mut lines: Vec<String> = found.collect();
        lines.retain(|line| !self.short.contains(&container) || !line.contains(" running"));
        lines.dedup();
        lines
    }
}

/// What can be compared of a container.
fn line(status: &Value) -> String {
    let flag = |name: &str, letter: &'static str| match status[name] == true {
        true => letter,
        false => "-",
    };
    let last = state(&status["lastState"]);
    format!(
        "#{} {}{} {}{}{last}",
        status["restartCount"],
        flag("ready", "r"),
        flag("started", "s"),
        state(&status["state"]),
        if last.is_empty() { "" } else { " after " },
    )
}

fn state(state: &Value) -> String {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let (waiting, terminated) = (&state["waiting"], &state["terminated"]);
    if state["running"].is_object() {
        "running".to_owned()
    } else if waiting.is_object() {
        let message = text(&waiting["message"]);
        format!("{} {message}", text(&waiting["reason"]))
            .trim_end()
            .to_owned()
    } else if terminated.is_object() {
        format!("{} {}", text(&terminated["reason"]), terminated["exitCode"])
    } else {
        String::new()
    }
}

/// Holds ours to theirs, which must all be among ours, in order; what ours are before the last of them must be
/// `besides` otherwise.
fn compare(what: &str, theirs: &[String], ours: &[String], besides: &[&str], wrong: &mut String) {
    let mut missing = theirs.iter().peekable();
    let mut others = Vec::new();
    for line in ours {
        if missing.peek().is_none() {
            break;
        }
        if missing.peek() == Some(&line) {
            missing.next();
        } else {
            others.push(line);
        }
    }
    let unknown: Vec<_> = others
        .into_iter()
        .filter(|line| !besides.iter().any(|known| known == line))
        .collect();
    if missing.peek().is_some() || !unknown.is_empty() {
        *wrong += &format!(
            "{what}\n  a kubelet showed\n    {}\n  ours were\n    {}\n  not shown by ours: {:?}\n  only \
             shown by ours: {unknown:?}\n",
            theirs.join("\n    "),
            ours.join("\n    "),
            missing.collect::<Vec<_>>(),
        );
    }
}

/// The second restart and those after it wait 10 s, 20 s, 40 s.
fn check_back_off(name: &str, pods: &[&Pod], container: &str, wrong: &mut String) {
    for pod in pods {
        let status = pod.container(container);
        let count = pod.restarts(container);
        let [started, finished] = [
            &status["state"]["running"]["startedAt"],
            &status["lastState"]["terminated"]["finishedAt"],
        ];
        if count < 2 || !started.is_string() {
            continue;
        }
        let second = |time: &Value| -> i64 {
            let time: Timestamp = time.as_str().unwrap().parse().unwrap();
            time.as_second()
        };
        let waited = second(started) - second(finished);
        let rule = 10 << (count - 2).min(5);
        // Both are cut to seconds.
        if waited < rule - 1 {
            *wrong += &format!("{name} {container}#{count} waited {waited} s, not {rule} s\n");
        }
    }
}

/// Waits for all that is recorded. One after the other, as nothing may take longer than a test's patience.
fn wait(run: &Program) {
    let restarts = |name: &'static str, container: &'static str, count: u64| {
        run.wait_pod(&format!("{name} {container}#{count}"), |p| {
            p.text("/metadata/name") == name
                && p.restarts(container) == count
                && !p.container(container)["lastState"].is_null()
        });
    };
    for count in 1..=3 {
        restarts("init-crashloop-always", "check-db", count);
        restarts("onfailure-crashloop", "crash", count);
    }
    restarts("liveness-exec", "app", 2);
    let state = |name: &'static str, container: &'static str, count: u64, state: &'static str| {
        run.wait_pod(&format!("{name} {container}#{count} {state}"), |p| {
            p.text("/metadata/name") == name
                && p.restarts(container) == count
                && p.state(container) == state
        });
    };
    state("poststart-fails", "app", 3, "CrashLoopBackOff");
    state("init-crashloop-always", "check-db", 4, "Error");
    state("onfailure-crashloop", "crash", 4, "Error");
}

#[test]
fn pods_go_through_what_a_kubelet_reported() {
    let home = Home::new();
    let manifests: Vec<&str> = RECORDINGS.iter().map(|r| r.manifest).collect();
    let mut command = home.command();
    command.args(["run", "-", "-o", "json"]);
    let run = home.start_command(&mut command, manifests.join("\n---\n").as_bytes());
    wait(&run);
    let run = run.stop(Signal::SIGTERM);
    let mut wrong = String::new();
    for recording in RECORDINGS {
        hold(recording, &run, &mut wrong);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn hold(recording: &Recording, run: &Finished, wrong: &mut String) {
    let pods = run.pods();
    let own: Vec<&Pod> = pods
        .iter()
        .filter(|p| p.text("/metadata/name") == recording.name)
        .collect();
    let uid = own[0].text("/metadata/uid").to_owned();
    let known = |p: &&&Pod| {
        p.at("/status/conditions")
            .as_array()
            .is_some_and(|c| !c.is_empty())
    };
    for container in recording.containers() {
        let ours = own
            .iter()
            .filter(known)
            .map(|pod| line(pod.container(&container)));
        let mut ours: Vec<String> = ours.map(|l| l.replace(&uid, "UID")).collect();
        ours.retain(|l| !recording.short.contains(&&*container) || !l.contains(" running"));
        ours.dedup();
        let theirs = recording.of(&container);
        let what = format!("{} {container}", recording.name);
        compare(&what, &theirs, &ours, recording.besides, wrong);
        // What a probe ended has other rules.
        if recording.rows.contains("CrashLoopBackOff") {
            check_back_off(recording.name, &own, &container, wrong);
        }
    }
    let phases = |mut all: Vec<String>| {
        all.dedup();
        all
    };
    let theirs = recording.statuses();
    let theirs = theirs
        .iter()
        .map(|s| s["phase"].as_str().unwrap().to_owned());
    let ours = own.iter().map(|p| p.phase().to_owned());
    let what = format!("{}, its phase", recording.name);
    compare(
        &what,
        &phases(theirs.collect()),
        &phases(ours.collect()),
        &[],
        wrong,
    );
}

#[test]
fn a_deleted_pod_does_its_pre_stop_and_then_ends_by_itself() {
    let home = Home::new();
    let manifest = include_str!("../../supervisor/core/tests/recordings/prestop-deleted.yaml");
    let mut command = home.command();
    command.args(["run", "-", "-o", "json"]);
    let run = home.start_command(&mut command, manifest.as_bytes());
    run.wait_pod("it is ready", |p| p.condition("Ready") == "True");
    let asked = Instant::now();
    let run = run.stop(Signal::SIGTERM).expect(143);
    // The hook takes 3 s, the container's own end 1 s more.
    assert!(asked.elapsed() >= Duration::from_secs(4), "{run:?}");
    assert_eq!(run.last_pod().state("app"), "Completed");
}
