//! `/metrics/resource`: the few numbers that autoscalers ask for (`pkg/kubelet/metrics/collectors/resource_metrics.go`),
//! and the reading of what Pods use.

#![expect(
    clippy::cast_precision_loss,
    reason = "metrics are floating-point numbers"
)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use carob_core::eviction::DiskUsage;
use prometheus::proto::MetricFamily;

use super::family::Family;
use super::target::PodTarget;
use crate::stats::cgroup::{self, CgroupStats};
use crate::stats::network::{self, Traffic};
use crate::stats::node::Node;
use crate::stats::{Hierarchies, disk};

/// What was read at one moment.
pub(super) struct Read {
    pub pods: Vec<PodRead>,
    /// By interface.
    pub network: BTreeMap<String, Traffic>,
    /// False when something could not be.
    pub complete: bool,
}

/// What a Pod uses.
pub(super) struct PodRead {
    pub target: PodTarget,
    pub stats: Option<CgroupStats>,
    /// In the order of the target's containers.
    pub containers: Vec<Option<CgroupStats>>,
    /// Writable layers, where they were counted.
    pub layers: Vec<Option<DiskUsage>>,
    /// How often memory was short, by container.
    pub ooms: BTreeMap<String, u64>,
}

/// Reads everything. Blocks for some tens of microseconds a container.
pub(super) fn read(
    hierarchies: &Hierarchies,
    targets: Vec<(PodTarget, BTreeMap<String, u64>)>,
    layers: Option<&Layers>,
) -> Read {
    let network = network::read();
    let pods = targets.into_iter().map(|(target, ooms)| PodRead {
        stats: cgroup::read(hierarchies, &target.cgroup),
        containers: target
            .containers
            .iter()
            .map(|c| cgroup::read(hierarchies, &c.cgroup))
            .collect(),
        layers: match layers {
            Some(layers) => target
                .containers
                .iter()
                .map(|c| layers.usage(&c.id, &c.layer))
                .collect(),
            None => Vec::new(),
        },
        target,
        ooms,
    });
    Read {
        pods: pods.collect(),
        complete: network.is_ok(),
        network: network.unwrap_or_default(),
    }
}

/// How much disk writable layers take, counted seldom: it means walking through them.
#[derive(Default)]
pub(super) struct Layers(Mutex<BTreeMap<String, Layer>>);

struct Layer {
    usage: Option<DiskUsage>,
    again: Instant,
}

impl Layers {
    /// No sooner than after a minute, or a hundred times what it took, is a layer counted again
    /// (`volumeStatsAggPeriod`, kubelet: a minute).
    fn usage(&self, id: &str, path: &std::path::Path) -> Option<DiskUsage> {
        let mut known = self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let begun = Instant::now();
        if let Some(layer) = known.get(id).filter(|layer| layer.again > begun) {
            return layer.usage;
        }
        let usage = disk::count(path).ok().map(|counted| counted.usage);
        let pause = Duration::from_secs(60).max(begun.elapsed() * 100);
        // Of those that are gone nobody asks again.
        known.retain(|_, layer| layer.again + Duration::from_secs(3600) > begun);
        let again = begun + pause;
        known.insert(id.to_owned(), Layer { usage, again });
        usage
    }
}

pub(super) fn families(node: &Node, read: &Read) -> Vec<MetricFamily> {
    let mut families = vec![];
    let mut cpu = Family::counter(
        "node_cpu_usage_seconds_total",
        "Cumulative cpu time consumed by the node in core-seconds",
    );
    if let Some(usage) = node.cpu() {
        cpu.add(&[], usage.as_secs_f64());
    }
    let mut memory = Family::gauge(
        "node_memory_working_set_bytes",
        "Current working set of the node in bytes",
    );
    let mut swap = Family::gauge(
        "node_swap_usage_bytes",
        "Current swap usage of the node in bytes. Reported only on non-windows systems",
    );
    let found = node.memory();
    if let Some(found) = found {
        memory.add(&[], found.working_set as f64);
        swap.add(&[], found.swap as f64);
    }
    families.extend([cpu, memory, swap]);
    families.extend(of_pods(read));
    let mut error = Family::gauge(
        "resource_scrape_error",
        "1 if there was an error while getting container metrics, 0 otherwise",
    );
    error.add(
        &[],
        if read.complete && found.is_some() {
            0.0
        } else {
            1.0
        },
    );
    families.push(error);
    families
        .into_iter()
        .filter_map(Family::into_proto)
        .collect()
}

fn of_pods(read: &Read) -> Vec<Family> {
    let mut container_cpu = Family::counter(
        "container_cpu_usage_seconds_total",
        "Cumulative cpu time consumed by the container in core-seconds",
    );
    let mut container_memory = Family::gauge(
        "container_memory_working_set_bytes",
        "Current working set of the container in bytes",
    );
    let mut container_swap = Family::gauge(
        "container_swap_usage_bytes",
        "Current amount of the container swap usage in bytes. Reported only on non-windows systems",
    );
    let mut started = Family::gauge(
        "container_start_time_seconds",
        "Start time of the container since unix epoch in seconds",
    );
    let mut pod_cpu = Family::counter(
        "pod_cpu_usage_seconds_total",
        "Cumulative cpu time consumed by the pod in core-seconds",
    );
    let mut pod_memory = Family::gauge(
        "pod_memory_working_set_bytes",
        "Current working set of the pod in bytes",
    );
    let mut pod_swap = Family::gauge(
        "pod_swap_usage_bytes",
        "Current amount of the pod swap usage in bytes. Reported only on non-windows systems",
    );
    for pod in &read.pods {
        let of_pod = [
            ("namespace", pod.target.namespace.as_str()),
            ("pod", &pod.target.name),
        ];
        let stats = pod.stats.as_ref();
        if let Some(cpu) = stats.and_then(|s| s.cpu) {
            pod_cpu.add(&of_pod, cpu.usage.as_secs_f64());
        }
        if let Some(memory) = stats.and_then(|s| s.memory) {
            pod_memory.add(&of_pod, memory.working_set as f64);
            pod_swap.add(&of_pod, memory.swap as f64);
        }
        for (container, stats) in pod.target.containers.iter().zip(&pod.containers) {
            let labels = [("container", container.name.as_str()), of_pod[0], of_pod[1]];
            started.add(&labels, container.started.as_millisecond() as f64 / 1000.0);
            let stats = stats.as_ref();
            if let Some(cpu) = stats.and_then(|s| s.cpu) {
                container_cpu.add(&labels, cpu.usage.as_secs_f64());
            }
            if let Some(memory) = stats.and_then(|s| s.memory) {
                container_memory.add(&labels, memory.working_set as f64);
                container_swap.add(&labels, memory.swap as f64);
            }
        }
    }
    vec![
        container_cpu,
        container_memory,
        container_swap,
        started,
        pod_cpu,
        pod_memory,
        pod_swap,
    ]
}
