//! Replays what a kubelet reported: given the same exits, our status goes through the same states, in the
//! same order, and whatever else it shows is listed here.

mod kit;

use std::collections::BTreeMap;

use carob_core::action::{Action, Signal};
use carob_core::event::Event;
use carob_core::parse::parse_manifest;
use carob_core::status::{ConditionStatus, ContainerState, ContainerStatus, PodStatus};
use carob_core::time::Mono;
use kit::Bench;
use serde_json::Value;

/// When an instance of a container ends by itself (milliseconds after its start) and with which code.
type Life = fn(container: &str) -> Option<(u64, i32)>;

/// What can be compared, in one line.
fn line(status: &PodStatus) -> String {
    let conditions: BTreeMap<_, _> = status
        .conditions
        .iter()
        .map(|c| {
            let holds = c.status == ConditionStatus::True;
            (
                c.kind.as_str(),
                (holds, c.reason.clone().unwrap_or_default()),
            )
        })
        .collect();
    let conditions = conditions
        .iter()
        .map(|(kind, (holds, reason))| condition(kind, *holds, reason));
    let init = status.init_container_statuses.iter().map(ours);
    let main = status.container_statuses.iter().map(ours);
    compose(
        &format!("{:?}", status.phase),
        conditions.collect(),
        init.collect(),
        main.collect(),
    )
}

fn ours(c: &ContainerStatus) -> String {
    let state = |s: &ContainerState| serde_json::to_value(s).expect("JSON");
    container(
        &c.name,
        [c.ready, c.started],
        u64::from(c.restart_count),
        &state(&c.state),
        &state(&c.last_state),
    )
}

/// The same of a recorded row; none for one that a kubelet shows before it knows the Pod.
fn recorded(row: &Value) -> Option<String> {
    let conditions: BTreeMap<_, _> = row["conditions"].as_object()?.iter().collect();
    if conditions.is_empty() {
        return None;
    }
    let conditions = conditions
        .iter()
        .map(|(kind, c)| condition(kind, c[0] == "True", c[1].as_str().unwrap_or_default()));
    let containers = |list: &Value| {
        let list = list.as_array().expect("a list").iter();
        list.map(theirs).collect()
    };
    Some(compose(
        row["phase"].as_str()?,
        conditions.collect(),
        containers(&row["init"]),
        containers(&row["containers"]),
    ))
}

fn theirs(c: &Value) -> String {
    container(
        c["name"].as_str().expect("a name"),
        [c["ready"] == true, c["started"] == true],
        c["restartCount"].as_u64().expect("a count"),
        &c["state"],
        &c["lastState"],
    )
}

fn condition(kind: &str, holds: bool, reason: &str) -> String {
    let sign = if holds { '+' } else { '-' };
    format!(
        "{sign}{kind}{}{reason}",
        if reason.is_empty() { "" } else { ":" }
    )
}

fn container(
    name: &str,
    [ready, started]: [bool; 2],
    count: u64,
    now: &Value,
    last: &Value,
) -> String {
    let flag = |set, letter: &str| {
        if set {
            letter.to_owned()
        } else {
            "-".to_owned()
        }
    };
    let last = state(last);
    let before = if last.is_empty() {
        String::new()
    } else {
        format!(" after {last}")
    };
    format!(
        "{name}#{count} {}{} {}{before}",
        flag(ready, "r"),
        flag(started, "s"),
        state(now)
    )
}

fn state(state: &Value) -> String {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    if !state["running"].is_null() {
        "running".to_owned()
    } else if !state["waiting"].is_null() {
        let waiting = &state["waiting"];
        let message = text(&waiting["message"]);
        let message = if message.is_empty() {
            message
        } else {
            format!(" ({message})")
        };
        format!("{}{message}", text(&waiting["reason"]))
    } else if !state["terminated"].is_null() {
        let terminated = &state["terminated"];
        format!("{} {}", text(&terminated["reason"]), terminated["exitCode"])
    } else {
        String::new()
    }
}

fn compose(phase: &str, conditions: Vec<String>, init: Vec<String>, main: Vec<String>) -> String {
    format!(
        "{phase} | {} | {} | {}",
        init.join(", "),
        main.join(", "),
        conditions.join(" ")
    )
}

/// Runs the Pod, its containers living as told, each call taking 10 ms, for so many seconds.
fn play(name: &str, yaml: &str, life: Life, seconds: u64) -> Vec<String> {
    let manifest = parse_manifest(yaml.as_bytes(), name, &mut || "UID".to_owned());
    let pod = manifest.expect("a manifest").pods.remove(0);
    let mut bench = Bench::new(pod);
    let end = bench.now.mono.plus_secs(seconds);
    let mut due: Vec<(Mono, Event)> = Vec::new();
    loop {
        while let Some(action) = bench.actions.pop_front() {
            let at = bench.now.mono.plus_ms(10);
            let mut exit = |container: &str, attempt, after, exit_code| {
                let event = Event::ContainerExited {
                    container: container.to_owned(),
                    attempt,
                    exit_code,
                    signal: None,
                    at: bench.now.wall,
                    message: None,
                };
                due.push((at.plus_ms(after), event));
            };
            match &action {
                Action::StartContainer { container, attempt } => {
                    if let Some((after, code)) = life(container) {
                        exit(container, *attempt, after, code);
                    }
                }
                // The programs that get one here answer it with `exit 0`.
                Action::Signal {
                    container,
                    attempt,
                    signal: Signal::StopSignal,
                } => exit(container, *attempt, 100, 0),
                _ => {}
            }
            if let Some(event) = kit::success(&action, bench.now.wall) {
                due.push((at, event));
            }
        }
        let next = due.iter().map(|d| d.0).chain(bench.wake_at()).min();
        let Some(at) = next.filter(|&at| at <= end) else {
            break;
        };
        bench.turn_to(at);
        match due.iter().position(|d| d.0 <= at) {
            Some(index) => {
                let (_, event) = due.remove(index);
                bench.event(event);
            }
            None => bench.step(),
        }
    }
    let mut lines: Vec<String> = bench.statuses.iter().map(line).collect();
    lines.dedup();
    lines
}

