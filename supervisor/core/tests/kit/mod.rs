//! A Pod on a workbench: a fake runtime that does at once what it is told, and a clock that tests turn.

#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::{BTreeSet, VecDeque};

use carob_core::action::{Action, ProbeKind};
use carob_core::decide::Outcome;
use carob_core::event::{Event, ImageFailure, ProbeResult, StartFailure};
use carob_core::pod::{
    Container, HookHandler, Metadata, Pod, PodSpec, Port, Probe, ProbeHandler, RestartPolicy,
    TcpSocket,
};
use carob_core::state::{Decision, PodState};
use carob_core::status::{ConditionStatus, ContainerStatus, PodEvent, PodStatus};
use carob_core::time::{Mono, Now};
use jiff::{SignedDuration, Timestamp};

/// A container that runs `image:1`.
pub fn container(name: &str) -> Container {
    Container::new(name, "image:1")
}

/// A Pod of these init containers (`+` in front makes a sidecar) and containers.
pub fn pod(restart_policy: RestartPolicy, init: &[&str], main: &[&str]) -> Pod {
    let init = init.iter().map(|name| Container {
        sidecar: name.starts_with('+'),
        ..container(name.trim_start_matches('+'))
    });
    Pod {
        metadata: Metadata::new("pod", "uid"),
        spec: PodSpec {
            init_containers: init.collect(),
            restart_policy,
            ..PodSpec::new(main.iter().map(|name| container(name)).collect())
        },
    }
}

/// A probe with Kubernetes' defaults.
pub fn probe() -> Probe {
    let port = Port::Number(80);
    Probe {
        handler: ProbeHandler::TcpSocket(TcpSocket { host: None, port }),
        initial_delay_seconds: 0,
        timeout_seconds: 1,
        period_seconds: 10,
        success_threshold: 1,
        failure_threshold: 3,
        termination_grace_period_seconds: None,
    }
}

/// A hook.
pub fn hook() -> Option<HookHandler> {
    let command = vec!["hook".to_owned()];
    Some(HookHandler::Exec { command })
}

/// The workbench.
pub struct Bench {
    pub pod: Pod,
    pub state: PodState,
    pub now: Now,
    /// Issued and not answered, oldest first.
    pub actions: VecDeque<Action>,
    /// Every action ever issued, with its time.
    pub log: Vec<(Mono, Action)>,
    /// Every status that differed from the one before.
    pub statuses: Vec<PodStatus>,
    /// The event log.
    pub events: Vec<PodEvent>,
    /// Probes that fail.
    pub bad: BTreeSet<(String, ProbeKind)>,
    /// How many steps wanted the state written down.
    pub saves: usize,
    /// What the last step said.
    pub last: Option<Decision>,
}

impl Bench {
    pub fn new(pod: Pod) -> Self {
        let now = Now {
            mono: Mono(1_000_000),
            wall: Timestamp::from_second(1_700_000_000).expect("in range"),
        };
        let state = PodState::new(&pod, now);
        let mut bench = Self {
            pod,
            state,
            now,
            actions: VecDeque::new(),
            log: Vec::new(),
            statuses: Vec::new(),
            events: Vec::new(),
            bad: BTreeSet::new(),
            saves: 0,
            last: None,
        };
        bench.step();
        bench
    }

    /// Steps until no step asks for another one at once.
    pub fn step(&mut self) {
        for _ in 0..100 {
            let decision = self.state.step(&self.pod, self.now);
            for action in &decision.actions {
                self.log.push((self.now.mono, action.clone()));
                self.actions.push_back(action.clone());
            }
            self.events.extend(decision.events.clone());
            self.saves += usize::from(decision.save);
            if self.statuses.last() != Some(&decision.status) {
                self.statuses.push((*decision.status).clone());
            }
            let again = decision.wake_at.is_some_and(|at| at <= self.now.mono);
            self.last = Some(decision);
            if !again {
                return;
            }
        }
        panic!("a hundred steps at the same moment: {:?}", self.last);
    }

    pub fn event(&mut self, event: Event) {
        self.state.observe(&self.pod, event, self.now);
        self.step();
    }

