//! Requests and limits as cgroup settings, of a container and of a Pod.

use std::collections::HashMap;

use carob_core::pod::{Container, Pod, PodSpec, Quantity, ResourceList};
use oci_spec::runtime::{LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxPids, LinuxResources};

use super::Machine;

/// Microseconds over which a CPU quota counts (kubelet, `pkg/kubelet/cm/helpers_linux.go`).
const PERIOD: u64 = 100_000;
/// The kernel takes no smaller quota, in microseconds.
const MIN_QUOTA: i64 = 1000;
const MIN_SHARES: u64 = 2;
const MAX_SHARES: u64 = 262_144;
const SHARES_PER_CPU: u64 = 1024;

/// The cgroup settings of a container, without devices (kubelet,
/// `pkg/kubelet/kuberuntime/kuberuntime_container_linux.go`).
pub(super) fn of_container(
    container: &Container,
    machine: &Machine,
    pids_limit: Option<i64>,
) -> LinuxResources {
    let (requests, limits) = (&container.resources.requests, &container.resources.limits);
    let mut resources = LinuxResources::default();
    resources
        .set_cpu(Some(cpu(milli(requests, "cpu"), milli(limits, "cpu"))))
        .set_memory(memory(whole(limits, "memory"), machine))
        .set_hugepage_limits(hugepages(machine, |size| of_huge_pages(limits, size)));
    if let Some(limit) = pids_limit {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids));
    }
    if machine.cgroup_v2 {
        // When memory runs out all processes of the container end, not one that the others may need
        // (kubelet's default, singleProcessOOMKill: false).
        let group = HashMap::from([("memory.oom.group".to_owned(), "1".to_owned())]);
        resources.set_unified(Some(group));
    }
    resources
}

/// The settings of the cgroup that holds all containers of a Pod (kubelet,
/// `pkg/kubelet/cm/helpers_linux.go`, `ResourceConfigForPod`): the sums of the requests, and those of the
/// limits where every container has one.
pub fn pod_resources(pod: &Pod, machine: &Machine) -> LinuxResources {
    let limit = |amount: fn(&ResourceList, &str) -> u64, name: &str| {
        let of = |c: &Container| amount(&c.resources.limits, name);
        let all = pod.spec.all_containers().all(|c| of(c) > 0);
        if all { total(&pod.spec, of) } else { 0 }
    };
    let request = total(&pod.spec, |c| milli(&c.resources.requests, "cpu"));
    let mut resources = LinuxResources::default();
    resources
        .set_cpu(Some(cpu(request, limit(milli, "cpu"))))
        .set_memory(memory(limit(whole, "memory"), machine))
        .set_hugepage_limits(hugepages(machine, |size| {
            total(&pod.spec, |c| of_huge_pages(&c.resources.limits, size))
        }));
    resources
}

/// What all containers of a Pod need at once: init containers run one at a time before the others, beside
/// the sidecars that were started before them (`k8s.io/component-helpers/resource`).
fn total(spec: &PodSpec, amount: impl Fn(&Container) -> u64) -> u64 {
    let (mut sidecars, mut peak) = (0u64, 0u64);
    for container in &spec.init_containers {
        let needed = sidecars.saturating_add(amount(container));
        peak = peak.max(needed);
        if container.sidecar {
            sidecars = needed;
        }
    }
    let running = spec
        .containers
        .iter()
        .map(amount)
        .fold(sidecars, u64::saturating_add);
    running.max(peak)
}

fn cpu(request_milli: u64, limit_milli: u64) -> LinuxCpu {
    let shares =
        (request_milli.saturating_mul(SHARES_PER_CPU) / 1000).clamp(MIN_SHARES, MAX_SHARES);
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(Some(shares));
    if limit_milli > 0 {
        let quota = i64::try_from(limit_milli.saturating_mul(PERIOD) / 1000).unwrap_or(i64::MAX);
        cpu.set_quota(Some(quota.max(MIN_QUOTA)))
            .set_period(Some(PERIOD));
    }
    cpu
}

