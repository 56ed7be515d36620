//! What Pods use, for the ranking.

use std::rc::Rc;
use std::sync::Arc;

use carob_core::eviction::{ContainerUsage, DiskUsage, Manager, PodUsage};
use carob_core::pod::VolumeSource;
use tokio::task::spawn_blocking;

use crate::metrics::PodTarget;
use crate::registry::{PodObject, Registry};
use crate::stats::node::Node;
use crate::stats::{cgroup, disk};

/// The usage of each Pod, none where it can't be read. Disk is counted for all only when it is what is short: else for
/// the Pods that have a limit.
pub(super) async fn measure(
    registry: &Registry,
    node: &Arc<Node>,
    pods: &[Rc<PodObject>],
    disk: bool,
) -> Vec<Option<PodUsage>> {
    let engine = registry.engine();
    let asked: Vec<_> = pods
        .iter()
        .map(|object| {
            let target = PodTarget::of(object, &engine.dirs, &engine.network);
            let volumes = object.pod.spec.volumes.iter();
            let volumes = volumes.filter(|v| matches!(v.source, VolumeSource::EmptyDir { .. }));
            let volumes: Vec<_> = volumes.map(|v| v.name.clone()).collect();
            (
                target,
                volumes,
                disk || Manager::watches_disk_of(&object.pod),
            )
        })
        .collect();
    let (node, count) = (node.clone(), asked.len());
    let measured = spawn_blocking(move || {
        let one = |(target, volumes, disk): &(PodTarget, Vec<String>, bool)| {
            usage(&node, target, volumes, *disk)
        };
        asked.iter().map(one).collect()
    });
    measured.await.unwrap_or_else(|_| vec![None; count])
}

fn usage(node: &Node, target: &PodTarget, volumes: &[String], disk: bool) -> Option<PodUsage> {
    let whole = cgroup::read(node.hierarchies(), &target.cgroup)?;
    let mut usage = PodUsage {
        memory: whole.memory?.working_set,
        processes: whole.processes.unwrap_or(0),
        ..PodUsage::default()
    };
    for container in &target.containers {
        let stats = cgroup::read(node.hierarchies(), &container.cgroup);
        let memory = stats.and_then(|stats| stats.memory);
        let of = ContainerUsage {
            memory: memory.map_or(0, |memory| memory.working_set),
            rootfs: counted(disk, &container.layer),
            logs: counted(disk, &target.logs.join(&container.name)),
        };
        usage.containers.insert(container.name.clone(), of);
    }
    if disk {
        for name in volumes {
            let path = target
                .dir
                .join("volumes/kubernetes.io~empty-dir")
                .join(name);
            usage.volumes.insert(name.clone(), counted(true, &path));
        }
        usage.generated = counted(true, &target.dir.join("etc"));
    }
    Some(usage)
}

fn counted(wanted: bool, path: &std::path::Path) -> DiskUsage {
    if !wanted {
        return DiskUsage::default();
    }
    match disk::count(path) {
        Ok(counted) => counted.usage,
        Err(error) => {
            tracing::debug!(%error, ?path, "the disk usage can't be counted");
            DiskUsage::default()
        }
    }
}