    /// Answers what was issued, and what that leads to, except what `hold` holds back.
    pub fn answer_unless(&mut self, hold: impl Fn(&Action) -> bool) {
        let mut held = VecDeque::new();
        while let Some(action) = self.actions.pop_front() {
            if hold(&action) {
                held.push_back(action);
            } else if let Some(mut event) = success(&action, self.now.wall) {
                if let Event::Probed {
                    container,
                    kind,
                    result,
                    output,
                    ..
                } = &mut event
                    && self.bad.contains(&(container.clone(), *kind))
                {
                    *result = ProbeResult::Failure;
                    *output = "boom".to_owned();
                }
                self.event(event);
            }
        }
        self.actions = held;
    }

    pub fn answer(&mut self) {
        self.answer_unless(|_| false);
    }

    /// The oldest unanswered action, taken out to be answered by the test.
    pub fn take(&mut self) -> Action {
        self.actions.pop_front().expect("an action")
    }

    /// Turns the clock, stepping and answering whenever the Pod wants to be woken.
    pub fn advance(&mut self, ms: u64) {
        let end = self.now.mono.plus_ms(ms);
        while let Some(at) = self.wake_at().filter(|&at| at <= end) {
            self.turn_to(at);
            self.step();
            self.answer();
        }
        self.turn_to(end);
    }

    /// Turns the clock, stepping whenever the Pod wants to be woken; what it issues stays unanswered.
    pub fn advance_unanswered(&mut self, ms: u64) {
        let end = self.now.mono.plus_ms(ms);
        while let Some(at) = self.wake_at().filter(|&at| at <= end) {
            self.turn_to(at);
            self.step();
        }
        self.turn_to(end);
    }

    pub fn turn_to(&mut self, at: Mono) {
        let ms = at.since(self.now.mono);
        self.now.mono = at;
        self.now.wall += SignedDuration::from_millis(ms as i64);
    }

    pub fn wake_at(&self) -> Option<Mono> {
        self.last.as_ref().and_then(|d| d.wake_at)
    }

    /// The probe that is under way is answered.
    pub fn probed(&mut self, name: &str, kind: ProbeKind, result: ProbeResult) {
        let under_way = |a: &Action| matches!(a, Action::Probe { container, kind: k, .. } if container == name && *k == kind);
        let index = self.actions.iter().position(under_way);
        let action = index.and_then(|index| self.actions.remove(index));
        let Some(Action::Probe { attempt, .. }) = action else {
            panic!("no such probe in {:?}", self.actions);
        };
        self.event(Event::Probed {
            container: name.to_owned(),
            attempt,
            kind,
            result,
            output: "boom".to_owned(),
        });
    }

    /// How many signals were sent in all.
    pub fn signal_count(&self) -> usize {
        let signals = self
            .log
            .iter()
            .filter(|l| matches!(l.1, Action::Signal { .. }));
        signals.count()
    }

    /// When such actions were issued, in milliseconds of the Pod's life.
    pub fn times(&self, what: &str) -> Vec<u64> {
        let like = self.log.iter().filter(|l| short(&l.1).starts_with(what));
        like.map(|l| l.0.since(Mono(1_000_000))).collect()
    }

    /// The container's newest instance ends.
    pub fn exit(&mut self, name: &str, exit_code: i32) {
        let instance = self.state.observed.containers[name].instance.as_ref();
        let attempt = instance.expect("an instance").attempt;
        self.event(Event::ContainerExited {
            container: name.to_owned(),
            attempt,
            exit_code,
            signal: None,
            at: self.now.wall,
            message: None,
        });
    }

    /// Answers with a failure what was asked for last.
    pub fn fail_start(&mut self, name: &str, reason: StartFailure) {
        let instance = self.state.observed.containers[name].instance.as_ref();
        let attempt = instance.expect("an instance").attempt;
        self.event(Event::ContainerFailed {
            container: name.to_owned(),
            attempt,
            reason,
            message: "boom".to_owned(),
        });
    }

    pub fn fail_image(&mut self, name: &str, reason: ImageFailure) {
        self.event(Event::ImageFailed {
            container: name.to_owned(),
            reason,
            message: "boom".to_owned(),
        });
    }

    pub fn delete(&mut self, grace_seconds: Option<u64>) {
        self.event(Event::DeleteRequested { grace_seconds });
    }

    /// Milliseconds from now until the Pod wants to be woken.
    pub fn sleeps(&self) -> Option<u64> {
        self.wake_at().map(|at| at.since(self.now.mono))
    }

    pub fn done(&self) -> Option<Outcome> {
        self.last.as_ref().and_then(|d| d.done)
    }

