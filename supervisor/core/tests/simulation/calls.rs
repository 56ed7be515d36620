//! What the calls of the runtime that is not there do.

use carob_core::action::{Action, Signal};
use carob_core::event::{Event, ImageFailure, ProbeResult, Pulled, StartFailure};
use carob_core::pod::RestartPolicy;

use crate::choices::Choices;
use crate::world::{Due, Instance, Sandbox, Stage, Weather, World};

impl World {
    /// Does what the action says; an error when that must never have been asked.
    pub fn effect(
        &mut self,
        action: &Action,
        fails: bool,
        choices: &mut Choices,
        weather: &Weather<'_>,
    ) -> Result<Option<Event>, String> {
        let message = String::from("made to fail");
        Ok(Some(match action.clone() {
            Action::CreateSandbox { attempt } => {
                if self.sandboxes.iter().any(|s| s.attempt != attempt) {
                    return Err(format!("two sandboxes: {:?} and {attempt}", self.sandboxes));
                }
                self.volumes = true;
                let known = self.sandboxes.first().map(|s| s.alive);
                let fails = fails || known == Some(false);
                if known.is_none() && !(fails && choices.chance(50)) {
                    let alive = !fails;
                    self.sandboxes.push(Sandbox { attempt, alive });
                }
                if fails {
                    Event::SandboxFailed { attempt, message }
                } else {
                    Event::SandboxCreated {
                        attempt,
                        id: format!("sandbox-{attempt}"),
                        pid: 1,
                        ips: Vec::new(),
                    }
                }
            }
            Action::RemoveSandbox { attempt, last } => {
                if fails {
                    return Ok(Some(Event::SandboxRemoveFailed {
                        attempt,
                        last,
                        message,
                    }));
                }
                if !self.containers.is_empty() {
                    return Err(format!("sandbox removed around {:?}", self.containers));
                }
                self.sandboxes.retain(|s| s.attempt != attempt);
                self.volumes &= !last;
                Event::SandboxRemoved { attempt, last }
            }
            Action::EnsureImage { container } => {
                if fails {
                    let reason = choices.pick(&[
                        ImageFailure::ErrImagePull,
                        ImageFailure::RegistryUnavailable,
                        ImageFailure::ErrImageNeverPull,
                        ImageFailure::InvalidImageName,
                    ]);
                    return Ok(Some(Event::ImageFailed {
                        container,
                        reason,
                        message,
                    }));
                }
                Event::ImageReady {
                    container,
                    image_id: "sha256:0".to_owned(),
                    image: "image:1".to_owned(),
                    pulled: Some(Pulled {
                        took_ms: 1,
                        waited_ms: 1,
                        bytes: 1,
                    }),
                }
            }
            Action::CreateContainer { container, attempt } => {
                self.create(container, attempt, fails, choices)?
            }
            Action::StartContainer { container, attempt } => {
                self.start(container, attempt, fails, choices, weather)?
            }
            Action::Signal {
                container,
                attempt,
                signal,
            } => {
                if fails {
                    return Ok(Some(Event::SignalFailed {
                        container,
                        attempt,
                        message,
                    }));
                }
                self.signal(&container, attempt, signal, choices, weather);
                return Ok(None);
            }
            Action::Probe {
                container,
                attempt,
                kind,
            } => Event::Probed {
                container,
                attempt,
                kind,
                result: match (weather.calm, fails) {
                    (true, _) => ProbeResult::Success,
                    (false, true) => ProbeResult::Unknown,
                    (false, false) => choices.pick(&[
                        ProbeResult::Success,
                        ProbeResult::Success,
                        ProbeResult::Warning,
                        ProbeResult::Failure,
                        ProbeResult::Failure,
                    ]),
                },
                output: String::new(),
            },
            Action::PostStart { container, attempt } => Event::PostStartDone {
                container,
                attempt,
                failure: fails.then_some(message),
            },
            Action::PreStop {
                container, attempt, ..
            } => Event::PreStopDone {
                container,
                attempt,
                failure: fails.then_some(message),
            },
            Action::RemoveContainer { container, attempt } => {
                if fails {
                    return Ok(Some(Event::ContainerRemoveFailed {
                        container,
                        attempt,
                        message,
                    }));
                }
                if self.is_running(&container) {
                    return Err(format!("{container} removed while it runs"));
                }
                self.containers.retain(|i| i.name != container);
                Event::ContainerRemoved { container, attempt }
            }
        }))
    }

