//! What one decision costs: the step of a Pod at rest, and a probe from its issue to the step after its answer;
//! for one Pod, and for 1,000 in turn, which no cache holds.

#![allow(missing_docs, reason = "what criterion makes has none")]

use std::hint::black_box;

use carob_core::action::Action;
use carob_core::event::{Event, ProbeResult};
use carob_core::parse::parse_manifest;
use carob_core::pod::Pod;
use carob_core::state::PodState;
use carob_core::time::{Mono, Now};
use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;

/// Two containers and a sidecar, each with its probes.
const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  initContainers:
  - {name: proxy, image: p:1, restartPolicy: Always, startupProbe: {tcpSocket: {port: 80}}}
  containers:
  - name: web
    image: w:1
    livenessProbe: {httpGet: {port: 80}, periodSeconds: 1}
    readinessProbe: {httpGet: {port: 80}, periodSeconds: 1}
  - name: app
    image: a:1
    livenessProbe: {exec: {command: [check]}, periodSeconds: 1}
"#;

struct One {
    pod: Pod,
    state: PodState,
    now: Now,
}

impl One {
    /// A Pod that runs and is ready.
    fn up(number: usize) -> Self {
        let manifest = parse_manifest(POD.as_bytes(), "bench", &mut || format!("uid-{number}"));
        let pod = manifest.expect("a manifest").pods.remove(0);
        let now = Now {
            mono: Mono(1_000_000),
            wall: Timestamp::UNIX_EPOCH,
        };
        let state = PodState::new(&pod, now);
        let mut one = Self { pod, state, now };
        let mut actions = one.state.step(&one.pod, now).actions;
        while !actions.is_empty() {
            actions = one.answer(actions);
        }
        one
    }

    /// Answers each action, one step for each; gives what they lead to.
    fn answer(&mut self, actions: Vec<Action>) -> Vec<Action> {
        let mut next = Vec::new();
        for action in actions {
            if let Some(event) = success(action, self.now) {
                self.state.observe(&self.pod, event, self.now);
                next.extend(self.state.step(&self.pod, self.now).actions);
            }
        }
        next
    }

    fn at_rest(&mut self) {
        black_box(self.state.step(&self.pod, self.now));
    }

    /// A second passes: three probes, four steps.
    fn second(&mut self) {
        self.now.mono = self.now.mono.plus_ms(1_000);
        let actions = self.state.step(&self.pod, self.now).actions;
        assert_eq!(actions.len(), 3);
        black_box(self.answer(actions));
    }
}

fn success(action: Action, now: Now) -> Option<Event> {
    Some(match action {
        Action::CreateSandbox { attempt } => Event::SandboxCreated {
            attempt,
            id: "sandbox".to_owned(),
            pid: 1,
            ips: Vec::new(),
        },
        Action::EnsureImage { container } => Event::ImageReady {
            container,
            image_id: "sha256:0".to_owned(),
            image: "image:1".to_owned(),
            pulled: None,
        },
        Action::CreateContainer { container, attempt } => Event::ContainerCreated {
            id: "id".to_owned(),
            container,
            attempt,
        },
        Action::StartContainer { container, attempt } => Event::ContainerStarted {
            container,
            attempt,
            pid: 2,
            at: now.wall,
        },
        Action::Probe {
            container,
            attempt,
            kind,
        } => Event::Probed {
            container,
            attempt,
            kind,
            result: ProbeResult::Success,
            output: String::new(),
        },
        _ => return None,
    })
}

fn decide(c: &mut Criterion) {
    for count in [1, 1000] {
        let mut pods: Vec<One> = (0..count).map(One::up).collect();
        let mut turn = 0;
        let mut next = move || {
            turn = (turn + 1) % count;
            turn
        };
        c.bench_function(&format!("step at rest, {count} Pods"), |b| {
            b.iter(|| pods[next()].at_rest());
        });
        c.bench_function(&format!("three probes, four steps, {count} Pods"), |b| {
            b.iter(|| pods[next()].second());
        });
    }
}

criterion_group!(benches, decide);
criterion_main!(benches);
