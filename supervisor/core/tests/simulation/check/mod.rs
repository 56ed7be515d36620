//! The invariants. They are found anew here from what was told and done, not taken from the engine.

mod action;
mod asked;
mod status;

use std::collections::BTreeMap;

use carob_core::action::Action;
use carob_core::event::{Event, StartFailure};
use carob_core::pod::{Container, Pod, RestartAction, RestartPolicy};
use carob_core::state::Decision;
use carob_core::status::Phase;
use carob_core::time::Mono;

use crate::world::World;

/// What the supervisor was told and has written down. A crash takes it back to what was written.
#[derive(Clone, Default)]
pub struct Told {
    containers: BTreeMap<String, Known>,
    deletes: Vec<(Mono, u64)>,
    sandbox_dead: Option<Mono>,
    /// The last sandbox that failed or ended, and before when there is to be no other.
    sandbox_over: Option<(u32, Mono)>,
    finished: Option<Mono>,
    /// The last sandbox is removed, with the volumes.
    last: bool,
    /// A rule asked for all containers to be restarted, and they have not begun again.
    restart_all: Option<Mono>,
    phase: Option<Phase>,
}

#[derive(Clone, Default)]
struct Known {
    ended: Option<Over>,
    /// When the instance before that ended.
    before: Option<Mono>,
    /// A probe brought the end about, and no back-off is due.
    at_once: bool,
    asked: asked::Asked,
    /// Crash delay and when it was last raised.
    delay: Option<(u64, Mono)>,
    /// A new instance was begun since the last end or failure.
    begun: bool,
    first_stop: Option<Mono>,
    /// Sent again after a crash.
    last_stop: Option<Mono>,
    killed: bool,
    /// The last try failed: no other one before this.
    next_try: Mono,
    /// The number of the next instance.
    next: u32,
    shown: u32,
}

/// How an instance ended.
#[derive(Debug, Clone, Copy)]
struct Over {
    attempt: u32,
    code: i32,
    sandbox: u32,
    at: Mono,
    by: By,
}

/// What ended an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Itself,
    Probe,
    RestartAll,
}

impl Told {
    /// The supervisor was killed: what it had under way counts for nothing.
    pub fn forget(&mut self) {
        for known in self.containers.values_mut() {
            known.asked.forget();
        }
    }
}

pub struct Check {
    pub told: Told,
    accepted: Mono,
    deadline: Option<u64>,
    grace: u64,
}

type Verdict = Result<(), String>;

fn ensure(holds: bool, broken: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(broken()) }
}

impl Check {
    pub fn new(pod: &Pod, now: Mono) -> Self {
        let names = pod.spec.all_containers().map(|c| c.name.clone());
        Self {
            told: Told {
                containers: names.map(|n| (n, Known::default())).collect(),
                ..Told::default()
            },
            accepted: now,
            deadline: pod.spec.active_deadline_seconds.map(|s| s * 1000),
            grace: pod.spec.termination_grace_period_seconds.max(1) * 1000,
        }
    }

    /// The engine is told of `event`.
    pub fn event(&mut self, pod: &Pod, event: &Event, world: &World, now: Mono) {
        self.asked_event(pod, event, now);
        match event {
            Event::DeleteRequested { grace_seconds } => {
                let grace = match grace_seconds {
                    Some(0) => 0,
                    Some(secs) => secs * 1000,
                    None => self.grace,
                };
                self.told.deletes.push((now, grace));
            }
            Event::SandboxExited { attempt } => {
                let news = world.sandboxes.iter().any(|s| s.attempt == *attempt);
                if news {
                    self.told.sandbox_dead.get_or_insert(now);
                    self.sandbox_over(*attempt, now);
                }
            }
            Event::SandboxFailed { attempt, .. } => self.sandbox_over(*attempt, now),
            Event::ImageFailed { container, .. } => {
                let this = self.of(container);
                this.begun = false;
                this.next_try = now.plus_ms(10_000);
            }
            Event::ContainerFailed {
                container,
                attempt,
                reason,
                ..
            } => {
                let this = self.of(container);
                this.begun = false;
                if *reason != StartFailure::RunContainerError {
                    this.next_try = now.plus_ms(10_000);
                } else {
                    self.ended(pod, container, *attempt, 128, world, now);
                }
            }
            Event::ContainerExited {
                container,
                attempt,
                exit_code,
                ..
            } => self.ended(pod, container, *attempt, *exit_code, world, now),
            Event::ContainerRemoved { container, attempt } => {
                let next = &mut self.of(container).next;
                *next = (*next).max(attempt + 1);
            }
            Event::ContainerLost {
                container, attempt, ..
            } => self.ended(pod, container, *attempt, 137, world, now),
            _ => {}
        }
    }

    fn sandbox_over(&mut self, attempt: u32, now: Mono) {
        if self.told.sandbox_over.is_none_or(|o| o.0 < attempt) {
            self.told.sandbox_over = Some((attempt, now.plus_ms(1_000)));
        }
    }

    fn of(&mut self, container: &str) -> &mut Known {
        let containers = &mut self.told.containers;
        containers.get_mut(container).expect("a container")
    }

