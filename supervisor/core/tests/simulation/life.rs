//! One simulated life of a Pod: engine, world and checks, in turns, to the end.

use carob_core::action::ProbeKind;
use carob_core::event::Event;
use carob_core::pod::{Container, Pod};
use carob_core::state::{Decision, PodState};
use carob_core::time::{Mono, Now};
use jiff::{SignedDuration, Timestamp};

use crate::check::{Check, Told};
use crate::choices::Choices;
use crate::scenario::{self, Happening, Scenario};
use crate::world::{Due, Stage, Weather, World};

/// How a life went.
#[derive(Debug, Default)]
pub struct Report {
    pub steps: u64,
    pub crashes: u64,
    pub done: bool,
    /// The invariant that broke.
    pub broken: Option<String>,
    /// What happened, when asked for.
    pub trace: Vec<String>,
}

/// Lives the life that `choices` describe.
pub fn live(choices: &mut Choices, traced: bool) -> Report {
    let scenario = scenario::draw(choices);
    let now = Now {
        mono: Mono(1_000_000),
        wall: Timestamp::from_second(1_700_000_000).expect("in range"),
    };
    let state = PodState::new(&scenario.pod, now);
    let check = Check::new(&scenario.pod, now.mono);
    let mut life = Life {
        choices,
        journal: state.clone(),
        written: check.told.clone(),
        state,
        check,
        world: World::default(),
        now,
        born: now.mono,
        scenario,
        traced,
        report: Report::default(),
        deletes: Vec::new(),
        moment: (now.mono, 0),
    };
    if let Err(broken) = life.run() {
        life.note(|| format!("BROKEN: {broken}"));
        life.report.broken = Some(broken);
    }
    life.report
}

struct Life<'a> {
    choices: &'a mut Choices,
    scenario: Scenario,
    state: PodState,
    journal: PodState,
    check: Check,
    written: Told,
    world: World,
    now: Now,
    born: Mono,
    traced: bool,
    report: Report,
    /// Deletions that someone insists on until they are written down.
    deletes: Vec<Option<u64>>,
    /// Steps at the present moment.
    moment: (Mono, u32),
}

/// A life that takes longer never comes to rest.
const MAX_STEPS: u64 = 20_000;
/// An engine that steps so often without a tick of the clock is spinning.
const MAX_STEPS_AT_ONCE: u32 = 200;

macro_rules! weather {
    ($life:expr) => {
        Weather {
            pod: &$life.scenario.pod,
            now: $life.now,
            calm: $life.now.mono.since($life.born) >= $life.scenario.calm_after,
            failing: $life.scenario.failing,
        }
    };
}

