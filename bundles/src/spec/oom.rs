//! Which processes the kernel ends first when the machine is out of memory: `oom_score_adj`.

use carob_core::pod::{Container, Pod, QosClass, ResourceList};

const GUARANTEED: i32 = -997;
const BEST_EFFORT: i32 = 1000;

/// The adjustment of the pause program (kubelet, `pkg/kubelet/qos/policy.go`; containerd,
/// `defaultSandboxOOMAdj`). A value that this process may not set is raised when the container is made.
pub(super) const SANDBOX: i32 = -998;

/// The adjustment of a container (kubelet, `pkg/kubelet/qos/policy.go`): the more of the machine's memory it
/// requests, the later it ends; a sidecar not before the least of the containers that it serves.
pub fn oom_score_adj(pod: &Pod, container: &Container, memory_capacity: u64) -> i32 {
    match QosClass::of(&pod.spec) {
        QosClass::Guaranteed => return GUARANTEED,
        QosClass::BestEffort => return BEST_EFFORT,
        QosClass::Burstable => {}
    }
    let requested =
        |requests: &ResourceList| requests.get("memory").map_or(0, |q| q.value().max(0));
    let own = requested(&container.resources.requests);
    let others = pod
        .spec
        .containers
        .iter()
        .map(|c| requested(&c.resources.requests))
        .min();
    let request = match others.filter(|_| container.sidecar) {
        Some(others) => own.max(others),
        None => own,
    };
    let capacity = i128::from(memory_capacity.max(1));
    let adjustment = 1000 - 1000 * i128::from(request) / capacity;
    let lowest = i128::from(1000 + GUARANTEED);
    let highest = i128::from(BEST_EFFORT - 1);
    i32::try_from(adjustment.clamp(lowest, highest)).unwrap_or(BEST_EFFORT - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::testing;

    #[test]
    fn follows_the_class_and_the_request() {
        let gi = 1 << 30;
        let rows: [(&str, &str, i32); 7] = [
            ("", "", 1000),
            ("1Gi", "", 900),
            ("10Gi", "", 3),
            ("5Gi", "", 500),
            ("1", "", 999),
            ("0", "2Gi", 999),
            ("20Gi", "", 3),
        ];
        for (request, limit, expected) in rows {
            let mut pod = testing::pod();
            testing::resource(
                &mut pod.spec.containers[0].resources.requests,
                "memory",
                request,
            );
            testing::resource(
                &mut pod.spec.containers[0].resources.limits,
                "memory",
                limit,
            );
            let container = pod.spec.containers[0].clone();
            assert_eq!(
                oom_score_adj(&pod, &container, 10 * gi),
                expected,
                "{request} {limit}"
            );
        }
    }

    #[test]
    fn guaranteed_pods_go_last() {
        let mut pod = testing::pod();
        let resources = &mut pod.spec.containers[0].resources;
        for list in [&mut resources.requests, &mut resources.limits] {
            testing::resource(list, "memory", "1Gi");
            testing::resource(list, "cpu", "1");
        }
        let container = pod.spec.containers[0].clone();
        assert_eq!(oom_score_adj(&pod, &container, 10 << 30), -997);
    }

    #[test]
    fn a_sidecar_lives_as_long_as_what_it_serves() {
        let mut pod = testing::pod();
        testing::resource(
            &mut pod.spec.containers[0].resources.requests,
            "memory",
            "4Gi",
        );
        let mut sidecar = pod.spec.containers[0].clone();
        sidecar.resources.requests.clear();
        assert_eq!(
            oom_score_adj(&pod, &sidecar, 10 << 30),
            999,
            "an init container"
        );
        sidecar.sidecar = true;
        assert_eq!(oom_score_adj(&pod, &sidecar, 10 << 30), 600);
        testing::resource(&mut sidecar.resources.requests, "memory", "8Gi");
        assert_eq!(oom_score_adj(&pod, &sidecar, 10 << 30), 200);
    }
}