    /// The signals sent since the last call, as `name Kill`.
    pub fn signals(&mut self) -> Vec<String> {
        let signal = |action: &Action| match action {
            Action::Signal {
                container, signal, ..
            } => Some(format!("{container} {signal:?}")),
            _ => None,
        };
        let sent = self.actions.iter().filter_map(signal).collect();
        self.actions.retain(|a| signal(a).is_none());
        sent
    }

    /// What was issued and not answered, in short.
    pub fn pending(&self) -> Vec<String> {
        self.actions.iter().map(short).collect()
    }

    /// Status, reason and message of a condition.
    pub fn condition(&self, kind: &str) -> (bool, &str, &str) {
        let mut all = self.status().conditions.iter();
        let condition = all.find(|c| c.kind == kind).expect("a condition");
        (
            condition.status == ConditionStatus::True,
            condition.reason.as_deref().unwrap_or_default(),
            condition.message.as_deref().unwrap_or_default(),
        )
    }

    pub fn status(&self) -> &PodStatus {
        self.statuses.last().expect("a status")
    }

    pub fn container(&self, name: &str) -> &ContainerStatus {
        let status = self.status();
        let mut all = status
            .init_container_statuses
            .iter()
            .chain(&status.container_statuses);
        all.find(|c| c.name == name).expect("a container")
    }

    /// What the container is doing: `running`, `waiting REASON` or `terminated REASON`.
    pub fn doing(&self, name: &str) -> String {
        describe(self.container(name))
    }

    /// The newest entries of the event log that have this reason.
    pub fn told(&self, reason: &str) -> Vec<&str> {
        let of = |e: &&PodEvent| e.reason == reason;
        self.events
            .iter()
            .filter(of)
            .map(|e| e.message.as_str())
            .collect()
    }
}

/// An action as `create web 0`.
pub fn short(action: &Action) -> String {
    match action {
        Action::CreateSandbox { attempt } => format!("create sandbox {attempt}"),
        Action::RemoveSandbox { attempt, last } => {
            let last = if *last { " with volumes" } else { "" };
            format!("remove sandbox {attempt}{last}")
        }
        Action::EnsureImage { container } => format!("image {container}"),
        Action::CreateContainer { container, attempt } => format!("create {container} {attempt}"),
        Action::StartContainer { container, attempt } => format!("start {container} {attempt}"),
        Action::RemoveContainer { container, attempt } => format!("remove {container} {attempt}"),
        Action::Probe {
            container, kind, ..
        } => format!("{kind:?} {container}"),
        Action::PostStart { container, .. } => format!("postStart {container}"),
        Action::PreStop { container, .. } => format!("preStop {container}"),
        Action::Signal {
            container, signal, ..
        } => format!("{signal:?} {container}"),
    }
}

pub fn describe(container: &ContainerStatus) -> String {
    let state = &container.state;
    if let Some(waiting) = &state.waiting {
        format!("waiting {}", waiting.reason)
    } else if let Some(terminated) = &state.terminated {
        format!("terminated {}", terminated.reason)
    } else {
        "running".to_owned()
    }
}

/// The answer of a runtime where everything works.
pub fn success(action: &Action, wall: Timestamp) -> Option<Event> {
    Some(match action.clone() {
        Action::CreateSandbox { attempt } => Event::SandboxCreated {
            attempt,
            id: format!("sandbox-{attempt}"),
            pid: 1000,
            ips: vec!["10.0.0.2".parse().expect("an address")],
        },
        Action::RemoveSandbox { attempt, last } => Event::SandboxRemoved { attempt, last },
        Action::EnsureImage { container } => Event::ImageReady {
            container,
            image_id: "sha256:0".to_owned(),
            image: "registry/image:1".to_owned(),
            pulled: None,
        },
        Action::CreateContainer { container, attempt } => Event::ContainerCreated {
            id: format!("{container}-{attempt}"),
            container,
            attempt,
        },
        Action::StartContainer { container, attempt } => Event::ContainerStarted {
            container,
            attempt,
            pid: 2000,
            at: wall,
        },
        Action::RemoveContainer { container, attempt } => {
            Event::ContainerRemoved { container, attempt }
        }
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
        Action::PostStart { container, attempt } => Event::PostStartDone {
            container,
            attempt,
            failure: None,
        },
        Action::PreStop {
            container, attempt, ..
        } => Event::PreStopDone {
            container,
            attempt,
            failure: None,
        },
        Action::Signal { .. } => return None,
    })
}