impl Life<'_> {
    fn run(&mut self) -> Result<(), String> {
        for (after, happening) in self.scenario.happenings.clone() {
            self.world
                .plan(self.born.plus_ms(after), Due::Happening(happening));
        }
        let pod = self.scenario.pod.clone();
        self.note(|| describe(&pod));
        let mut wake_at = self.step()?;
        loop {
            let Some(at) = wake_at.into_iter().chain(self.world.next_at()).min() else {
                return self.check_rest();
            };
            self.turn_to(at);
            let mut told = wake_at.is_some_and(|w| w <= self.now.mono);
            while let Some(due) = self.world.pop(self.now.mono) {
                if self.happen(due)? {
                    told = true;
                    if !self.scenario.batch {
                        break;
                    }
                }
            }
            if told {
                wake_at = self.step()?;
            }
            if self.report.done {
                return self.check_done();
            }
            if told && self.rests_but_for_probes() {
                return self.check_rest();
            }
        }
    }

    /// All is quiet but for probes that find what they found before.
    fn rests_but_for_probes(&self) -> bool {
        let weather = weather!(self);
        let pod = &self.scenario.pod;
        let mut all = pod.spec.all_containers();
        let asks = |c: &Container| ProbeKind::ALL.iter().any(|k| c.probe(*k).is_some());
        if !weather.calm || !all.any(asks) || !self.world.only_probes() {
            return false;
        }
        let ready = |c: &Container| {
            let memory = &self.state.memory.containers[&c.name];
            !self.world.is_running(&c.name) || memory.is_ready()
        };
        let mut state = self.state.clone();
        state.reconsider();
        let decision = state.step(&without_probes(pod), self.now);
        let idle = decision.actions.is_empty() && decision.wake_at.is_none();
        idle && pod.spec.all_containers().all(ready)
    }

    fn turn_to(&mut self, at: Mono) {
        let ms = at.since(self.now.mono);
        self.now.mono = self.now.mono.max(at);
        self.now.wall += SignedDuration::from_millis(ms as i64);
    }

    /// True when the engine was told something.
    fn happen(&mut self, due: Due) -> Result<bool, String> {
        match due {
            Due::Call(id) => {
                let weather = weather!(self);
                self.world.finish(id, self.choices, &weather)?;
            }
            Due::Exit(name, attempt, code) => {
                let weather = weather!(self);
                self.world
                    .exit(&name, attempt, code, self.choices, &weather);
            }
            Due::Tell(event) => {
                self.tell(event);
                return Ok(true);
            }
            Due::Happening(happening) => return self.befall(happening),
        }
        Ok(false)
    }

    fn befall(&mut self, happening: Happening) -> Result<bool, String> {
        self.note(|| format!("{happening:?}"));
        let weather = weather!(self);
        match happening {
            Happening::Delete(grace_seconds) => {
                self.deletes.push(grace_seconds);
                self.tell(Event::DeleteRequested { grace_seconds });
                return Ok(true);
            }
            Happening::SandboxDies => self.world.kill_sandbox(self.choices, &weather),
            Happening::ContainerLost(which) => self.world.lose(which, self.choices, &weather),
            Happening::ClockSet(secs) => self.now.wall += SignedDuration::from_secs(secs),
            Happening::Crash(down) => {
                self.crash(down)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn tell(&mut self, event: Event) {
        self.note(|| format!("  {event:?}"));
        let pod = &self.scenario.pod;
        self.check.event(pod, &event, &self.world, self.now.mono);
        self.state.observe(pod, event, self.now);
    }

    fn step(&mut self) -> Result<Option<Mono>, String> {
        self.report.steps += 1;
        if self.moment.0 != self.now.mono {
            self.moment = (self.now.mono, 0);
        }
        self.moment.1 += 1;
        if self.report.steps > MAX_STEPS || self.moment.1 > MAX_STEPS_AT_ONCE {
            return Err("does not come to rest".to_owned());
        }
        let decision = self.decide()?;
        let weather = weather!(self);
        let crash = !weather.calm && self.choices.chance(self.scenario.crashing);
        if crash && self.choices.chance(50) {
            self.note(|| "killed before the decision was written".to_owned());
            self.crash(0)?;
            return self.step();
        }
        if decision.save {
            self.journal = self.state.clone();
        } else if self.state != self.journal {
            return Err("what changed is not written down".to_owned());
        }
        let pod = &self.scenario.pod;
        self.check
            .decision(pod, &decision, &self.world, self.now.mono)?;
        if decision.save {
            self.written = self.check.told.clone();
        }
        self.deletes.clear();
        self.show(&decision);
        if decision.done.is_some() {
            self.report.done = true;
            return Ok(None);
        }
        let weather = weather!(self);
        for action in decision.actions {
            self.world.call(action, self.choices, &weather);
        }
        if crash {
            self.note(|| "killed after the decision was written".to_owned());
            self.crash(0)?;
            return self.step();
        }
        Ok(decision.wake_at)
    }

    /// A step that may take a short cut decides what the whole way leads to; seen now and then, as it takes its time.
    fn decide(&mut self) -> Result<Decision, String> {
        if !self.report.steps.is_multiple_of(8) {
            return Ok(self.state.step(&self.scenario.pod, self.now));
        }
        let mut whole = self.state.clone();
        whole.reconsider();
        let expected = whole.step(&self.scenario.pod, self.now);
        let decision = self.state.step(&self.scenario.pod, self.now);
        match decision == expected && self.state == whole {
            true => Ok(decision),
            false => Err("the short cut leads elsewhere".to_owned()),
        }
    }

    /// The supervisor is killed, and another one starts from what is written down.
    fn crash(&mut self, down: u64) -> Result<(), String> {
        self.report.crashes += 1;
        let weather = weather!(self);
        self.world.crash(self.choices, &weather)?;
        let json = serde_json::to_string(&self.journal).expect("a state is JSON");
        self.state = serde_json::from_str(&json).expect("its JSON is a state");
        if self.state != self.journal {
            return Err("what is read differs from what was written".to_owned());
        }
        self.check.told = self.written.clone();
        self.check.told.forget();
        self.turn_to(self.now.mono.plus_ms(down));
        self.moment = (self.now.mono, 0);
        self.state.resume();
        let weather = weather!(self);
        for event in self.world.adopt(&weather) {
            self.tell(event);
        }
        for grace_seconds in self.deletes.clone() {
            self.tell(Event::DeleteRequested { grace_seconds });
        }
        Ok(())
    }

    /// Nothing is going to happen any more: the Pod must be as it should.
    fn check_rest(&mut self) -> Result<(), String> {
        let before = self.state.clone();
        let pod = without_probes(&self.scenario.pod);
        self.state.reconsider();
        let decision = self.state.step(&pod, self.now);
        if !decision.actions.is_empty() || decision.wake_at.is_some() || before != self.state {
            return Err("a step at rest is not idle".to_owned());
        }
        if self.scenario.pod.spec.active_deadline_seconds.is_some() {
            return Err("rests, though it has a deadline".to_owned());
        }
        let hopeless = |name: &str| {
            let memory = &self.state.memory.containers[name];
            memory.retry_at == Some(Mono::NEVER)
        };
        let spec = &self.scenario.pod.spec;
        for container in &spec.init_containers {
            let running = self.world.is_running(&container.name);
            if hopeless(&container.name) {
                // What comes after it waits for ever.
                return Ok(());
            }
            if container.sidecar && !running {
                return Err(format!("rests without sidecar {}", container.name));
            }
            if !container.sidecar && self.world.find(&container.name).is_some() {
                return Err(format!("rests with init container {}", container.name));
            }
        }
        for container in &spec.containers {
            let ended = self.state.observed.containers[&container.name]
                .ended
                .is_some();
            let stage = self.world.find(&container.name).map(|i| i.stage);
            let over = stage.is_none() && ended;
            if stage != Some(Stage::Running) && !hopeless(&container.name) && !over {
                return Err(format!("rests without container {}", container.name));
            }
        }
        Ok(())
    }

    fn check_done(&mut self) -> Result<(), String> {
        let decision = self.state.step(&self.scenario.pod, self.now);
        if decision.done.is_none() || !decision.actions.is_empty() || decision.wake_at.is_some() {
            return Err("not done any more".to_owned());
        }
        Ok(())
    }

    fn show(&mut self, decision: &Decision) {
        if !self.traced {
            return;
        }
        for event in &decision.events {
            self.note(|| format!("    says {}: {}", event.reason, event.message));
        }
        for action in &decision.actions {
            self.note(|| format!("    does {action:?}"));
        }
        let status = &decision.status;
        let all = status.init_container_statuses.iter();
        let all = all.chain(&status.container_statuses);
        let states: Vec<_> = all
            .map(|c| format!("{}#{} {}", c.name, c.restart_count, crate::kit::describe(c)))
            .collect();
        let (phase, wake) = (status.phase, decision.wake_at);
        self.note(|| format!("    is {phase:?} [{}] wake {wake:?}", states.join(", ")));
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if self.traced {
            let ms = self.now.mono.since(self.born);
            self.report.trace.push(format!("{ms:>8} ms {}", text()));
        }
    }
}

fn without_probes(pod: &Pod) -> Pod {
    let mut pod = pod.clone();
    let spec = &mut pod.spec;
    for container in spec.init_containers.iter_mut().chain(&mut spec.containers) {
        container.startup_probe = None;
        container.liveness_probe = None;
        container.readiness_probe = None;
    }
    pod
}

fn describe(pod: &Pod) -> String {
    let spec = &pod.spec;
    let init = spec.init_containers.iter();
    let init: Vec<_> = init
        .map(|c| format!("{}{}", c.name, if c.sidecar { " (sidecar)" } else { "" }))
        .collect();
    let main: Vec<_> = spec.containers.iter().map(|c| &c.name).collect();
    format!(
        "{:?}, init {init:?}, containers {main:?}, grace {} s, deadline {:?}",
        spec.restart_policy, spec.termination_grace_period_seconds, spec.active_deadline_seconds
    )
}
