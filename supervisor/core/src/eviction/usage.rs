//! What Pods use of what may run short, and what they asked for.

use std::collections::BTreeMap;

use super::CRITICAL_PRIORITY;
use super::signal::Resource;
use crate::pod::{Container, Medium, Pod, ResourceList, VolumeSource};

/// A Pod that runs.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// The Pod.
    pub pod: &'a Pod,
    /// What it uses; none when that can't be read: such a Pod goes first.
    pub usage: Option<PodUsage>,
}

/// What a Pod uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodUsage {
    /// Its working set (usage less inactive files). Bytes.
    pub memory: u64,
    /// Its processes and threads.
    pub processes: u64,
    /// By name; only containers that are there.
    pub containers: BTreeMap<String, ContainerUsage>,
    /// By name; what could be measured.
    pub volumes: BTreeMap<String, DiskUsage>,
    /// What Carob generates for the Pod, such as `/etc/hosts`.
    pub generated: DiskUsage,
}

/// What a container uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContainerUsage {
    /// Its working set. Bytes.
    pub memory: u64,
    /// Its writable layer.
    pub rootfs: DiskUsage,
    /// Its logs, rotated ones too.
    pub logs: DiskUsage,
}

/// What is used of a file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Space.
    pub bytes: u64,
    /// Files and directories.
    pub inodes: u64,
}

impl std::ops::Add for DiskUsage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            inodes: self.inodes.saturating_add(other.inodes),
        }
    }
}

impl std::iter::Sum for DiskUsage {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| a + b)
    }
}

/// Which parts of a Pod's usage lie on the file system that is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measured {
    /// Writable layers.
    pub rootfs: bool,
    /// Logs and local volumes.
    pub local: bool,
}

impl PodUsage {
    /// On the file systems that are measured. Volumes in memory don't count, nor does what belongs to the machine
    /// (`localVolumeNames`, helpers.go).
    pub(super) fn disk(&self, pod: &Pod, measured: Measured) -> DiskUsage {
        let containers: DiskUsage = self
            .containers
            .values()
            .map(|c| {
                let rootfs = if measured.rootfs {
                    c.rootfs
                } else {
                    DiskUsage::default()
                };
                let logs = if measured.local {
                    c.logs
                } else {
                    DiskUsage::default()
                };
                rootfs + logs
            })
            .sum();
        let volumes = pod
            .spec
            .volumes
            .iter()
            .filter(|v| measured.local && on_disk(&v.source));
        let volumes = volumes.filter_map(|v| self.volumes.get(&v.name).copied());
        containers + volumes.sum()
    }

    /// All that counts against limits of ephemeral storage.
    pub(super) fn ephemeral(&self, pod: &Pod) -> DiskUsage {
        let measured = Measured {
            rootfs: true,
            local: true,
        };
        self.disk(pod, measured) + self.generated
    }
}

/// True for what is the Pod's own and lies on disk.
fn on_disk(source: &VolumeSource) -> bool {
    match source {
        VolumeSource::EmptyDir { medium, .. } => *medium == Medium::Disk,
        // In memory, or no larger than a manifest may be.
        VolumeSource::HostPath { .. } | VolumeSource::Files(_) => false,
    }
}

/// True for a Pod that is never evicted. A kubelet spares every static Pod, as nothing would bring it back; Carob does
/// that itself, so only the priority counts.
pub(super) fn is_critical(pod: &Pod) -> bool {
    pod.spec.priority >= CRITICAL_PRIORITY
}

/// What the Pod asked for of a resource; nothing of what cannot be asked for.
pub(super) fn request(pod: &Pod, resource: Resource) -> i64 {
    match resource {
        Resource::Memory | Resource::EphemeralStorage => {
            total(pod, resource, |container| &container.resources.requests).unwrap_or(0)
        }
        Resource::Inodes | Resource::Pids => 0,
    }
}

/// What the Pod may use of a resource, when a container has a limit.
pub(super) fn limit(pod: &Pod, resource: Resource) -> Option<i64> {
    total(pod, resource, |container| &container.resources.limits)
}

/// Over all containers: the most that may be there at once (`PodRequests`, `k8s.io/component-helpers/resource`):
/// containers and sidecars together, or an init container with the sidecars before it. None when no container says.
fn total(pod: &Pod, resource: Resource, list: fn(&Container) -> &ResourceList) -> Option<i64> {
    let one = |container: &Container| list(container).get(resource.as_str()).map(|q| q.value());
    let (mut sidecars, mut most, mut said) = (0_i64, 0, false);
    for container in &pod.spec.init_containers {
        let Some(amount) = one(container) else {
            continue;
        };
        said = true;
        if container.sidecar {
            sidecars = sidecars.saturating_add(amount);
            most = most.max(sidecars);
        } else {
            most = most.max(sidecars.saturating_add(amount));
        }
    }
    let mut sum = sidecars;
    for amount in pod.spec.containers.iter().filter_map(one) {
        said = true;
        sum = sum.saturating_add(amount);
    }
    said.then_some(sum.max(most))
}
