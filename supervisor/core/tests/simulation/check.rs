//! The invariants. They are found anew here from what was told and done, not taken from the engine.

use std::collections::BTreeMap;

use carob_core::action::{Action, Signal};
use carob_core::event::{Event, StartFailure};
use carob_core::pod::{Container, Pod, RestartPolicy};
use carob_core::state::Decision;
use carob_core::status::{ConditionStatus, Phase, PodStatus};
use carob_core::time::Mono;

use crate::world::World;

/// What the supervisor was told and has written down. A crash takes it back to what was written.
#[derive(Clone, Default)]
pub struct Told {
    containers: BTreeMap<String, Container_>,
    deletes: Vec<(Mono, u64)>,
    sandbox_dead: Option<Mono>,
    finished: Option<Mono>,
    phase: Option<Phase>,
}

#[derive(Clone, Default)]
struct Container_ {
    /// Number, exit code, sandbox and time of the last end.
    ended: Option<(u32, i32, u32, Mono)>,
    /// Crash delay and when it was last raised.
    delay: Option<(u64, Mono)>,
    /// A new instance was begun since the last end or failure.
    begun: bool,
    first_stop: Option<Mono>,
    /// The number of the next instance.
    next: u32,
    shown: u32,
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
                containers: names.map(|n| (n, Container_::default())).collect(),
                ..Told::default()
            },
            accepted: now,
            deadline: pod.spec.active_deadline_seconds.map(|s| s * 1000),
            grace: pod.spec.termination_grace_period_seconds.max(1) * 1000,
        }
    }

    /// The engine is told of `event`.
    pub fn event(&mut self, pod: &Pod, event: &Event, world: &World, now: Mono) {
        match event {
            Event::DeleteRequested { grace_seconds } => {
                let grace = match grace_seconds {
                    Some(0) => 0,
                    Some(secs) => secs * 1000,
                    None => self.grace,
                };
                self.told.deletes.push((now, grace));
            }
            Event::SandboxExited { .. } => {
                self.told.sandbox_dead.get_or_insert(now);
            }
            Event::ImageFailed { container, .. } => self.of(container).begun = false,
            Event::ContainerFailed {
                container,
                attempt,
                reason,
                ..
            } => {
                self.of(container).begun = false;
                if *reason == StartFailure::RunContainerError {
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

    fn of(&mut self, container: &str) -> &mut Container_ {
        let containers = &mut self.told.containers;
        containers.get_mut(container).expect("a container")
    }

    fn ended(&mut self, pod: &Pod, name: &str, attempt: u32, code: i32, world: &World, now: Mono) {
        let sandbox = world.find(name).map(|i| i.sandbox);
        let this = self.of(name);
        if this.ended.is_some_and(|e| e.0 >= attempt) {
            return;
        }
        let Some(sandbox) = sandbox else {
            return;
        };
        this.ended = Some((attempt, code, sandbox, now));
        this.next = attempt + 1;
        this.begun = false;
        this.first_stop = None;
        let over = |c: &Container, init: bool| {
            let ended = self.told.containers[&c.name].ended;
            let live = world.find(&c.name).map(|i| i.attempt);
            ended.filter(|e| live.is_none_or(|l| l == e.0) && !restarts(pod, c, init, e.1))
        };
        let failed = |c: &Container| over(c, true).is_some_and(|e| e.1 != 0);
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
        for (index, action) in decision.actions.iter().enumerate() {
            if let Some(target) = action.target() {
                let before = &decision.actions[..index];
                let twice = before.iter().any(|a| a.target() == Some(target));
                ensure(!twice && !world.is_busy(target), || {
                    format!("two actions in flight for {target:?}")
                })?;
            }
            self.action(pod, action, world, now)?;
        }
        self.status(pod, &decision.status)?;
        if let Some(at) = decision.wake_at {
            let deletes = self.told.deletes.iter().map(|d| d.1).max().unwrap_or(0);
            let longest = 300_000.max(self.grace).max(deletes);
            let deadline = self.deadline.map_or(at, |d| self.accepted.plus_ms(d));
            ensure(at <= now.plus_ms(longest) || at == deadline, || {
                format!("sleeps {} ms, longer than any back-off", at.since(now))
            })?;
        }
        if decision.done.is_some() {
            let empty = world.sandboxes.is_empty() && world.containers.is_empty();
            let harmless =
                |a: &Action| matches!(a, Action::EnsureImage { .. } | Action::Signal { .. });
            let quiet = world.calls.iter().all(|c| harmless(&c.action));
            ensure(empty && quiet && decision.actions.is_empty(), || {
                format!("done with {:?} {:?}", world.sandboxes, world.containers)
            })?;
            ensure(decision.status.phase.is_terminal(), || {
                "done, not terminal".into()
            })?;
        }
        Ok(())
    }

    fn action(&mut self, pod: &Pod, action: &Action, world: &World, now: Mono) -> Verdict {
        let builds = !matches!(
            action,
            Action::Signal { .. } | Action::RemoveContainer { .. } | Action::RemoveSandbox { .. }
        );
        let terminal = self.told.phase.is_some_and(Phase::is_terminal);
        ensure(!builds || self.told.deletes.is_empty(), || {
            format!("{action:?} in a deleted Pod")
        })?;
        ensure(!builds || !terminal, || {
            format!("{action:?} in a terminal Pod")
        })?;
        match action {
            Action::CreateSandbox { attempt } => {
                self.told.sandbox_dead = None;
                let other = world.sandboxes.iter().any(|s| s.attempt != *attempt);
                ensure(!other && world.containers.is_empty(), || {
                    "a second sandbox".to_owned()
                })
            }
            Action::EnsureImage { container } => self.begin(container, now),
            Action::CreateContainer { container, attempt } => {
                self.create(pod, container, *attempt, world)
            }
            Action::StartContainer { container, .. } => {
                let main = &pod.spec.containers;
                let is_main = main.iter().any(|c| c.name == *container);
                let before = main.iter().take_while(|c| c.name != *container);
                let starting = |name: &str| {
                    let mut actions = world.calls.iter().map(|c| &c.action);
                    actions.any(|a| match a {
                        Action::EnsureImage { container }
                        | Action::CreateContainer { container, .. }
                        | Action::StartContainer { container, .. } => container == name,
                        _ => false,
                    })
                };
                let early = is_main && before.map(|c| &c.name).any(|n| starting(n));
                ensure(!early, || format!("{container} started before its turn"))
            }
            Action::Signal {
                container, signal, ..
            } => self.signal(pod, container, *signal, world, now),
            Action::RemoveContainer { .. } | Action::RemoveSandbox { .. } => Ok(()),
        }
    }

    /// A new instance is begun: not before its crash back-off ends.
    fn begin(&mut self, name: &str, now: Mono) -> Verdict {
        let this = self.of(name);
        let Some((_, _, _, seen)) = this.ended.filter(|_| !this.begun) else {
            return Ok(());
        };
        this.begun = true;
        let delay = this.delay.filter(|d| seen.since(d.1) <= 600_000);
        this.delay = Some((delay.map_or(10_000, |d| (d.0 * 2).min(300_000)), now));
        let until = seen.plus_ms(delay.map_or(0, |d| d.0));
        ensure(now >= until, || {
            format!(
                "{name} restarted {} ms before its back-off ends",
                until.since(now)
            )
        })
    }

    fn create(&mut self, pod: &Pod, name: &str, attempt: u32, world: &World) -> Verdict {
        if world.find(name).is_some_and(|i| i.attempt == attempt) {
            return Ok(());
        }
        let Some(sandbox) = world.sandboxes.first().map(|s| s.attempt) else {
            return Err(format!("{name} created without a sandbox"));
        };
        let Container_ { ended, next, .. } = *self.of(name);
        ensure(attempt == next, || {
            format!("{name} is {attempt}, should be {next}")
        })?;
        let inits = &pod.spec.init_containers;
        let place = inits.iter().position(|c| c.name == name);
        let mut all = pod.spec.all_containers();
        let spec = all.find(|c| c.name == name).expect("a container");
        if let Some((_, code, old, _)) = ended {
            let rerun = place.is_some() && sandbox != old;
            let allowed = restarts(pod, spec, place.is_some(), code) || rerun;
            let never = pod.spec.restart_policy == RestartPolicy::Never && !spec.sidecar;
            ensure(allowed && !never, || {
                format!("{name} restarted after {code} against its policy")
            })?;
        }
        for init in inits.iter().take(place.unwrap_or(inits.len())) {
            let ended = self.told.containers[&init.name].ended;
            let behind = if init.sidecar {
                let was = |e: (u32, i32, u32, Mono)| e.2 == sandbox;
                world.find(&init.name).is_some() || ended.is_some_and(was)
            } else {
                ended.is_some_and(|e| e.1 == 0 && e.2 == sandbox)
            };
            ensure(behind, || {
                format!("{name} before init container {}", init.name)
            })?;
        }
        Ok(())
    }

    fn signal(
        &mut self,
        pod: &Pod,
        name: &str,
        signal: Signal,
        world: &World,
        now: Mono,
    ) -> Verdict {
        let deletes = self.told.deletes.iter();
        let force = deletes.clone().any(|d| d.1 == 0);
        let mut ends: Vec<Mono> = deletes.map(|d| d.0.plus_ms(d.1.max(1000))).collect();
        let dead = self.told.sandbox_dead.iter();
        ends.extend(
            dead.chain(&self.told.finished)
                .map(|at| at.plus_ms(self.grace)),
        );
        if let Some(at) = self.deadline.map(|d| self.accepted.plus_ms(d))
            && at <= now
        {
            ends.push(at.plus_ms(self.grace));
        }
        let Some(end) = ends.into_iter().min() else {
            return Err(format!("{name} gets {signal:?} for no reason"));
        };
        let init = &pod.spec.init_containers;
        let sidecar = init.iter().position(|c| c.name == name && c.sidecar);
        match (signal, sidecar) {
            (Signal::StopSignal, place) => {
                self.of(name).first_stop.get_or_insert(now);
                let Some(place) = place else {
                    return Ok(());
                };
                let later = init[place + 1..].iter().filter(|c| c.sidecar);
                let waits = |c: &Container| world.is_running(&c.name);
                let early = later.chain(&pod.spec.containers).any(waits);
                ensure(!early || now >= end, || {
                    format!("{name} stopped before its turn")
                })
            }
            (Signal::Kill, _) => {
                let stop = self.of(name).first_stop;
                let after = stop.is_some_and(|s| now >= s.plus_ms(2000) && now >= end);
                ensure(force || after, || {
                    format!("SIGKILL to {name} before {end:?}, stop signal {stop:?}")
                })
            }
        }
    }

    fn status(&mut self, pod: &Pod, status: &PodStatus) -> Verdict {
        let before = self.told.phase.replace(status.phase);
        ensure(
            before.is_none_or(|p| !p.is_terminal() || p == status.phase),
            || format!("{before:?} left for {:?}", status.phase),
        )?;
        let main = &status.container_statuses;
        for container in status.init_container_statuses.iter().chain(main) {
            let shown = &mut self.of(&container.name).shown;
            ensure(container.restart_count >= *shown, || {
                format!("restart count of {} falls below {shown}", container.name)
            })?;
            *shown = container.restart_count;
            let state = &container.state;
            let known = [
                state.waiting.is_some(),
                state.running.is_some(),
                state.terminated.is_some(),
            ];
            ensure(known.iter().filter(|k| **k).count() == 1, || {
                format!("{} is in {state:?}", container.name)
            })?;
        }
        let sidecar = |name: &str| {
            let mut init = pod.spec.init_containers.iter();
            init.any(|c| c.name == name && c.sidecar)
        };
        let sidecars = status.init_container_statuses.iter();
        let mut serving = sidecars.filter(|c| sidecar(&c.name)).chain(main);
        let ready = status.conditions.iter().find(|c| c.kind == "Ready");
        let ready = ready.is_some_and(|c| c.status == ConditionStatus::True);
        ensure(
            !ready || serving.all(|c| c.started && c.state.running.is_some()),
            || "ready without all containers running".to_owned(),
        )?;
        let ended = |c: &carob_core::status::ContainerStatus| {
            c.state.terminated.as_ref().map(|t| t.exit_code)
        };
        ensure(
            status.phase != Phase::Succeeded || main.iter().all(|c| ended(c) == Some(0)),
            || "succeeded with a container that did not".to_owned(),
        )
    }
}

/// The restart policy, once more.
fn restarts(pod: &Pod, container: &Container, init: bool, code: i32) -> bool {
    container.sidecar
        || match pod.spec.restart_policy {
            RestartPolicy::Always => code != 0 || !init,
            RestartPolicy::OnFailure => code != 0,
            RestartPolicy::Never => false,
        }
}
