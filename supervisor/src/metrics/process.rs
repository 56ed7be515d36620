//! This very process, under the names of Prometheus' client libraries.

use std::fs;

use prometheus::proto::MetricFamily;

use super::family::Family;

/// USER_HZ, which is 100 on every architecture that containers run on.
const TICKS: f64 = 100.0;

/// What the process uses. What can't be read is left out.
pub(super) fn families() -> Vec<MetricFamily> {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the command, in parentheses, and may have blanks.
    let fields: Vec<f64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| {
            rest.split_whitespace()
                .skip(1)
                .map_while(|f| f.parse().ok())
                .collect()
        })
        .unwrap_or_default();
    let field = |number: usize| fields.get(number - 4).copied();
    let boot = fs::read_to_string("/proc/stat").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
        line.trim().parse::<f64>().ok()
    });
    let mut families = Vec::new();
    let mut put = |mut family: Family, value: Option<f64>| {
        if let Some(value) = value {
            family.add(&[], value);
            families.extend(family.into_proto());
        }
    };
    let cpu = field(14)
        .zip(field(15))
        .map(|(user, system)| (user + system) / TICKS);
    put(
        Family::counter(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
        ),
        cpu,
    );
    put(
        Family::gauge(
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
        ),
        field(23),
    );
    let resident = fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
            Some(kib * 1024.0)
        });
    put(
        Family::gauge(
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
        ),
        resident,
    );
    let started = boot
        .zip(field(22))
        .map(|(boot, ticks)| boot + ticks / TICKS);
    put(
        Family::gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
        ),
        started,
    );
    #[expect(clippy::cast_precision_loss, reason = "a metric")]
    let open = fs::read_dir("/proc/self/fd")
        .ok()
        .map(|fds| fds.count() as f64);
    put(
        Family::gauge("process_open_fds", "Number of open file descriptors."),
        open,
    );
    families
}
