//! A runtime that is not there: sandboxes and containers, calls that take time and fail, exits.

use carob_core::action::Action;
use carob_core::event::Event;
use carob_core::pod::Pod;
use carob_core::time::{Mono, Now};

use crate::choices::Choices;
use crate::scenario::Happening;

/// What exists, and what is going to happen.
#[derive(Default)]
pub struct World {
    pub sandboxes: Vec<Sandbox>,
    /// The Pod has volumes.
    pub volumes: bool,
    pub containers: Vec<Instance>,
    pub calls: Vec<Call>,
    due: Vec<(Mono, u64, Due)>,
    serial: u64,
}

#[derive(Debug)]
pub struct Sandbox {
    pub attempt: u32,
    pub alive: bool,
}

#[derive(Debug)]
pub struct Instance {
    pub name: String,
    pub attempt: u32,
    pub sandbox: u32,
    pub stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Created,
    /// Could not be started.
    Dud,
    Running,
    Exited(i32),
    /// Ended, nobody knows how.
    Lost,
}

/// A call under way.
#[derive(Debug)]
pub struct Call {
    id: u64,
    pub action: Action,
    fails: bool,
}

/// What comes at some time.
#[derive(Debug)]
pub enum Due {
    /// A call ends.
    Call(u64),
    /// A container's program ends.
    Exit(String, u32, i32),
    /// An event reaches the Pod.
    Tell(Event),
    /// From outside.
    Happening(Happening),
}

/// What the surroundings are like.
pub struct Weather<'a> {
    pub pod: &'a Pod,
    pub now: Now,
    /// Nothing goes wrong any more.
    pub calm: bool,
    pub failing: u32,
}

impl World {
    pub fn plan(&mut self, at: Mono, due: Due) {
        self.serial += 1;
        self.due.push((at, self.serial, due));
    }

    /// Nothing but probes is under way or to come.
    pub fn only_probes(&self) -> bool {
        let is_probe = |action: &Action| matches!(action, Action::Probe { .. });
        let probe = |due: &Due| match due {
            Due::Call(id) => {
                let call = self.calls.iter().find(|c| c.id == *id);
                call.is_none_or(|c| is_probe(&c.action))
            }
            Due::Tell(event) => matches!(event, Event::Probed { .. }),
            Due::Exit(..) | Due::Happening(_) => false,
        };
        self.due.iter().all(|(_, _, due)| probe(due))
            && self.calls.iter().all(|c| is_probe(&c.action))
    }

    pub fn next_at(&self) -> Option<Mono> {
        self.due.iter().map(|d| d.0).min()
    }

    /// The first thing that is due by `now`.
    pub fn pop(&mut self, now: Mono) -> Option<Due> {
        let due = self.due.iter().enumerate().filter(|(_, d)| d.0 <= now);
        let (index, _) = due.min_by_key(|(_, d)| (d.0, d.1))?;
        Some(self.due.swap_remove(index).2)
    }

    /// Whether something is under way for the action's target. Probes and hooks of an instance that has ended
    /// hinder nobody.
    pub fn is_busy(&self, action: &Action) -> bool {
        let other = |other: &Action| match (action, other) {
            (
                Action::Probe { attempt, .. }
                | Action::PostStart { attempt, .. }
                | Action::PreStop { attempt, .. },
                Action::Probe { attempt: of, .. }
                | Action::PostStart { attempt: of, .. }
                | Action::PreStop { attempt: of, .. },
            ) => attempt != of,
            _ => false,
        };
        let target = action.target();
        let mut calls = self.calls.iter().map(|c| &c.action);
        calls.any(|a| a.target() == target && !other(a))
    }

    pub fn find(&self, name: &str) -> Option<&Instance> {
        self.containers.iter().find(|c| c.name == name)
    }

    pub fn is_running(&self, name: &str) -> bool {
        self.find(name).is_some_and(|i| i.stage == Stage::Running)
    }

    /// A call begins.
    pub fn call(&mut self, action: Action, choices: &mut Choices, weather: &Weather<'_>) {
        let took = if weather.calm {
            5
        } else {
            choices.pick(&[5, 0, 50, 50, 2_000, 30_000])
        };
        let took = match &action {
            Action::PreStop { within_ms, .. } => took.min(*within_ms),
            _ => took,
        };
        let fails = !weather.calm && choices.chance(weather.failing);
        match &action {
            Action::Signal {
                container, attempt, ..
            } => self.give_up(container, *attempt, false, choices, weather),
            Action::PreStop {
                container, attempt, ..
            } => self.give_up(container, *attempt, false, choices, weather),
            _ => {}
        }
        self.serial += 1;
        let id = self.serial;
        let at = weather.now.mono.plus_ms(took);
        if let Action::EnsureImage { container } = &action
            && took > 0
        {
            let container = container.clone();
            self.plan(
                weather.now.mono,
                Due::Tell(Event::PullStarted { container }),
            );
        }
        self.calls.push(Call { id, action, fails });
        self.plan(at, Due::Call(id));
    }

    /// Nobody waits any more for the hooks of an instance, nor, when it has ended, for its probes. What they
    /// answer now may come all the same.
    fn give_up(
        &mut self,
        name: &str,
        of: u32,
        ended: bool,
        choices: &mut Choices,
        weather: &Weather<'_>,
    ) {
        let given_up = |call: &Call| match &call.action {
            Action::PostStart { container, attempt }
            | Action::PreStop {
                container, attempt, ..
            } => container == name && *attempt == of,
            Action::Probe {
                container, attempt, ..
            } => ended && container == name && *attempt == of,
            _ => false,
        };
        let (gone, rest) = std::mem::take(&mut self.calls)
            .into_iter()
            .partition(given_up);
        self.calls = rest;
        let gone: Vec<Call> = gone;
        for call in gone {
            if choices.chance(30)
                && let Ok(Some(answer)) = self.effect(&call.action, true, choices, weather)
            {
                self.tell(answer, choices, weather);
            }
        }
    }

