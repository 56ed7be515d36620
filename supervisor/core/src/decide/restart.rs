//! Whether a container that ended runs again, and what that means for the Pod.

use super::Planner;
use crate::pod::{Container, Pod, RestartAction, RestartPolicy};
use crate::state::{EndCause, Ended, Stage};

/// Whether the container runs again (`ContainerShouldRestart`, pkg/api/v1/pod/util.go): by the first of its rules
/// that is about the exit code, else by its own policy or the Pod's. A probe that fails lets any but `Never`
/// restart it, whatever the rules. An init container that ended well is through.
pub(crate) fn should_restart(pod: &Pod, container: &Container, ended: &Ended) -> bool {
    if container.sidecar || ended.cause == EndCause::RestartAll {
        return true;
    }
    let policy = container.restart_policy;
    let policy = policy.unwrap_or(pod.spec.restart_policy);
    if ended.cause == EndCause::Probe {
        return policy != RestartPolicy::Never;
    }
    let init = || {
        pod.spec
            .init_containers
            .iter()
            .any(|c| c.name == container.name)
    };
    if ended.exit_code == 0 && init() {
        return false;
    }
    match policy {
        _ if rule(container, ended).is_some() => true,
        RestartPolicy::Never => false,
        RestartPolicy::OnFailure => ended.exit_code != 0,
        RestartPolicy::Always => true,
    }
}

/// What the first rule that is about this end asks for.
fn rule(container: &Container, ended: &Ended) -> Option<RestartAction> {
    if ended.cause != EndCause::Other {
        return None;
    }
    let mut rules = container.restart_rules.iter();
    let first = rules.find(|rule| rule.matches(ended.exit_code));
    first.map(|rule| rule.action)
}

impl Planner<'_> {
    /// A container has just ended for which all are restarted.
    pub(super) fn restart_all_wanted(&self) -> bool {
        self.pod.spec.all_containers().any(|c| {
            let record = self.record(c);
            let ended = record.ended.as_ref();
            record.stage() == Some(Stage::Exited)
                && ended.and_then(|e| rule(c, e)) == Some(RestartAction::RestartAllContainers)
        })
    }

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
