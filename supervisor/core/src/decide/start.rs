//! Bringing a Pod up, and keeping it up: sandbox, init containers in order, sidecars, containers.

use super::Planner;
use super::container::Progress;
use crate::action::Action;
use crate::backoff::RETRY;
use crate::state::SandboxStage;

impl Planner<'_> {
    pub(super) fn start(&mut self) {
        self.count_init();
        let sandbox = self.observed.sandbox.as_ref();
        match sandbox.map(|s| (s.attempt, s.stage)) {
            None => {
                let delay = self.memory.sandbox_create;
                if delay.is_some_and(|d| !self.due(d.until(RETRY, d.updated))) {
                    return;
                }
                let attempt = self.memory.next_sandbox;
                self.act(Action::CreateSandbox { attempt });
            }
            // After a restart of the supervisor.
            Some((attempt, SandboxStage::Creating)) => {
                self.act(Action::CreateSandbox { attempt });
            }
            Some((_, SandboxStage::Failed)) => {
                self.remove_sandbox(false);
                return;
            }
            Some((_, SandboxStage::Ready)) => {}
            // Answered by a stop.
            Some((_, SandboxStage::Exited)) => return,
        }
        self.start_containers();
    }

    /// Counts the init containers that are behind: from each to the next as soon as it ended well or, a
    /// sidecar, is started (`computeInitContainerActions`, kuberuntime_manager.go).
    fn count_init(&mut self) {
        let Some(sandbox) = self.observed.ready_sandbox() else {
            return;
        };
        while let Some(container) = self.pod.spec.init_containers.get(self.memory.init_done) {
            let record = self.record(container);
            let behind = if container.sidecar {
                record.is_running() && self.remembered(container).is_started()
            } else {
                let ended = record.ended.as_ref();
                ended.is_some_and(|e| e.sandbox == sandbox.attempt && e.exit_code == 0)
            };
            if !behind {
                break;
            }
            self.memory.init_done += 1;
        }
    }

    fn start_containers(&mut self) {
        let pod = self.pod;
        let done = self.memory.init_done;
        for sidecar in pod.spec.init_containers.iter().take(done) {
            if sidecar.sidecar {
                self.run(sidecar, true);
            } else {
                self.clean(sidecar);
            }
        }
        if let Some(next) = pod.spec.init_containers.get(done) {
            self.run(next, true);
            return;
        }
        // A kubelet starts one after the other: a container waits while one before it is on its way.
        let mut turn = true;
        for container in &pod.spec.containers {
            turn &= self.run(container, turn) != Progress::OnItsWay;
        }
    }
}
