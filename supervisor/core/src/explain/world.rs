//! A runtime of a few lines: every call takes a fixed time, and programs do what the script says.

use std::collections::BTreeMap;

use crate::action::{Action, Signal};
use crate::event::{Event, ImageFailure, ProbeResult, Pulled};
use crate::pod::{HookHandler, ImagePullPolicy, Pod};
use crate::time::{Mono, Now};

use super::script::{Exit, Habits, Hook, Script};

/// Milliseconds of a first pull; of one that finds everything present; of any other call.
const PULL_MS: u64 = 2_000;
const ASK_REGISTRY_MS: u64 = 200;
const CALL_MS: u64 = 50;

pub(super) struct World<'a> {
    pod: &'a Pod,
    script: &'a Script,
    due: BTreeMap<(Mono, u64), Due>,
    serial: u64,
    containers: BTreeMap<String, Container>,
    /// Images that were pulled.
    images: Vec<String>,
}

#[derive(Default)]
struct Container {
    running: Option<(u32, Mono)>,
    starts: u32,
    pulls: u32,
}

enum Due {
    Tell(Event),
    Exit {
        container: String,
        attempt: u32,
        code: i32,
        oom: bool,
    },
}

impl<'a> World<'a> {
    pub fn new(pod: &'a Pod, script: &'a Script) -> Self {
        let mut world = Self {
            pod,
            script,
            due: BTreeMap::new(),
            serial: 0,
            containers: BTreeMap::new(),
            images: Vec::new(),
        };
        if let Some((at, grace_seconds)) = script.delete {
            let event = Event::DeleteRequested { grace_seconds };
            world.plan(Mono(0).plus_ms(at), Due::Tell(event));
        }
        world
    }

    pub fn next_at(&self) -> Option<Mono> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// The next thing that the Pod is told of, if one is due.
    pub fn next_event(&mut self, now: Now) -> Option<Event> {
        loop {
            let entry = self.due.first_entry()?;
            if entry.key().0 > now.mono {
                return None;
            }
            match entry.remove() {
                Due::Tell(event) => return Some(event),
                Due::Exit {
                    container,
                    attempt,
                    code,
                    oom,
                } => {
                    let known = self.containers.entry(container.clone()).or_default();
                    if known.running.is_none_or(|(running, _)| running != attempt) {
                        continue;
                    }
                    known.running = None;
                    let exit = Event::ContainerExited {
                        container: container.clone(),
                        attempt,
                        exit_code: code,
                        signal: (code > 128).then_some(code - 128),
                        at: now.wall,
                        message: None,
                    };
                    if !oom {
                        return Some(exit);
                    }
                    self.plan(now.mono, Due::Tell(exit));
                    return Some(Event::ContainerOom { container, attempt });
                }
            }
        }
    }

    /// Carries out an action.
    pub fn act(&mut self, action: Action, now: Now) {
        let later = now.mono.plus_ms(CALL_MS);
        match action {
            Action::CreateSandbox { attempt } => self.tell(
                later,
                Event::SandboxCreated {
                    attempt,
                    id: String::new(),
                    pid: 0,
                    ips: Vec::new(),
                },
            ),
            Action::RemoveSandbox { attempt, last } => {
                self.tell(later, Event::SandboxRemoved { attempt, last });
            }
            Action::EnsureImage { container } => self.ensure(container, now),
            Action::CreateContainer { container, attempt } => self.tell(
                later,
                Event::ContainerCreated {
                    id: format!("{container}-{attempt}"),
                    container,
                    attempt,
                },
            ),
            Action::StartContainer { container, attempt } => {
                self.start(container, attempt, now, later);
            }
            Action::RemoveContainer { container, attempt } => {
                self.tell(later, Event::ContainerRemoved { container, attempt });
            }
            Action::Signal {
                container,
                attempt,
                signal,
            } => self.signal(container, attempt, signal, now),
            Action::Probe {
                container,
                attempt,
                kind,
            } => {
                let since = self.running_since(&container, attempt);
                let lived = now.mono.since(since);
                let mut failing = self.habits(&container).failing.iter();
                let fails =
                    failing.any(|(k, from, until)| *k == kind && (*from..*until).contains(&lived));
                let (result, output) = match fails {
                    true => (ProbeResult::Failure, "simulated"),
                    false => (ProbeResult::Success, ""),
                };
                let event = Event::Probed {
                    container,
                    attempt,
                    kind,
                    result,
                    output: output.to_owned(),
                };
                self.tell(now.mono, event);
            }
            Action::PostStart { container, attempt } => {
                let hook = self.habits(&container).post_start;
                let handler = self.hook(&container, |l| l.post_start.as_ref());
                let event = Event::PostStartDone {
                    container,
                    attempt,
                    failure: hook.fails.then(|| "simulated".to_owned()),
                };
                self.tell(now.mono.plus_ms(takes(hook, handler)), event);
            }
            Action::PreStop {
                container,
                attempt,
                within_ms,
            } => {
                let hook = self.habits(&container).pre_stop;
                let handler = self.hook(&container, |l| l.pre_stop.as_ref());
                let took = takes(hook, handler);
                let event = Event::PreStopDone {
                    container,
                    attempt,
                    failure: (hook.fails || took > within_ms).then(|| "simulated".to_owned()),
                };
                self.tell(now.mono.plus_ms(took.min(within_ms)), event);
            }
        }
    }

