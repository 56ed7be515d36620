//! `/metrics/cadvisor`: containers, under cAdvisor's names (`metrics/prometheus.go` there) with a kubelet's labels
//! (`containerPrometheusLabelsFunc`, pkg/kubelet/server/server.go).

#![expect(
    clippy::cast_precision_loss,
    reason = "metrics are floating-point numbers"
)]

use prometheus::proto::MetricFamily;

use super::family::Family;
use super::resource::Read;
use super::target::{ContainerTarget, PodTarget};
use super::traffic;
use crate::stats::cgroup::CgroupStats;
use crate::stats::psi::Pressure;

/// A number of a cgroup, by name.
struct Number {
    name: &'static str,
    help: &'static str,
    gauge: bool,
    read: fn(&CgroupStats) -> Option<f64>,
}

const fn counter(
    name: &'static str,
    help: &'static str,
    read: fn(&CgroupStats) -> Option<f64>,
) -> Number {
    Number {
        name,
        help,
        gauge: false,
        read,
    }
}

const fn gauge(
    name: &'static str,
    help: &'static str,
    read: fn(&CgroupStats) -> Option<f64>,
) -> Number {
    Number {
        name,
        help,
        gauge: true,
        read,
    }
}

const NUMBERS: &[Number] = &[
    counter(
        "container_cpu_user_seconds_total",
        "Cumulative user cpu time consumed in seconds.",
        |s| Some(s.cpu?.user.as_secs_f64()),
    ),
    counter(
        "container_cpu_system_seconds_total",
        "Cumulative system cpu time consumed in seconds.",
        |s| Some(s.cpu?.system.as_secs_f64()),
    ),
    counter(
        "container_cpu_cfs_periods_total",
        "Number of elapsed enforcement period intervals.",
        |s| Some(s.cpu?.periods as f64),
    ),
    counter(
        "container_cpu_cfs_throttled_periods_total",
        "Number of throttled period intervals.",
        |s| Some(s.cpu?.throttled_periods as f64),
    ),
    counter(
        "container_cpu_cfs_throttled_seconds_total",
        "Total time duration the container has been throttled.",
        |s| Some(s.cpu?.throttled.as_secs_f64()),
    ),
    gauge(
        "container_memory_usage_bytes",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
        |s| Some(s.memory?.usage as f64),
    ),
    gauge(
        "container_memory_working_set_bytes",
        "Current working set in bytes.",
        |s| Some(s.memory?.working_set as f64),
    ),
    gauge("container_memory_rss", "Size of RSS in bytes.", |s| {
        Some(s.memory?.rss as f64)
    }),
    gauge(
        "container_memory_cache",
        "Number of bytes of page cache memory.",
        |s| Some(s.memory?.cache as f64),
    ),
    gauge(
        "container_memory_swap",
        "Container swap usage in bytes.",
        |s| Some(s.memory?.swap as f64),
    ),
    gauge(
        "container_memory_mapped_file",
        "Size of memory mapped files in bytes.",
        |s| Some(s.memory?.mapped_file as f64),
    ),
    gauge(
        "container_memory_max_usage_bytes",
        "Maximum memory usage recorded in bytes",
        |s| Some(s.memory?.max_usage as f64),
    ),
    gauge(
        "container_threads",
        "Number of threads running inside the container",
        |s| Some(s.processes? as f64),
    ),
    counter(
        "container_pressure_cpu_waiting_seconds_total",
        "Total time duration tasks in the container have waited due to CPU congestion.",
        |s| Some(some(s.cpu_pressure?)),
    ),
    counter(
        "container_pressure_cpu_stalled_seconds_total",
        "Total time duration no tasks in the container could make progress due to CPU congestion.",
        |s| Some(full(s.cpu_pressure?)),
    ),
    counter(
        "container_pressure_memory_waiting_seconds_total",
        "Total time duration tasks in the container have waited due to memory congestion.",
        |s| Some(some(s.memory_pressure?)),
    ),
    counter(
        "container_pressure_memory_stalled_seconds_total",
        "Total time duration no tasks in the container could make progress due to memory congestion.",
        |s| Some(full(s.memory_pressure?)),
    ),
    counter(
        "container_pressure_io_waiting_seconds_total",
        "Total time duration tasks in the container have waited due to IO congestion.",
        |s| Some(some(s.io_pressure?)),
    ),
    counter(
        "container_pressure_io_stalled_seconds_total",
        "Total time duration no tasks in the container could make progress due to IO congestion.",
        |s| Some(full(s.io_pressure?)),
    ),
];

fn some(pressure: Pressure) -> f64 {
    pressure.some.total.as_secs_f64()
}

fn full(pressure: Pressure) -> f64 {
    pressure.full.total.as_secs_f64()
}

/// A cgroup with its labels.
pub(super) struct Row<'a> {
    pub labels: Vec<(&'static str, &'a str)>,
    pub stats: &'a CgroupStats,
}

