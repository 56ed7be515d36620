//! What a status must keep to.

use carob_core::pod::Pod;
use carob_core::status::{ConditionStatus, ContainerStatus, Phase, PodStatus};

use super::{Check, Verdict, ensure};

impl Check {
    pub(super) fn status(&mut self, pod: &Pod, status: &PodStatus) -> Verdict {
        let before = self.told.phase.replace(status.phase);
        ensure(
            before.is_none_or(|p| !p.is_terminal() || p == status.phase),
            || format!("{before:?} left for {:?}", status.phase),
        )?;
        let main = &status.container_statuses;
        for container in status.init_container_statuses.iter().chain(main) {
            let shown = &mut self.of(&container.name).shown;
            ensure(container.restart_count >= *shown, || {
                format!("restart count of {} falls below {shown}", container.name)
            })?;
            *shown = container.restart_count;
            let state = &container.state;
            let known = [
                state.waiting.is_some(),
                state.running.is_some(),
                state.terminated.is_some(),
            ];
            ensure(known.iter().filter(|k| **k).count() == 1, || {
                format!("{} is in {state:?}", container.name)
            })?;
        }
        for (spec, shown) in pod.spec.all_containers().filter_map(|spec| {
            let mut all = status.init_container_statuses.iter().chain(main);
            Some((spec, all.find(|c| c.name == spec.name)?))
        }) {
            let init = pod.spec.init_containers.iter().any(|c| c.name == spec.name);
            if init && !spec.sidecar {
                continue;
            }
            let asked = &self.told.containers[&spec.name].asked;
            let running = shown.state.running.is_some();
            let expected = match running {
                true => [asked.is_started(spec), asked.is_ready(spec)],
                false => [false, false],
            };
            ensure([shown.started, shown.ready] == expected, || {
                format!("{} is shown as started and ready: {shown:?}", spec.name)
            })?;
        }
        let sidecar = |name: &str| {
            let mut init = pod.spec.init_containers.iter();
            init.any(|c| c.name == name && c.sidecar)
        };
        let sidecars = status.init_container_statuses.iter();
        let mut serving = sidecars.filter(|c| sidecar(&c.name)).chain(main);
        let ready = status.conditions.iter().find(|c| c.kind == "Ready");
        let ready = ready.is_some_and(|c| c.status == ConditionStatus::True);
        ensure(
            !ready || serving.all(|c| c.started && c.state.running.is_some()),
            || "ready without all containers running".to_owned(),
        )?;
        let ended = |c: &ContainerStatus| c.state.terminated.as_ref().map(|t| t.exit_code);
        ensure(
            status.phase != Phase::Succeeded || main.iter().all(|c| ended(c) == Some(0)),
            || "succeeded with a container that did not".to_owned(),
        )
    }
}
