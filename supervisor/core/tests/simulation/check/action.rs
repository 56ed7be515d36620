//! What an action must keep to.

use carob_core::action::{Action, Signal};
use carob_core::pod::{Container, Pod, RestartPolicy};
use carob_core::state::Decision;
use carob_core::status::{Phase, PodStatus};
use carob_core::time::Mono;

use super::{By, Check, Verdict, ensure, restarts};
use crate::world::World;

impl Check {
    pub(super) fn action(
        &mut self,
        pod: &Pod,
        action: &Action,
        world: &World,
        now: Mono,
    ) -> Verdict {
        let builds = !matches!(
            action,
            Action::Signal { .. }
                | Action::RemoveContainer { .. }
                | Action::RemoveSandbox { .. }
                | Action::Probe { .. }
                | Action::PreStop { .. }
        );
        let terminal = self.told.phase.is_some_and(Phase::is_terminal);
        ensure(!builds || self.told.deletes.is_empty(), || {
            format!("{action:?} in a deleted Pod")
        })?;
        ensure(!builds || !terminal, || {
            format!("{action:?} in a terminal Pod")
        })?;
        if let Action::Signal {
            container, signal, ..
        } = action
        {
            self.signal(pod, container, *signal, world, now)?;
        }
        self.asked_action(pod, action, now)?;
        match action {
            Action::CreateSandbox { attempt } => {
                ensure(!self.told.last, || "a sandbox after the last".to_owned())?;
                self.told.sandbox_dead = None;
                self.told.restart_all = None;
                let until = self.told.sandbox_over.map_or(now, |o| o.1);
                ensure(now >= until, || {
                    format!("sandbox tried again {} ms too soon", until.since(now))
                })?;
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
            Action::RemoveSandbox { last, .. } => {
                self.told.last |= *last;
                Ok(())
            }
            Action::Signal { .. }
            | Action::RemoveContainer { .. }
            | Action::Probe { .. }
            | Action::PostStart { .. }
            | Action::PreStop { .. } => Ok(()),
        }
    }

    /// A new instance is begun: not before its crash back-off ends.
    fn begin(&mut self, name: &str, now: Mono) -> Verdict {
        let this = self.of(name);
        let until = this.next_try;
        ensure(now >= until, || {
            format!("{name} tried again {} ms too soon", until.since(now))
        })?;
        let Some(ended) = this.ended.filter(|_| !this.begun) else {
            return Ok(());
        };
        this.begun = true;
        if ended.by == By::RestartAll {
            return Ok(());
        }
        let counted = if this.at_once {
            this.before
        } else {
            Some(ended.at)
        };
        let Some(seen) = counted else {
            return Ok(());
        };
        let delay = this.delay.filter(|d| seen.since(d.1) <= 600_000);
        this.delay = Some((delay.map_or(10_000, |d| (d.0 * 2).min(300_000)), now));
        let until = seen.plus_ms(delay.map_or(0, |d| d.0));
        ensure(now >= until || this.at_once, || {
            format!(
                "{name} restarted {} ms before its back-off ends",
                until.since(now)
            )
        })
    }

    /// After all containers were ended for it, they begin again: how they ended is forgotten.
    pub(super) fn restarted(&mut self, pod: &Pod, shown: &PodStatus, world: &World, now: Mono) {
        let init = shown.init_container_statuses.iter();
        let mut waiting = init
            .chain(&shown.container_statuses)
            .filter_map(|c| c.state.waiting.as_ref());
        let says = waiting.any(|w| w.reason == "RestartingAllContainers");
        if self.told.restart_all.is_none() || !world.containers.is_empty() || !says {
            return;
        }
        self.told.restart_all = None;
        for container in pod.spec.all_containers() {
            let this = self.of(&container.name);
            this.begun = false;
            if let Some(ended) = &mut this.ended {
                ended.code = 137;
                ended.at = now;
                ended.by = By::RestartAll;
            }
        }
        self.told.finished = None;
    }

    fn create(&mut self, pod: &Pod, name: &str, attempt: u32, world: &World) -> Verdict {
        if world.find(name).is_some_and(|i| i.attempt == attempt) {
            return Ok(());
        }
        let Some(sandbox) = world.sandboxes.first().map(|s| s.attempt) else {
            return Err(format!("{name} created without a sandbox"));
        };
        let this = self.of(name);
        let (ended, next) = (this.ended, this.next);
        this.asked.ended();
        this.asked.current = Some(attempt);
        ensure(attempt == next, || {
            format!("{name} is {attempt}, should be {next}")
        })?;
        let inits = &pod.spec.init_containers;
        let place = inits.iter().position(|c| c.name == name);
        let mut all = pod.spec.all_containers();
        let spec = all.find(|c| c.name == name).expect("a container");
        if let Some(ended) = ended {
            let rerun = place.is_some() && sandbox != ended.sandbox;
            let never = pod.spec.restart_policy == RestartPolicy::Never;
            let allowed = restarts(pod, spec, place.is_some(), ended) || rerun && !never;
            ensure(allowed, || {
                format!("{name} restarted after {ended:?} against its policy")
            })?;
        }
        for init in inits.iter().take(place.unwrap_or(inits.len())) {
            let ended = self.told.containers[&init.name].ended;
            let behind = if init.sidecar {
                let running = &self.told.containers[&init.name].asked;
                let up = running.since.is_some() && running.is_started(init);
                // One that was up may be on its way again.
                let was = ended.is_some_and(|e| e.sandbox == sandbox && e.by != By::RestartAll);
                was || up && world.find(&init.name).is_some()
            } else {
                ended.is_some_and(|e| e.code == 0 && e.sandbox == sandbox)
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
        ends.extend(self.told.restart_all);
        let alone = ends.is_empty();
        let doom = self.told.containers[name].asked.doomed;
        ends.extend(doom.map(|d| d.end));
        let Some(end) = ends.into_iter().min() else {
            return Err(format!("{name} gets {signal:?} for no reason"));
        };
        // Whether a hook must have been done before.
        let spec = pod.spec.all_containers().find(|c| c.name == name);
        let hooked = spec.is_some_and(|c| c.lifecycle.pre_stop.is_some())
            && self.told.restart_all.is_none()
            && !(alone && doom.is_some_and(|d| !d.hook));
        let init = &pod.spec.init_containers;
        let sidecar = init.iter().position(|c| c.name == name && c.sidecar);
        match (signal, sidecar) {
            (Signal::StopSignal, place) => {
                let this = self.of(name);
                let hook_over = this.asked.pre || this.first_stop.is_some();
                ensure(!hooked || hook_over || now >= end, || {
                    format!("{name} gets its stop signal before its preStop hook is done")
                })?;
                this.first_stop.get_or_insert(now);
                this.last_stop = Some(now);
                let Some(place) = place else {
                    return Ok(());
                };
                let later = init[place + 1..].iter().filter(|c| c.sidecar);
                let waits = |c: &Container| world.is_running(&c.name);
                let early = later.chain(&pod.spec.containers).any(waits);
                ensure(!early || now >= end || doom.is_some(), || {
                    format!("{name} stopped before its turn")
                })
            }
            (Signal::Kill, _) => {
                self.of(name).killed = true;
                let stop = self.of(name).first_stop;
                let after = stop.is_some_and(|s| now >= s.plus_ms(2000) && now >= end);
                ensure(force || after, || {
                    format!("SIGKILL to {name} before {end:?}, stop signal {stop:?}")
                })
            }
        }
    }

    /// A container that has its stop signal gets SIGKILL no later than any deletion asks for.
    pub(super) fn will_kill(&self, decision: &Decision, world: &World) -> Verdict {
        let ends = self.told.deletes.iter();
        let Some(end) = ends.map(|d| d.0.plus_ms(d.1.max(1000))).min() else {
            return Ok(());
        };
        for (name, this) in &self.told.containers {
            let Some(stop) = this.last_stop.filter(|_| !this.killed) else {
                continue;
            };
            let by = end.max(stop.plus_ms(2000));
            let late = decision.wake_at.is_none_or(|at| at > by);
            ensure(!late || !world.is_running(name), || {
                format!("{name} outlives its grace, which ends at {by:?}")
            })?;
        }
        Ok(())
    }
}