/// Labels of a container; of a Pod as a whole `container`, `image` and `name` are empty, as in cAdvisor.
pub(super) fn labels<'a>(
    pod: &'a PodTarget,
    of: Option<&'a ContainerTarget>,
) -> Vec<(&'static str, &'a str)> {
    vec![
        ("container", of.map_or("", |c| &c.name)),
        ("id", of.map_or(&pod.cgroup, |c| &c.cgroup)),
        ("image", of.map_or("", |c| &c.image)),
        ("name", of.map_or("", |c| &c.id)),
        ("namespace", &pod.namespace),
        ("pod", &pod.name),
    ]
}

/// All families of the Pods that were read.
pub(super) fn families(read: &Read, now: f64) -> Vec<MetricFamily> {
    let mut rows = Vec::new();
    for pod in &read.pods {
        rows.extend(pod.stats.as_ref().map(|stats| Row {
            labels: labels(&pod.target, None),
            stats,
        }));
        for (container, stats) in pod.target.containers.iter().zip(&pod.containers) {
            let labels = || labels(&pod.target, Some(container));
            rows.extend(stats.as_ref().map(|stats| Row {
                labels: labels(),
                stats,
            }));
        }
    }
    let mut families: Vec<Family> = NUMBERS
        .iter()
        .map(|number| of_cgroups(number, &rows))
        .collect();
    let mut cpu = Family::counter(
        "container_cpu_usage_seconds_total",
        "Cumulative cpu time consumed in seconds.",
    );
    for row in &rows {
        if let Some(stats) = row.stats.cpu {
            cpu.add(
                &with(&row.labels, &[("cpu", "total")]),
                stats.usage.as_secs_f64(),
            );
        }
    }
    families.push(cpu);
    families.push(faults(&rows));
    families.extend(traffic::io(&rows));
    families.extend(traffic::network(read));
    families.extend(of_containers(read, now));
    families
        .into_iter()
        .filter_map(Family::into_proto)
        .collect()
}

fn of_cgroups(number: &Number, rows: &[Row<'_>]) -> Family {
    let mut family = match number.gauge {
        true => Family::gauge(number.name, number.help),
        false => Family::counter(number.name, number.help),
    };
    for row in rows {
        if let Some(value) = (number.read)(row.stats) {
            family.add(&row.labels, value);
        }
    }
    family
}

fn faults(rows: &[Row<'_>]) -> Family {
    let mut family = Family::counter(
        "container_memory_failures_total",
        "Cumulative count of memory allocation failures.",
    );
    for row in rows {
        let Some(memory) = row.stats.memory else {
            continue;
        };
        for (kind, count) in [
            ("pgfault", memory.page_faults),
            ("pgmajfault", memory.major_page_faults),
        ] {
            let labels = [("failure_type", kind), ("scope", "hierarchy")];
            family.add(&with(&row.labels, &labels), count as f64);
        }
    }
    family
}

fn of_containers(read: &Read, now: f64) -> Vec<Family> {
    let mut seen = Family::gauge(
        "container_last_seen",
        "Last time a container was seen by the exporter",
    );
    let mut started = Family::gauge(
        "container_start_time_seconds",
        "Start time of the container since unix epoch in seconds.",
    );
    let mut memory = Family::gauge(
        "container_spec_memory_limit_bytes",
        "Memory limit for the container.",
    );
    let mut quota = Family::gauge("container_spec_cpu_quota", "CPU quota of the container.");
    let mut period = Family::gauge("container_spec_cpu_period", "CPU period of the container.");
    let mut ooms = Family::counter(
        "container_oom_events_total",
        "Count of out of memory events observed for the container",
    );
    let mut disk = Family::gauge(
        "container_fs_usage_bytes",
        "Number of bytes that are consumed by the container on this filesystem.",
    );
    for pod in &read.pods {
        for (index, container) in pod.target.containers.iter().enumerate() {
            let labels = labels(&pod.target, Some(container));
            let limit = |name: &str| container.resources.limits.get(name);
            seen.add(&labels, now);
            started.add(&labels, container.started.as_second() as f64);
            memory.add(&labels, limit("memory").map_or(0.0, |q| q.value() as f64));
            if let Some(cpu) = limit("cpu") {
                // 100 ms, as a kubelet has it: a hundred microseconds of it for each millicore.
                quota.add(&labels, cpu.milli_value() as f64 * 100.0);
                period.add(&labels, 100_000.0);
            }
            let killed = pod.ooms.get(&container.name).copied().unwrap_or(0);
            ooms.add(&labels, killed as f64);
            if let Some(usage) = pod.layers.get(index).copied().flatten() {
                let labels = with(&labels, &[("device", "")]);
                disk.add(&labels, usage.bytes as f64);
            }
        }
    }
    vec![seen, started, memory, quota, period, ooms, disk]
}

pub(super) fn with<'a>(
    labels: &[(&'a str, &'a str)],
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    [labels, more].concat()
}
