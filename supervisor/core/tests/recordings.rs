//! Replays what a kubelet reported: given the same exits, our status goes through the same states, in the
//! same order, and whatever else it shows is listed here.

mod kit;
#[path = "recordings/line.rs"]
mod line;

use std::collections::BTreeMap;

use carob_core::action::{Action, Signal};
use carob_core::event::{Event, ProbeResult};
use carob_core::parse::parse_manifest;
use carob_core::time::Mono;
use kit::Bench;
use line::{line, recorded};
use serde_json::Value;

/// When an instance of a container ends by itself (milliseconds after its start) and with which code.
type Life = fn(container: &str) -> Option<(u64, i32)>;

/// What else the programs do.
struct Habits {
    life: Life,
    /// Whether a probe succeeds so many milliseconds after the start.
    healthy: fn(u64) -> bool,
    /// How long each hook takes, and why it fails.
    hook: (u64, Option<&'static str>),
    /// Milliseconds after the stop signal, and the code; none for a program that ignores it.
    stops: Option<(u64, i32)>,
    /// When someone deletes the Pod.
    deleted: Option<u64>,
}

impl From<Life> for Habits {
    fn from(life: Life) -> Self {
        Self {
            life,
            healthy: |_| true,
            hook: (10, None),
            stops: Some((100, 0)),
            deleted: None,
        }
    }
}

/// Runs the Pod, its containers living as told, each call taking 10 ms, for so many seconds.
fn play(name: &str, yaml: &str, habits: &Habits, seconds: u64) -> Vec<String> {
    let manifest = parse_manifest(yaml.as_bytes(), name, &mut || "UID".to_owned());
    let pod = manifest.expect("a manifest").pods.remove(0);
    let mut bench = Bench::new(pod);
    let born = bench.now.mono;
    let mut due: Vec<(Mono, Event)> = Vec::new();
    if let Some(after) = habits.deleted {
        let grace_seconds = None;
        due.push((
            born.plus_ms(after),
            Event::DeleteRequested { grace_seconds },
        ));
    }
    let mut started: BTreeMap<String, Mono> = BTreeMap::new();
    loop {
        while let Some(action) = bench.actions.pop_front() {
            let at = bench.now.mono.plus_ms(10);
            let (container, attempt) = match &action {
                Action::StartContainer { container, attempt }
                | Action::Signal {
                    container, attempt, ..
                } => (container.clone(), *attempt),
                _ => Default::default(),
            };
            let exit = |(after, exit_code): (u64, i32)| {
                let event = Event::ContainerExited {
                    container,
                    attempt,
                    exit_code,
                    signal: None,
                    at: bench.now.wall,
                    message: None,
                };
                (at.plus_ms(after), event)
            };
            let mut answer = kit::success(&action, bench.now.wall);
            let mut took = 0;
            match &action {
                Action::StartContainer { container, .. } => {
                    started.insert(container.clone(), at);
                    due.extend((habits.life)(container).map(exit));
                }
                Action::Signal { signal, .. } => due.extend(match signal {
                    Signal::StopSignal => habits.stops.map(exit),
                    Signal::Kill => Some(exit((0, 137))),
                }),
                _ => {}
            }
            match &mut answer {
                Some(Event::Probed {
                    container, result, ..
                }) if !(habits.healthy)(at.since(started[container])) => {
                    *result = ProbeResult::Failure;
                }
                Some(Event::PostStartDone { failure, .. } | Event::PreStopDone { failure, .. }) => {
                    took = habits.hook.0;
                    *failure = habits.hook.1.map(str::to_owned);
                }
                _ => {}
            }
            due.extend(answer.map(|event| (at.plus_ms(took), event)));
        }
        let next = due.iter().map(|d| d.0).chain(bench.wake_at()).min();
        let Some(at) = next.filter(|&at| at <= born.plus_secs(seconds)) else {
            break;
        };
        bench.turn_to(at);
        let first = due.iter().enumerate().filter(|(_, d)| d.0 <= at);
        match first.min_by_key(|(index, d)| (d.0, *index)).map(|f| f.0) {
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
        let habits = Habits::from($life);
        beside(play($name, yaml, &habits, $seconds), rows)
    }};
}

const LIVES: Life = |_| None;

const NOT_READY: &str = "-ContainersReady:ContainersNotReady";

#[test]
fn two_containers() {
    let others = replay!("two-containers", (|_| None) as Life, 60);
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
    let others = replay!("never-succeeds", (|_| Some((2000, 0))) as Life, 60);
    assert_eq!(others, [""; 0]);
}

#[test]
fn init_two_in_order() {
    let others = replay!("init-two-in-order", (|_| Some((2000, 0))) as Life, 60);
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
    let others = replay!("onfailure-crashloop", (|_| Some((1, 1))) as Life, 80);
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

/// The Pod of one container, as `Running`.
fn running(app: &str, ready: bool) -> String {
    let (ready, not) = match ready {
        true => ("+ContainersReady", "+Ready"),
        false => (NOT_READY, "-Ready:ContainersNotReady"),
    };
    format!(
        "Running |  | {app} | {ready} +Initialized +PodReadyToStartContainers +PodScheduled {not}"
    )
}

#[test]
fn liveness_exec() {
    let habits = Habits {
        // Its file is there for 8 seconds, and SIGTERM is nothing to it.
        healthy: |ms| ms < 8_000,
        stops: None,
        ..Habits::from(LIVES)
    };
    let others = replay!("liveness-exec", habits, 34);
    // Between the end of one and the start of the next. The second time, too, there is no back-off.
    assert_eq!(
        others,
        [
            running("app#0 -- Error 137", false),
            running("app#1 -- Error 137 after Error 137", false),
        ]
    );
}

#[test]
fn readiness_http() {
    let habits = Habits {
        // Two failures make it unready.
        healthy: |ms| (5_000..15_000).contains(&ms),
        ..Habits::from(LIVES)
    };
    let others = replay!("readiness-http", habits, 60);
    assert_eq!(others, [""; 0]);
}

#[test]
fn poststart_fails() {
    let why = "Exec lifecycle hook ([sh -c sleep 1; exit 7]) for Container \"app\" in Pod \
               \"poststart-fails_default(UID)\" failed - error: command 'sh -c sleep 1; exit 7' \
               exited with 7: , message: \"\"";
    let habits = Habits {
        hook: (1_000, Some(why)),
        ..Habits::from(LIVES)
    };
    let others = replay!("poststart-fails", habits, 40);
    assert_eq!(others, [""; 0]);
}

#[test]
fn prestop_deleted() {
    let habits = Habits {
        hook: (3_000, None),
        stops: Some((1_000, 0)),
        deleted: Some(6_000),
        ..Habits::from(LIVES)
    };
    let others = replay!("prestop-deleted", habits, 60);
    // A static Pod is no more listed once it is deleted: the recording ends there.
    let after = "Succeeded |  | app#0 -- Completed 0 | -ContainersReady:PodCompleted +Initialized:PodCompleted";
    assert_eq!(
        others,
        [
            format!("{after} +PodReadyToStartContainers +PodScheduled -Ready:PodCompleted"),
            format!("{after} -PodReadyToStartContainers +PodScheduled -Ready:PodCompleted"),
        ]
    );
}
