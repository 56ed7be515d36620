//! What an action must keep to.

use carob_core::action::{Action, Signal};
use carob_core::pod::{Container, Pod, RestartPolicy};
use carob_core::state::Decision;
use carob_core::status::Phase;
use carob_core::time::Mono;

use super::{Check, Known, Verdict, ensure, restarts};
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
            Action::Signal {
                container, signal, ..
            } => self.signal(pod, container, *signal, world, now),
            Action::RemoveContainer { .. }
            | Action::RemoveSandbox { .. }
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
        let Known { ended, next, .. } = *self.of(name);
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
                let this = self.of(name);
                this.first_stop.get_or_insert(now);
                this.last_stop = Some(now);
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