/// Swap counts against the limit, so that a container does not swap (containerd,
/// `internal/cri/opts/spec_linux_opts.go`).
fn memory(limit: u64, machine: &Machine) -> Option<LinuxMemory> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut memory = LinuxMemory::default();
    memory.set_limit(Some(limit));
    if machine.swap_accounting {
        memory.set_swap(Some(limit));
    }
    (limit > 0).then_some(memory)
}

/// Huge pages are not overcommitted: what is not asked for cannot be used.
fn hugepages(machine: &Machine, limit: impl Fn(u64) -> u64) -> Option<Vec<LinuxHugepageLimit>> {
    let limits = machine.hugepage_sizes.iter().map(|size| {
        let mut entry = LinuxHugepageLimit::default();
        entry
            .set_page_size(size_name(*size))
            .set_limit(i64::try_from(limit(*size)).unwrap_or(i64::MAX));
        entry
    });
    let limits: Vec<_> = limits.collect();
    (!limits.is_empty()).then_some(limits)
}

/// Bytes of huge pages of one size: the resource `hugepages-2Mi` and however else one may write 2 MiB.
fn of_huge_pages(list: &ResourceList, page_size: u64) -> u64 {
    let is_of_size = |name: &str| {
        let size = name.strip_prefix("hugepages-")?.parse::<Quantity>().ok()?;
        (u64::try_from(size.value()) == Ok(page_size)).then_some(())
    };
    let amounts = list.keys().filter(|name| is_of_size(name).is_some());
    amounts
        .map(|name| whole(list, name))
        .fold(0, u64::saturating_add)
}

/// Bytes in the greatest unit that divides them (`2MB`), as the runtime specification and the controller's
/// file names have it.
fn size_name(bytes: u64) -> String {
    let (mut size, mut unit) = (bytes, "B");
    for next in ["KB", "MB", "GB"] {
        if size == 0 || size % 1024 != 0 {
            break;
        }
        (size, unit) = (size / 1024, next);
    }
    format!("{size}{unit}")
}

/// Whole units (bytes), 0 when absent.
fn whole(list: &ResourceList, name: &str) -> u64 {
    list.get(name)
        .map_or(0, |q| q.value().try_into().unwrap_or(0))
}

