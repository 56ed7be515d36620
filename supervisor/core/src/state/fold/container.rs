//! Events of the containers.

use jiff::Timestamp;

use super::Fold;
use crate::action::Action;
use crate::backoff::{Backoff, CRASH, CREATE_RETRY_MS, RETRY};
use crate::event::{Event, StartFailure};
use crate::state::{EndCause, Ended, Instance, KillCause, PostStart, Stage, Waiting};
use crate::status::PodEvent;

/// `reason` of a container that ran out of memory.
const OOM_KILLED: &str = "OOMKilled";
/// `reason` of one that failed otherwise.
const ERROR: &str = "Error";

/// How an instance ended.
struct End {
    exit_code: i32,
    signal: Option<i32>,
    /// Found from the exit code when absent.
    reason: Option<&'static str>,
    message: Option<String>,
    at: Timestamp,
}

impl Fold<'_> {
    pub(super) fn container(&mut self, event: Event) {
        match event {
            Event::ContainerCreated {
                container,
                attempt,
                id,
            } => self.created(container, attempt, id),
            Event::ContainerStarted {
                container,
                attempt,
                pid,
                at,
            } => self.started(container, attempt, pid, at),
            Event::ContainerFailed {
                container,
                attempt,
                reason,
                message,
            } => self.failed(container, attempt, reason, message),
            Event::ContainerOom { container, attempt } => self.oom(&container, attempt),
            Event::ContainerExited {
                container,
                attempt,
                exit_code,
                signal,
                at,
                message,
            } => {
                let end = End {
                    exit_code,
                    signal,
                    reason: None,
                    message,
                    at,
                };
                self.ended(&container, attempt, end);
            }
            Event::ContainerLost {
                container,
                attempt,
                at,
                message,
            } => {
                let end = End {
                    exit_code: 137,
                    signal: None,
                    reason: Some("ContainerStatusUnknown"),
                    message: Some(message),
                    at,
                };
                self.ended(&container, attempt, end);
            }
            Event::ContainerRemoved { container, attempt } => self.removed(container, attempt),
            Event::ContainerRemoveFailed {
                container,
                attempt,
                message,
            } => self.remove_failed(container, attempt, &message),
            Event::SignalFailed {
                container, attempt, ..
            } => self.signal_failed(&container, attempt),
            _ => {}
        }
    }

    fn created(&mut self, container: String, attempt: u32, id: String) {
        self.answered(&Action::CreateContainer {
            container: container.clone(),
            attempt,
        });
        let Some(instance) = self.instance(&container, attempt) else {
            return;
        };
        let first = instance.id.is_none();
        instance.id = Some(id);
        if instance.stage == Stage::Creating {
            instance.stage = Stage::Created;
        }
        if first {
            let event = PodEvent::normal(self.now, "Created", "Container created");
            self.tell_of(&container, event);
        }
    }

    fn started(&mut self, container: String, attempt: u32, pid: i32, at: Timestamp) {
        self.answered(&Action::StartContainer {
            container: container.clone(),
            attempt,
        });
        let mono = self.now.mono;
        let mut all = self.pod.spec.all_containers();
        let hook = all.any(|c| c.name == container && c.lifecycle.post_start.is_some());
        let Some((record, memory)) = self.both(&container) else {
            return;
        };
        let new = match record.instance.as_mut().filter(|i| i.attempt == attempt) {
            Some(i) if matches!(i.stage, Stage::Creating | Stage::Created) => {
                i.stage = Stage::Running { pid, at };
                memory.starting = None;
                memory.running_since = Some(mono);
                if hook {
                    memory.post_start = PostStart::Pending;
                } else {
                    memory.waiting = None;
                }
                true
            }
            // It ended before its start was answered.
            Some(_) => {
                let ended = record.ended.as_mut();
                let ended = ended.filter(|e| e.attempt == attempt && e.started_at.is_none());
                ended.map(|e| e.started_at = Some(at)).is_some()
            }
            None => false,
        };
        if new {
            let event = PodEvent::normal(self.now, "Started", "Container started");
            self.tell_of(&container, event);
        }
    }

    fn failed(&mut self, container: String, attempt: u32, reason: StartFailure, message: String) {
        let now = self.now;
        let start = Action::StartContainer {
            container: container.clone(),
            attempt,
        };
        if !self.answered(&start) {
            self.answered(&Action::CreateContainer {
                container: container.clone(),
                attempt,
            });
        }
        match self.instance(&container, attempt).map(|i| i.stage) {
            Some(Stage::Creating) => {
                if let Some((record, memory)) = self.both(&container) {
                    record.instance = None;
                    memory.retry_at = Some(now.mono.plus_ms(CREATE_RETRY_MS));
                }
            }
            Some(Stage::Created) => {
                let end = End {
                    exit_code: 128,
                    signal: None,
                    reason: Some("StartError"),
                    message: Some(message.clone()),
                    at: now.wall,
                };
                self.ended(&container, attempt, end);
            }
            Some(Stage::Running { .. } | Stage::Exited) | None => return,
        }
        let text = format!("Error: {message}");
        if let Some((_, memory)) = self.both(&container) {
            memory.starting = None;
            memory.waiting = Some(Waiting {
                reason: reason.as_str().to_owned(),
                message: Some(message),
                fresh: true,
            });
        }
        self.tell_of(&container, PodEvent::warning(now, "Failed", text));
    }

    /// Only a container that fails is `OOMKilled`: the kernel may have killed a child that it can spare.
    fn oom(&mut self, container: &str, attempt: u32) {
        let Some((record, _)) = self.both(container) else {
            return;
        };
        if let Some(instance) = record.instance.as_mut().filter(|i| i.attempt == attempt) {
            instance.oom = true;
        }
        // The news may come after the exit.
        let ended = record.ended.as_mut();
        if let Some(ended) = ended.filter(|e| e.attempt == attempt && e.reason == ERROR) {
            ended.reason = OOM_KILLED.to_owned();
        }
    }

    fn ended(&mut self, container: &str, attempt: u32, end: End) {
        let seen = self.now.mono;
        let Some((record, memory)) = self.both(container) else {
            return;
        };
        let instance = record.instance.as_mut();
        let Some(instance) = instance.filter(|i| i.attempt == attempt && i.stage != Stage::Exited)
        else {
            return;
        };
        let reason = end.reason.unwrap_or(match (end.exit_code, instance.oom) {
            (0, _) => "Completed",
            (_, true) => OOM_KILLED,
            (_, false) => ERROR,
        });
        let ended = Ended {
            attempt,
            sandbox: instance.sandbox,
            id: instance.id.clone(),
            exit_code: end.exit_code,
            signal: end.signal,
            reason: reason.to_owned(),
            message: end.message,
            started_at: match instance.stage {
                Stage::Running { at, .. } => Some(at),
                _ => None,
            },
            finished_at: end.at,
            seen,
            cause: match memory.kill.map(|k| k.cause) {
                Some(KillCause::Probe(_)) => EndCause::Probe,
                _ => EndCause::Other,
            },
        };
        instance.stage = Stage::Exited;
        record.next = attempt.saturating_add(1);
        let by_probe = ended.cause == EndCause::Probe;
        record.ended_before = record.ended.replace(ended);
        memory.at_once = by_probe && {
            let before = record.ended_before.as_ref();
            let before = before.filter(|e| e.cause != EndCause::RestartAll);
            let before = before.zip(memory.crash);
            before.is_none_or(|(end, delay)| seen >= delay.until(CRASH, end.seen))
        };
        memory.starting = None;
        memory.waiting = match std::mem::take(&mut memory.post_start) {
            PostStart::Failed(message) => Some(Waiting {
                reason: "PostStartHookError".to_owned(),
                message: Some(message),
                fresh: true,
            }),
            PostStart::Done | PostStart::Pending => None,
        };
        self.state.memory.drop_hooks(container);
    }

    fn removed(&mut self, container: String, attempt: u32) {
        self.answered(&Action::RemoveContainer {
            container: container.clone(),
            attempt,
        });
        let instance = self.instance(&container, attempt);
        if instance.is_none_or(|i| matches!(i.stage, Stage::Running { .. })) {
            return;
        }
        if let Some((record, memory)) = self.both(&container) {
            // Also when it never started: its number names things that are found again.
            record.next = attempt.saturating_add(1);
            record.instance = None;
            memory.remove = None;
            memory.starting = None;
        }
    }

    fn remove_failed(&mut self, container: String, attempt: u32, message: &str) {
        let now = self.now;
        self.answered(&Action::RemoveContainer {
            container: container.clone(),
            attempt,
        });
        if self.instance(&container, attempt).is_none() {
            return;
        }
        if let Some((_, memory)) = self.both(&container) {
            memory.remove = Some(Backoff::next(memory.remove, RETRY, now.mono, now.mono));
        }
        let text = format!("error killing pod: {message}");
        self.tell_of(&container, PodEvent::warning(now, "FailedKillPod", text));
    }

    fn signal_failed(&mut self, container: &str, attempt: u32) {
        let mono = self.now.mono;
        if self.instance(container, attempt).is_none() {
            return;
        }
        if let Some((_, memory)) = self.both(container) {
            let signals = &mut memory.signals;
            signals.retry = true;
            signals.failed = Some(Backoff::next(signals.failed, RETRY, mono, mono));
        }
    }

    pub(super) fn instance(&mut self, container: &str, attempt: u32) -> Option<&mut Instance> {
        let record = self.state.observed.containers.get_mut(container)?;
        record.instance.as_mut().filter(|i| i.attempt == attempt)
    }
}