    fn create(
        &mut self,
        container: String,
        attempt: u32,
        fails: bool,
        choices: &mut Choices,
    ) -> Result<Event, String> {
        if let Some(other) = self.find(&container).filter(|i| i.attempt != attempt) {
            return Err(format!("two instances: {other:?} and {attempt}"));
        }
        let Some(sandbox) = self.sandboxes.first() else {
            return Err(format!("{container} created in no sandbox"));
        };
        if self.find(&container).is_none() {
            if fails || !sandbox.alive {
                let reason = choices.pick(&[
                    StartFailure::CreateContainerError,
                    StartFailure::CreateContainerConfigError,
                ]);
                return Ok(Event::ContainerFailed {
                    container,
                    attempt,
                    reason,
                    message: "made to fail".to_owned(),
                });
            }
            self.containers.push(Instance {
                name: container.clone(),
                attempt,
                sandbox: sandbox.attempt,
                stage: Stage::Created,
            });
        }
        Ok(Event::ContainerCreated {
            id: format!("{container}-{attempt}"),
            container,
            attempt,
        })
    }

    fn start(
        &mut self,
        container: String,
        attempt: u32,
        fails: bool,
        choices: &mut Choices,
        weather: &Weather<'_>,
    ) -> Result<Event, String> {
        let alive = self.sandboxes.first().is_some_and(|s| s.alive);
        let instance = self.containers.iter_mut().find(|i| i.name == container);
        let Some(instance) = instance.filter(|i| i.attempt == attempt) else {
            return Err(format!("{container} started before it was created"));
        };
        if instance.stage == Stage::Created {
            instance.stage = if fails || !alive {
                Stage::Dud
            } else {
                Stage::Running
            };
            if instance.stage == Stage::Running {
                let (after, code) = life(&container, choices, weather);
                if let Some(after) = after {
                    let at = weather.now.mono.plus_ms(after);
                    self.plan(at, Due::Exit(container.clone(), attempt, code));
                }
            }
        }
        Ok(
            if self.find(&container).is_some_and(|i| i.stage == Stage::Dud) {
                Event::ContainerFailed {
                    container,
                    attempt,
                    reason: StartFailure::RunContainerError,
                    message: "made to fail".to_owned(),
                }
            } else {
                Event::ContainerStarted {
                    container,
                    attempt,
                    pid: 1,
                    at: weather.now.wall,
                }
            },
        )
    }

    fn signal(
        &mut self,
        container: &str,
        attempt: u32,
        signal: Signal,
        choices: &mut Choices,
        weather: &Weather<'_>,
    ) {
        let newest = self.find(container).map(|i| i.attempt);
        if !self.is_running(container) || newest != Some(attempt) {
            return;
        }
        let (after, code) = match signal {
            Signal::Kill => (1, 137),
            Signal::StopSignal => match choices.below(4) {
                0 => (10, 0),
                1 => (500, 143),
                2 => (10_000, 143),
                _ => return,
            },
        };
        let at = weather.now.mono.plus_ms(after);
        self.plan(at, Due::Exit(container.to_owned(), attempt, code));
    }
}

/// How long a program runs and how it ends; for ever when there is no time.
fn life(name: &str, choices: &mut Choices, weather: &Weather<'_>) -> (Option<u64>, i32) {
    let pod = weather.pod;
    let mut all = pod.spec.all_containers();
    let sidecar = all.any(|c| c.name == name && c.sidecar);
    let init = pod.spec.init_containers.iter().any(|c| c.name == name) && !sidecar;
    if weather.calm {
        let ends = pod.spec.restart_policy != RestartPolicy::Always && !sidecar;
        return if init || ends && choices.chance(50) {
            (Some(10), 0)
        } else {
            (None, 0)
        };
    }
    let after = choices.pick(&[
        None,
        Some(10),
        Some(0),
        Some(2_000),
        Some(30_000),
        Some(700_000),
    ]);
    let code = choices.pick(&[0, 1, 137]);
    (if init { after.or(Some(10)) } else { after }, code)
}