    fn ended(&mut self, pod: &Pod, name: &str, attempt: u32, code: i32, world: &World, now: Mono) {
        let sandbox = world.find(name).map(|i| i.sandbox);
        let this = self.of(name);
        if this.ended.is_some_and(|e| e.attempt >= attempt) {
            return;
        }
        let Some(sandbox) = sandbox else {
            return;
        };
        let by = match this.asked.doomed {
            Some(doom) if doom.by_probe => By::Probe,
            _ => By::Itself,
        };
        let before = this.ended.filter(|e| e.by != By::RestartAll);
        this.before = before.map(|e| e.at);
        this.ended = Some(Over {
            attempt,
            code,
            sandbox,
            at: now,
            by,
        });
        let wait = this.before.zip(this.delay).map(|(before, delay)| {
            let expired = before.since(delay.1) > 600_000;
            before.plus_ms(if expired { 0 } else { delay.0 })
        });
        this.at_once = by == By::Probe && wait.is_none_or(|until| now >= until);
        this.next = attempt + 1;
        this.begun = false;
        this.first_stop = None;
        this.last_stop = None;
        this.killed = false;
        this.asked.ended();
        let spec = pod.spec.all_containers().find(|c| c.name == name);
        let rule = spec
            .and_then(|c| rule(c, code))
            .filter(|_| by == By::Itself);
        if rule == Some(RestartAction::RestartAllContainers) {
            self.told.restart_all.get_or_insert(now);
        }
        let over = |c: &Container, init: bool| {
            let ended = self.told.containers[&c.name].ended;
            let live = world.find(&c.name).map(|i| i.attempt);
            ended.filter(|e| live.is_none_or(|l| l == e.attempt) && !restarts(pod, c, init, *e))
        };
        let failed = |c: &Container| over(c, true).is_some_and(|e| e.code != 0);
        if pod.spec.containers.iter().all(|c| over(c, false).is_some())
            || pod.spec.init_containers.iter().any(failed)
        {
            self.told.finished.get_or_insert(now);
        }
    }

    /// The engine has decided, and it has been written down.
    pub fn decision(
        &mut self,
        pod: &Pod,
        decision: &Decision,
        world: &World,
        now: Mono,
    ) -> Verdict {
        self.restarted(pod, &decision.status, world, now);
        for (index, action) in decision.actions.iter().enumerate() {
            if let Some(target) = action.target() {
                let before = &decision.actions[..index];
                let twice = before.iter().any(|a| a.target() == Some(target));
                ensure(!twice && !world.is_busy(action), || {
                    format!("two actions in flight for {target:?}")
                })?;
            }
            self.action(pod, action, world, now)?;
        }
        self.status(pod, &decision.status)?;
        self.will_kill(decision, world)?;
        if let Some(at) = decision.wake_at {
            let deletes = self.told.deletes.iter().map(|d| d.1).max().unwrap_or(0);
            let longest = 300_000.max(self.grace).max(deletes);
            let deadline = self.deadline.map_or(at, |d| self.accepted.plus_ms(d));
            ensure(at <= now.plus_ms(longest) || at == deadline, || {
                format!("sleeps {} ms, longer than any back-off", at.since(now))
            })?;
        }
        if decision.done.is_some() {
            let empty = world.sandboxes.is_empty() && world.containers.is_empty() && !world.volumes;
            // Probes and hooks end with their instances.
            let harmless = |a: &Action| {
                matches!(
                    a,
                    Action::EnsureImage { .. }
                        | Action::Signal { .. }
                        | Action::Probe { .. }
                        | Action::PostStart { .. }
                        | Action::PreStop { .. }
                )
            };
            let quiet = world.calls.iter().all(|c| harmless(&c.action));
            ensure(empty && quiet && decision.actions.is_empty(), || {
                let (sandboxes, containers) = (&world.sandboxes, &world.containers);
                format!(
                    "done with {sandboxes:?} {containers:?}, volumes {}",
                    world.volumes
                )
            })?;
            ensure(decision.status.phase.is_terminal(), || {
                "done, not terminal".into()
            })?;
        }
        Ok(())
    }
}

/// The restart policy, once more.
fn restarts(pod: &Pod, container: &Container, init: bool, ended: Over) -> bool {
    let policy = container.restart_policy.unwrap_or(pod.spec.restart_policy);
    let by_code = match policy {
        RestartPolicy::Always => ended.code != 0 || !init,
        RestartPolicy::OnFailure => ended.code != 0,
        RestartPolicy::Never => false,
    };
    container.sidecar
        || match ended.by {
            By::RestartAll => true,
            By::Probe => policy != RestartPolicy::Never,
            By::Itself if init && ended.code == 0 => false,
            By::Itself => by_code || rule(container, ended.code).is_some(),
        }
}

/// What the first rule about this code asks for.
fn rule(container: &Container, code: i32) -> Option<RestartAction> {
    let mut rules = container.restart_rules.iter();
    let first = rules.find(|r| r.matches(code))?;
    Some(first.action)
}
