//! Keeping one container running: back-offs, image, create, start, and the removal of what ended.

use super::end::End;
use super::{Planner, should_restart};
use crate::action::Action;
use crate::backoff::{Backoff, CRASH, IMAGE, RETRY};
use crate::pod::Container;
use crate::state::{EndCause, Ended, PostStart, Stage, Starting, Waiting};
use crate::status::PodEvent;
use crate::time::{Mono, go_duration};

/// How far a container is with being started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing to do: runs, is over, or waits for a time.
    Settled,
    /// Image, create or start are to be done.
    OnItsWay,
}

impl Planner<'_> {
    /// Does what is next for the container to run; starts it only in its turn.
    pub(super) fn run(&mut self, container: &Container, turn: bool) -> Progress {
        let record = self.record(container);
        let Some(instance) = record.instance.as_ref() else {
            return self.begin(container);
        };
        let attempt = instance.attempt;
        let name = container.name.clone();
        match instance.stage {
            Stage::Running { .. } => self.keep(container, attempt),
            Stage::Exited => {
                self.remove(&name, attempt);
                Progress::Settled
            }
            // After a restart of the supervisor.
            Stage::Creating => {
                let container = name;
                self.act(Action::CreateContainer { container, attempt });
                Progress::OnItsWay
            }
            Stage::Created => {
                if turn {
                    let container = name;
                    self.act(Action::StartContainer { container, attempt });
                }
                Progress::OnItsWay
            }
        }
    }

    /// The instance runs: its postStart hook is done first, and it is ended when that or a probe fails.
    fn keep(&mut self, container: &Container, attempt: u32) -> Progress {
        if let Some(kill) = self.kill_wanted(container) {
            let end = End {
                kill_at: kill.kill_at,
                force: false,
                hooks: !kill.no_grace,
                turn: true,
            };
            self.end(container, attempt, &end);
        } else if self.remembered(container).post_start == PostStart::Pending {
            self.act(Action::PostStart {
                container: container.name.clone(),
                attempt,
            });
        }
        match self.remembered(container).post_start {
            PostStart::Done => Progress::Settled,
            PostStart::Pending | PostStart::Failed(_) => Progress::OnItsWay,
        }
    }

    /// Removes what is left of a container that is not to run again.
    pub(super) fn clean(&mut self, container: &Container) {
        if let Some(instance) = &self.record(container).instance
            && instance.stage == Stage::Exited
        {
            self.remove(&container.name, instance.attempt);
        }
    }

    /// Removes an instance that does not run.
    pub(super) fn remove(&mut self, name: &str, attempt: u32) {
        let delay = self.memory.containers.get(name).and_then(|m| m.remove);
        if delay.is_none_or(|d| self.due(d.until(RETRY, d.updated))) {
            self.act(Action::RemoveContainer {
                container: name.to_owned(),
                attempt,
            });
        }
    }

    /// There is no instance: makes one, if the container is to run and its back-offs are over.
    fn begin(&mut self, container: &Container) -> Progress {
        let record = self.record(container);
        if !self.is_wanted(container) {
            return Progress::Settled;
        }
        if self.remembered(container).starting.is_none() {
            if !self.is_begin_due(container) {
                return Progress::Settled;
            }
            let now = self.now.mono;
            let memory = self.remembered(container);
            memory.starting = Some(Starting::Image);
            memory.retry_at = None;
            let counted = match memory.at_once {
                true => record.ended_before.as_ref(),
                false => record.ended.as_ref(),
            };
            if let Some(ended) = counted.filter(|e| has_back_off(e)) {
                memory.crash = Some(Backoff::next(memory.crash, CRASH, ended.seen, now));
            }
        }
        let name = container.name.clone();
        if self.remembered(container).starting == Some(Starting::Image) {
            self.act(Action::EnsureImage { container: name });
        } else if self.observed.ready_sandbox().is_some() {
            self.act(Action::CreateContainer {
                container: name,
                attempt: record.next,
            });
        }
        Progress::OnItsWay
    }

    /// Whether the container is to run (again): always at first, then by restart policy; an init container
    /// that ended well, once per sandbox.
    fn is_wanted(&self, container: &Container) -> bool {
        let Some(ended) = &self.record(container).ended else {
            return true;
        };
        let sandbox = self.observed.sandbox.as_ref().map(|s| s.attempt);
        let init = self.is_init(container) && !container.sidecar;
        should_restart(self.pod, container, ended) || init && sandbox != Some(ended.sandbox)
    }

    fn is_init(&self, container: &Container) -> bool {
        let mut init = self.pod.spec.init_containers.iter();
        init.any(|c| c.name == container.name)
    }

    /// Whether every back-off of the container is over; says which is not (`doBackOff`,
    /// kuberuntime_manager.go; `EnsureImageExists`, image_manager.go).
    fn is_begin_due(&mut self, container: &Container) -> bool {
        let now = self.now.mono;
        let memory = self.remembered(container);
        if let Some(waiting) = memory.waiting.as_mut().filter(|w| w.fresh) {
            // What went wrong is shown once before the back-off is.
            waiting.fresh = false;
            self.wake(now);
            return false;
        }
        let retry_at = memory.retry_at;
        let (crash, at_once) = (memory.crash, memory.at_once);
        if let (Some(ended), Some(delay)) = (&self.record(container).ended, crash)
            && has_back_off(ended)
            && !at_once
            && now < delay.until(CRASH, ended.seen)
        {
            self.wait_for_crash(container, ended, delay);
            return false;
        }
        let image = self.memory.images.get(&container.image).copied();
        if let Some(delay) = image
            && now < delay.until(IMAGE, delay.updated)
        {
            self.wait_for_image(container, delay.until(IMAGE, delay.updated));
            return false;
        }
        retry_at.is_none_or(|at| self.due(at))
    }

    fn wait_for_crash(&mut self, container: &Container, ended: &Ended, delay: Backoff) {
        self.wake(delay.until(CRASH, ended.seen));
        let meta = &self.pod.metadata;
        let pod = format!("{}_{}({})", meta.name, meta.namespace, meta.uid);
        let message = format!(
            "back-off {} restarting failed container={} pod={pod}",
            go_duration(delay.delay_ms),
            container.name
        );
        if self.wait(container, "CrashLoopBackOff", message) {
            let text = format!(
                "Back-off restarting failed container {} in pod {pod}",
                container.name
            );
            let event = PodEvent::warning(self.now, "BackOff", text);
            self.tell(event.of(self.pod, &container.name));
        }
    }

    fn wait_for_image(&mut self, container: &Container, until: Mono) {
        self.wake(until);
        let text = format!("Back-off pulling image {:?}", container.image);
        let before = self.remembered(container).waiting.as_ref();
        if before.is_some_and(|w| w.reason == IMAGE_BACKOFF) {
            return;
        }
        let message = match before.and_then(|w| Some((&w.reason, w.message.as_ref()?))) {
            Some((reason, why)) => format!("{text}: {reason}: {why}"),
            None => text.clone(),
        };
        self.wait(container, IMAGE_BACKOFF, message);
        let name = &container.name;
        self.tell(PodEvent::normal(self.now, "BackOff", text).of(self.pod, name));
        let text = format!("Error: {IMAGE_BACKOFF}");
        self.tell(PodEvent::warning(self.now, "Failed", text).of(self.pod, name));
    }

    /// Notes why the container waits; true when that is new.
    fn wait(&mut self, container: &Container, reason: &str, message: String) -> bool {
        let waiting = Waiting {
            reason: reason.to_owned(),
            message: Some(message),
            fresh: false,
        };
        let memory = self.remembered(container);
        let new = memory.waiting.as_ref() != Some(&waiting);
        memory.waiting = Some(waiting);
        new
    }
}

/// Whether the next instance may have to wait after this end.
fn has_back_off(ended: &Ended) -> bool {
    ended.cause != EndCause::RestartAll
}

const IMAGE_BACKOFF: &str = "ImagePullBackOff";