/// Thousandths (millicores), 0 when absent.
fn milli(list: &ResourceList, name: &str) -> u64 {
    list.get(name)
        .map_or(0, |q| q.milli_value().try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::spec::testing::{machine, pod, resource};

    fn of(requests: &[(&str, &str)], limits: &[(&str, &str)]) -> Value {
        let container = container(requests, limits);
        serde_json::to_value(of_container(&container, &machine(), None)).unwrap()
    }

    fn container(requests: &[(&str, &str)], limits: &[(&str, &str)]) -> Container {
        let mut container = pod().spec.containers.remove(0);
        for (name, amount) in requests {
            resource(&mut container.resources.requests, name, amount);
        }
        for (name, amount) in limits {
            resource(&mut container.resources.limits, name, amount);
        }
        container
    }

    #[test]
    fn cpu_requests_become_shares() {
        for (request, shares) in [
            ("", 2),
            ("1m", 2),
            ("100m", 102),
            ("1", 1024),
            ("1500m", 1536),
            ("1000", 262_144),
        ] {
            assert_eq!(
                of(&[("cpu", request)], &[])["cpu"],
                json!({ "shares": shares }),
                "{request}"
            );
        }
    }

    #[test]
    fn cpu_limits_become_quotas() {
        for (limit, quota) in [
            ("1m", 1000),
            ("10m", 1000),
            ("11m", 1100),
            ("500m", 50_000),
            ("2", 200_000),
        ] {
            let expected = json!({ "shares": 2, "quota": quota, "period": 100_000 });
            assert_eq!(of(&[], &[("cpu", limit)])["cpu"], expected, "{limit}");
        }
        assert_eq!(of(&[], &[("cpu", "0")])["cpu"], json!({ "shares": 2 }));
    }

    #[test]
    fn memory_is_limited_together_with_swap() {
        let limit = 64 << 20;
        assert_eq!(
            of(&[], &[("memory", "64Mi")])["memory"],
            json!({ "limit": limit, "swap": limit })
        );
        assert_eq!(
            of(&[("memory", "64Mi")], &[("memory", "0")])["memory"],
            Value::Null
        );
        let container = container(&[], &[("memory", "64Mi")]);
        let without = Machine {
            swap_accounting: false,
            ..machine()
        };
        let resources = serde_json::to_value(of_container(&container, &without, Some(7))).unwrap();
        assert_eq!(resources["memory"], json!({ "limit": limit }));
        assert_eq!(resources["pids"], json!({ "limit": 7 }));
    }

    #[test]
    fn huge_pages_not_asked_for_are_none() {
        let sizes = |two: u64, one: u64| json!([{ "pageSize": "2MB", "limit": two }, { "pageSize": "1GB", "limit": one }]);
        assert_eq!(of(&[], &[])["hugepageLimits"], sizes(0, 0));
        assert_eq!(
            of(&[], &[("hugepages-2Mi", "6Mi")])["hugepageLimits"],
            sizes(6 << 20, 0)
        );
        assert_eq!(
            of(&[], &[("hugepages-1048576Ki", "1Gi")])["hugepageLimits"],
            sizes(0, 1 << 30)
        );
        let none = Machine {
            hugepage_sizes: vec![],
            ..machine()
        };
        let resources = of_container(&container(&[], &[("hugepages-2Mi", "6Mi")]), &none, None);
        assert_eq!(*resources.hugepage_limits(), None);
        assert_eq!(size_name(64 << 10), "64KB");
        assert_eq!(size_name(16 << 30), "16GB");
    }

    #[test]
    fn a_container_out_of_memory_ends_as_a_whole_on_version_2() {
        assert_eq!(of(&[], &[])["unified"], json!({ "memory.oom.group": "1" }));
        let v1 = Machine {
            cgroup_v2: false,
            ..machine()
        };
        assert_eq!(
            *of_container(&container(&[], &[]), &v1, None).unified(),
            None
        );
    }

    #[test]
    fn a_pods_cgroup_has_the_sums() {
        let mut pod = pod();
        let one = [("cpu", "250m"), ("memory", "100Mi")];
        pod.spec.containers = vec![container(&one, &one), container(&one, &one)];
        let sums = |pod: &Pod| serde_json::to_value(pod_resources(pod, &machine())).unwrap();
        let (cpu, memory) = (
            json!({ "shares": 512, "quota": 50_000, "period": 100_000 }),
            json!({ "limit": 200 << 20, "swap": 200 << 20 }),
        );
        assert_eq!(sums(&pod)["cpu"], cpu);
        assert_eq!(sums(&pod)["memory"], memory);

        // An init container counts when it needs more than the others together.
        pod.spec.init_containers = vec![container(&one, &one)];
        assert_eq!(sums(&pod)["cpu"], cpu);
        let large = [("cpu", "1"), ("memory", "1Gi")];
        pod.spec.init_containers = vec![container(&large, &large)];
        assert_eq!(sums(&pod)["cpu"]["quota"], 100_000);
        assert_eq!(sums(&pod)["memory"]["limit"], 1 << 30);

        // A sidecar counts beside the others, and beside the init containers after it.
        let mut sidecar = container(&one, &one);
        sidecar.sidecar = true;
        pod.spec.init_containers.insert(0, sidecar.clone());
        assert_eq!(sums(&pod)["cpu"]["quota"], 125_000);
        pod.spec.init_containers = vec![sidecar];
        assert_eq!(sums(&pod)["cpu"]["quota"], 75_000);

        // One without a limit, and the Pod has none.
        pod.spec.init_containers.clear();
        pod.spec.containers.push(container(&one, &[]));
        assert_eq!(sums(&pod)["cpu"], json!({ "shares": 768 }));
        assert_eq!(sums(&pod)["memory"], Value::Null);
    }

    #[test]
    fn amounts_beyond_all_bounds_do_not_wrap() {
        let huge = [("cpu", "9000000000000000"), ("memory", "8E")];
        let mut pod = pod();
        pod.spec.containers = vec![container(&huge, &huge), container(&huge, &huge)];
        let resources = serde_json::to_value(pod_resources(&pod, &machine())).unwrap();
        assert_eq!(resources["cpu"]["shares"], 262_144);
        assert_eq!(resources["memory"]["limit"], i64::MAX);
    }
}