    /// A call ends.
    pub fn finish(
        &mut self,
        id: u64,
        choices: &mut Choices,
        weather: &Weather<'_>,
    ) -> Result<(), String> {
        let Some(index) = self.calls.iter().position(|c| c.id == id) else {
            return Ok(());
        };
        let call = self.calls.swap_remove(index);
        if let Some(answer) = self.effect(&call.action, call.fails, choices, weather)? {
            self.tell(answer, choices, weather);
        }
        Ok(())
    }

    /// The supervisor is killed: its calls end now or never, their answers are lost.
    pub fn crash(&mut self, choices: &mut Choices, weather: &Weather<'_>) -> Result<(), String> {
        for call in std::mem::take(&mut self.calls) {
            if choices.chance(50) {
                self.effect(&call.action, call.fails, choices, weather)?;
            }
        }
        self.due
            .retain(|(_, _, due)| !matches!(due, Due::Call(_) | Due::Tell(_)));
        Ok(())
    }

    /// What a supervisor finds when it looks around.
    pub fn adopt(&self, weather: &Weather<'_>) -> Vec<Event> {
        let at = weather.now.wall;
        let mut events = Vec::new();
        for sandbox in self.sandboxes.iter().filter(|s| !s.alive) {
            let attempt = sandbox.attempt;
            events.push(Event::SandboxExited { attempt });
        }
        for instance in &self.containers {
            let (container, attempt) = (instance.name.clone(), instance.attempt);
            match instance.stage {
                Stage::Running => events.push(Event::ContainerStarted {
                    container,
                    attempt,
                    pid: 1,
                    at,
                }),
                Stage::Exited(code) => events.push(exited(container, attempt, code, weather)),
                Stage::Lost => events.push(lost(container, attempt, weather)),
                Stage::Created | Stage::Dud => {}
            }
        }
        events
    }

    fn tell(&mut self, event: Event, choices: &mut Choices, weather: &Weather<'_>) {
        let now = weather.now.mono;
        let fact = matches!(
            event,
            Event::SandboxExited { .. }
                | Event::SandboxRemoved { .. }
                | Event::ContainerStarted { .. }
                | Event::ContainerOom { .. }
                | Event::ContainerExited { .. }
                | Event::ContainerLost { .. }
                | Event::ContainerRemoved { .. }
        );
        if weather.calm {
            self.plan(now, Due::Tell(event));
            return;
        }
        let late = choices.pick(&[0, 0, 0, 5, 500]);
        if fact && choices.chance(4) {
            let again = now.plus_ms(choices.pick(&[0, 1_000, 60_000]));
            self.plan(again, Due::Tell(event.clone()));
        }
        self.plan(now.plus_ms(late), Due::Tell(event));
    }

    /// A container's program ends.
    pub fn exit(
        &mut self,
        name: &str,
        attempt: u32,
        code: i32,
        choices: &mut Choices,
        weather: &Weather<'_>,
    ) {
        let running = |i: &&mut Instance| i.name == name && i.attempt == attempt;
        let Some(instance) = self.containers.iter_mut().find(running) else {
            return;
        };
        if instance.stage != Stage::Running {
            return;
        }
        instance.stage = Stage::Exited(code);
        self.give_up(name, attempt, true, choices, weather);
        let name = name.to_owned();
        if code == 137 && choices.chance(50) {
            let container = name.clone();
            self.tell(Event::ContainerOom { container, attempt }, choices, weather);
        }
        self.tell(exited(name, attempt, code, weather), choices, weather);
    }

    pub fn kill_sandbox(&mut self, choices: &mut Choices, weather: &Weather<'_>) {
        let Some(sandbox) = self.sandboxes.iter_mut().find(|s| s.alive) else {
            return;
        };
        sandbox.alive = false;
        let attempt = sandbox.attempt;
        self.tell(Event::SandboxExited { attempt }, choices, weather);
        if choices.chance(50) {
            let now = weather.now.mono;
            let running = self.containers.iter().filter(|i| i.stage == Stage::Running);
            let exits: Vec<_> = running
                .map(|i| Due::Exit(i.name.clone(), i.attempt, 137))
                .collect();
            for exit in exits {
                self.plan(now, exit);
            }
        }
    }

    pub fn lose(&mut self, which: usize, choices: &mut Choices, weather: &Weather<'_>) {
        let mut running = self
            .containers
            .iter_mut()
            .filter(|i| i.stage == Stage::Running);
        if let Some(instance) = running.nth(which) {
            instance.stage = Stage::Lost;
            let (name, attempt) = (instance.name.clone(), instance.attempt);
            self.give_up(&name, attempt, true, choices, weather);
            self.tell(lost(name, attempt, weather), choices, weather);
        }
    }
}

fn exited(container: String, attempt: u32, exit_code: i32, weather: &Weather<'_>) -> Event {
    Event::ContainerExited {
        container,
        attempt,
        exit_code,
        signal: None,
        at: weather.now.wall,
        message: None,
    }
}

fn lost(container: String, attempt: u32, weather: &Weather<'_>) -> Event {
    Event::ContainerLost {
        container,
        attempt,
        at: weather.now.wall,
        message: "made to vanish".to_owned(),
    }
}