    fn ensure(&mut self, container: String, now: Now) {
        let spec = self.pod.spec.all_containers().find(|c| c.name == container);
        let Some(spec) = spec else {
            return;
        };
        let image = spec.image.clone();
        let failing = self.habits(&container).failing_pulls;
        let present = self.images.contains(&image);
        let pulls = match spec.image_pull_policy {
            ImagePullPolicy::Always => true,
            ImagePullPolicy::IfNotPresent => !present,
            ImagePullPolicy::Never => false,
        };
        let mut took_ms = 0;
        if pulls {
            took_ms = if present { ASK_REGISTRY_MS } else { PULL_MS };
            let container = container.clone();
            self.tell(now.mono, Event::PullStarted { container });
            let known = self.known(&spec.name);
            known.pulls = known.pulls.saturating_add(1);
            if known.pulls <= failing {
                let event = Event::ImageFailed {
                    container: spec.name.clone(),
                    reason: ImageFailure::ErrImagePull,
                    message: "simulated".to_owned(),
                };
                return self.tell(now.mono.plus_ms(took_ms), event);
            }
            self.images.push(image.clone());
        }
        let pulled = pulls.then_some(Pulled {
            took_ms,
            waited_ms: took_ms,
            bytes: 0,
        });
        let event = Event::ImageReady {
            container,
            image_id: String::new(),
            image,
            pulled,
        };
        self.tell(now.mono.plus_ms(took_ms), event);
    }

    fn start(&mut self, container: String, attempt: u32, now: Now, later: Mono) {
        let known = self.known(&container);
        known.running = Some((attempt, later));
        known.starts += 1;
        let starts = known.starts;
        let habits = self.habits(&container);
        let end = match (habits.exit, habits.afterwards) {
            (Some(exit), _) if starts <= exit.times => Some(exit),
            (_, afterwards) => afterwards.map(|(code, after)| Exit {
                code,
                oom: false,
                after,
                times: u32::MAX,
            }),
        };
        if let Some(Exit {
            code, oom, after, ..
        }) = end
        {
            let exit = Due::Exit {
                container: container.clone(),
                attempt,
                code,
                oom,
            };
            self.plan(later.plus_ms(after), exit);
        }
        let event = Event::ContainerStarted {
            container,
            attempt,
            pid: 1,
            at: now.wall,
        };
        self.tell(later, event);
    }

    fn signal(&mut self, container: String, attempt: u32, signal: Signal, now: Now) {
        let (after, code) = match signal {
            Signal::Kill => (Some(0), 137),
            Signal::StopSignal => (self.habits(&container).stop_after, 143),
        };
        if let Some(after) = after {
            let exit = Due::Exit {
                container,
                attempt,
                code,
                oom: false,
            };
            self.plan(now.mono.plus_ms(after), exit);
        }
    }

    fn hook(
        &self,
        name: &str,
        which: impl Fn(&'a crate::pod::Lifecycle) -> Option<&'a HookHandler>,
    ) -> Option<&'a HookHandler> {
        let mut all = self.pod.spec.all_containers();
        all.find(|c| c.name == name)
            .and_then(|c| which(&c.lifecycle))
    }

    fn habits(&self, name: &str) -> &'a Habits {
        // Every container of the Pod has some.
        &self.script.habits[name]
    }

    fn known(&mut self, name: &str) -> &mut Container {
        self.containers.entry(name.to_owned()).or_default()
    }

    fn running_since(&mut self, name: &str, attempt: u32) -> Mono {
        let running = self.known(name).running.filter(|(a, _)| *a == attempt);
        running.map_or(Mono(0), |(_, since)| since)
    }

    fn tell(&mut self, at: Mono, event: Event) {
        self.plan(at, Due::Tell(event));
    }

    fn plan(&mut self, at: Mono, due: Due) {
        self.serial += 1;
        self.due.insert((at, self.serial), due);
    }
}

/// How long a hook takes: what is said of it, or what it sleeps.
fn takes(hook: Hook, handler: Option<&HookHandler>) -> u64 {
    match (hook.takes, handler) {
        (0, Some(HookHandler::Sleep { seconds })) => seconds.saturating_mul(1000),
        (ms, _) => ms,
    }
}