/// Holds our lines to the recorded ones: those must all be among ours, in their order. Gives back the others.
fn beside(ours: Vec<String>, recording: &str) -> Vec<String> {
    let rows = recording
        .lines()
        .map(|l| serde_json::from_str(l).expect("JSON"));
    let mut theirs: Vec<String> = rows.filter_map(|row: Value| recorded(&row)).collect();
    theirs.dedup();
    let mut theirs = theirs.into_iter().peekable();
    let mut others = Vec::new();
    for line in &ours {
        if theirs.peek() == Some(line) {
            theirs.next();
        } else {
            others.push(line.clone());
        }
    }
    assert!(
        theirs.peek().is_none(),
        "a kubelet showed\n  {}\nours were\n  {}",
        theirs.collect::<Vec<_>>().join("\n  "),
        ours.join("\n  ")
    );
    others
}

macro_rules! replay {
    ($name:literal, $life:expr, $seconds:expr) => {{
        let yaml = include_str!(concat!("recordings/", $name, ".yaml"));
        let rows = include_str!(concat!("recordings/", $name, ".jsonl"));
        beside(play($name, yaml, $life, $seconds), rows)
    }};
}

const NOT_READY: &str = "-ContainersReady:ContainersNotReady";

#[test]
fn two_containers() {
    let others = replay!("two-containers", |_| None, 60);
    // One starts after the other.
    assert_eq!(
        others,
        [format!(
            "Pending |  | side#0 -- ContainerCreating, web#0 rs running | {NOT_READY} +Initialized \
             +PodReadyToStartContainers +PodScheduled -Ready:ContainersNotReady"
        )]
    );
}

#[test]
fn never_fails() {
    let life: Life = |name| Some(if name == "bad" { (1000, 3) } else { (4000, 0) });
    let others = replay!("never-fails", life, 60);
    assert_eq!(
        others,
        [format!(
            "Pending |  | bad#0 rs running, good#0 -- ContainerCreating | {NOT_READY} +Initialized \
             +PodReadyToStartContainers +PodScheduled -Ready:ContainersNotReady"
        )]
    );
}

#[test]
fn never_succeeds() {
    let others = replay!("never-succeeds", |_| Some((2000, 0)), 60);
    assert_eq!(others, [""; 0]);
}

#[test]
fn init_two_in_order() {
    let others = replay!("init-two-in-order", |_| Some((2000, 0)), 60);
    let pending = |init: &str| {
        format!(
            "Pending | {init} | app#0 -- PodInitializing | {NOT_READY} \
             -Initialized:ContainersNotInitialized +PodReadyToStartContainers +PodScheduled \
             -Ready:ContainersNotReady"
        )
    };
    assert_eq!(
        others,
        [
            pending("one#0 -- PodInitializing, two#0 -- PodInitializing"),
            pending("one#0 r- Completed 0, two#0 -- PodInitializing"),
            // Recorded for the other Pods, but not for this one.
            "Succeeded | one#0 r- Completed 0, two#0 r- Completed 0 | app#0 -- Completed 0 | \
             -ContainersReady:PodCompleted +Initialized:PodCompleted -PodReadyToStartContainers \
             +PodScheduled -Ready:PodCompleted"
                .to_owned(),
        ]
    );
}

#[test]
fn init_crashloop_always() {
    let life: Life = |name| (name == "check-db").then_some((1000, 1));
    let others = replay!("init-crashloop-always", life, 80);
    // The recording ends a moment before.
    assert_eq!(
        others,
        [format!(
            "Pending | check-db#4 -- CrashLoopBackOff (back-off 1m20s restarting failed \
             container=check-db pod=init-crashloop-always_default(UID)) after Error 1 | \
             app#0 -- PodInitializing | {NOT_READY} -Initialized:ContainersNotInitialized \
             +PodReadyToStartContainers +PodScheduled -Ready:ContainersNotReady"
        )]
    );
}

#[test]
fn onfailure_crashloop() {
    let others = replay!("onfailure-crashloop", |_| Some((1, 1)), 80);
    // The recording ends a moment before.
    assert_eq!(
        others,
        [format!(
            "Running |  | crash#4 -- CrashLoopBackOff (back-off 1m20s restarting failed \
             container=crash pod=onfailure-crashloop_default(UID)) after Error 1 | {NOT_READY} \
             +Initialized +PodReadyToStartContainers +PodScheduled -Ready:ContainersNotReady"
        )]
    );
}

#[test]
fn sidecar_and_job() {
    let life: Life = |name| match name {
        "prepare" => Some((2000, 0)),
        "job" => Some((4000, 0)),
        _ => None,
    };
    let others = replay!("sidecar-and-job", life, 60);
    assert_eq!(
        others,
        [
            format!(
                "Pending | log-shipper#0 rs running, prepare#0 r- Completed 0 | \
                 job#0 -- PodInitializing | {NOT_READY} +Initialized +PodReadyToStartContainers \
                 +PodScheduled -Ready:ContainersNotReady"
            ),
            // The sandbox goes a moment after the last container.
            "Succeeded | log-shipper#0 -- Completed 0, prepare#0 r- Completed 0 | \
             job#0 -- Completed 0 | -ContainersReady:PodCompleted +Initialized:PodCompleted \
             +PodReadyToStartContainers +PodScheduled -Ready:PodCompleted"
                .to_owned(),
        ]
    );
}
