//! Events of the sandbox.

use super::Fold;
use crate::action::Action;
use crate::backoff::{Backoff, RETRY};
use crate::event::Event;
use crate::state::{SandboxRecord, SandboxStage};
use crate::status::PodEvent;

impl Fold<'_> {
    pub(super) fn sandbox(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::SandboxCreated {
                attempt,
                id,
                pid,
                ips,
            } => {
                self.answered(&Action::CreateSandbox { attempt });
                let Some(sandbox) = self.current(attempt) else {
                    return;
                };
                sandbox.id = Some(id);
                sandbox.pid = Some(pid);
                if sandbox.stage == SandboxStage::Creating {
                    sandbox.stage = SandboxStage::Ready;
                    let observed = &mut self.state.observed;
                    observed.pod_ips = if self.pod.spec.host_network {
                        observed.host_ips.clone()
                    } else {
                        ips
                    };
                }
            }
            Event::SandboxFailed { attempt, message } => {
                let text = format!("Failed to create pod sandbox: {message}");
                let event = PodEvent::warning(now, "FailedCreatePodSandBox", text);
                self.sandbox_failed(attempt, event);
            }
            Event::VolumesFailed { attempt, message } => {
                let event = PodEvent::warning(now, "FailedMount", message);
                self.sandbox_failed(attempt, event);
            }
            Event::SandboxExited { attempt } => {
                if let Some(sandbox) = self.current(attempt)
                    && matches!(sandbox.stage, SandboxStage::Creating | SandboxStage::Ready)
                {
                    sandbox.stage = SandboxStage::Exited;
                    self.delay_next();
                }
            }
            Event::SandboxRemoved { attempt, last } => {
                if !self.answered(&Action::RemoveSandbox { attempt, last }) {
                    return;
                }
                let observed = &mut self.state.observed;
                observed.sandbox.take_if(|s| s.attempt == attempt);
                observed.volumes &= !last;
                self.state.memory.sandbox_remove = None;
            }
            Event::SandboxRemoveFailed {
                attempt,
                last,
                message,
            } => {
                if !self.answered(&Action::RemoveSandbox { attempt, last }) {
                    return;
                }
                let delay = &mut self.state.memory.sandbox_remove;
                *delay = Some(Backoff::next(*delay, RETRY, now.mono, now.mono));
                let text = format!("error killing pod: {message}");
                self.tell(PodEvent::warning(now, "FailedKillPod", text));
            }
            _ => {}
        }
    }

    fn sandbox_failed(&mut self, attempt: u32, event: PodEvent) {
        self.answered(&Action::CreateSandbox { attempt });
        let Some(sandbox) = self.current(attempt) else {
            return;
        };
        if sandbox.stage == SandboxStage::Creating {
            sandbox.stage = SandboxStage::Failed;
            self.delay_next();
            self.tell(event);
        }
    }

    /// A sandbox that fails or ends again and again must not keep the machine busy.
    fn delay_next(&mut self) {
        let delay = &mut self.state.memory.sandbox_create;
        let now = self.now.mono;
        *delay = Some(Backoff::next(*delay, RETRY, now, now));
    }

    fn current(&mut self, attempt: u32) -> Option<&mut SandboxRecord> {
        let sandbox = self.state.observed.sandbox.as_mut();
        sandbox.filter(|s| s.attempt == attempt)
    }
}
