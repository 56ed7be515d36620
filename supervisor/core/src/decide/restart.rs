//! Whether a container that ended runs again, and what that means for the Pod.

use super::Planner;
use crate::pod::{Container, Pod, RestartPolicy};
use crate::state::{Ended, Stage};

/// Whether the restart policy lets the container run again (`ContainerShouldRestart`,
/// pkg/api/v1/pod/util.go). An init container that ended well is through, whatever the policy.
pub(crate) fn should_restart(pod: &Pod, container: &Container, ended: &Ended) -> bool {
    if container.sidecar {
        return true;
    }
    let init = || {
        pod.spec
            .init_containers
            .iter()
            .any(|c| c.name == container.name)
    };
    match pod.spec.restart_policy {
        RestartPolicy::Never => false,
        RestartPolicy::OnFailure => ended.exit_code != 0,
        RestartPolicy::Always => ended.exit_code != 0 || !init(),
    }
}

impl Planner<'_> {
    /// The container has ended and stays so.
    pub(super) fn is_over(&self, container: &Container) -> bool {
        let record = self.record(container);
        let ended = record.ended.as_ref();
        matches!(record.stage(), None | Some(Stage::Exited))
            && ended.is_some_and(|e| !should_restart(self.pod, container, e))
    }

    /// All containers but init containers and sidecars have ended and stay so.
    pub(super) fn is_finished(&self) -> bool {
        self.pod.spec.containers.iter().all(|c| self.is_over(c))
    }

    /// An init container has failed and stays so.
    pub(super) fn init_failed(&self) -> bool {
        self.pod.spec.init_containers.iter().any(|c| {
            let ended = self.record(c).ended.as_ref();
            self.is_over(c) && ended.is_some_and(|e| e.exit_code != 0)
        })
    }

    /// Whether a Pod whose sandbox ended gets a new one (`computePodActions`, kuberuntime_manager.go): with
    /// `Never` only while it has had no container.
    pub(super) fn may_change_sandbox(&self) -> bool {
        let mut all = self.pod.spec.all_containers();
        self.pod.spec.restart_policy != RestartPolicy::Never
            || !all.any(|c| self.record(c).existed())
    }
}
