//! Counters of cgroup v2.

use containerd_shim_protos::cgroups_v2::metrics::{
    CPUStat, HugeTlbStat, IOEntry, IOStat, MemoryEvents, MemoryStat, Metrics, PSIData, PSIStats,
    PidsStat, RdmaEntry, RdmaStat,
};
use containerd_shim_protos::protobuf::MessageField;

use super::super::dir::Dir;
use super::{huge_page_sizes, number, table, value};

pub fn read(dir: &Dir) -> Metrics {
    let limit = number(dir, "pids.max");
    Metrics {
        pids: MessageField::some(PidsStat {
            current: number(dir, "pids.current"),
            limit,
            ..PidsStat::default()
        }),
        cpu: MessageField::some(cpu(dir)),
        memory: MessageField::some(memory(dir)),
        memory_events: MessageField::some(events(dir)),
        io: MessageField::some(IOStat {
            usage: dir
                .read("io.stat")
                .unwrap_or_default()
                .lines()
                .filter_map(io)
                .collect(),
            psi: pressure(dir, "io.pressure"),
            ..IOStat::default()
        }),
        rdma: MessageField::some(RdmaStat {
            current: rdma(dir, "rdma.current"),
            limit: rdma(dir, "rdma.max"),
            ..RdmaStat::default()
        }),
        hugetlb: huge_page_sizes(dir, ".max")
            .into_iter()
            .map(|size| HugeTlbStat {
                current: number(dir, &format!("hugetlb.{size}.current")),
                max: number(dir, &format!("hugetlb.{size}.max")),
                failcnt: value(&table(dir, &format!("hugetlb.{size}.events")), "max"),
                pagesize: size,
                ..HugeTlbStat::default()
            })
            .collect(),
        ..Metrics::default()
    }
}

fn cpu(dir: &Dir) -> CPUStat {
    let table = table(dir, "cpu.stat");
    CPUStat {
        usage_usec: value(&table, "usage_usec"),
        user_usec: value(&table, "user_usec"),
        system_usec: value(&table, "system_usec"),
        nr_periods: value(&table, "nr_periods"),
        nr_throttled: value(&table, "nr_throttled"),
        throttled_usec: value(&table, "throttled_usec"),
        nr_bursts: value(&table, "nr_bursts"),
        burst_usec: value(&table, "burst_usec"),
        psi: pressure(dir, "cpu.pressure"),
        ..CPUStat::default()
    }
}

fn memory(dir: &Dir) -> MemoryStat {
    let table = table(dir, "memory.stat");
    let of = |name: &str| value(&table, name);
    MemoryStat {
        anon: of("anon"),
        file: of("file"),
        kernel_stack: of("kernel_stack"),
        slab: of("slab"),
        sock: of("sock"),
        shmem: of("shmem"),
        file_mapped: of("file_mapped"),
        file_dirty: of("file_dirty"),
        file_writeback: of("file_writeback"),
        anon_thp: of("anon_thp"),
        inactive_anon: of("inactive_anon"),
        active_anon: of("active_anon"),
        inactive_file: of("inactive_file"),
        active_file: of("active_file"),
        unevictable: of("unevictable"),
        slab_reclaimable: of("slab_reclaimable"),
        slab_unreclaimable: of("slab_unreclaimable"),
        pgfault: of("pgfault"),
        pgmajfault: of("pgmajfault"),
        // Linux 5.9 split this counter in two.
        workingset_refault: of("workingset_refault")
            + of("workingset_refault_anon")
            + of("workingset_refault_file"),
        workingset_activate: of("workingset_activate")
            + of("workingset_activate_anon")
            + of("workingset_activate_file"),
        workingset_nodereclaim: of("workingset_nodereclaim"),
        pgrefill: of("pgrefill"),
        pgscan: of("pgscan"),
        pgsteal: of("pgsteal"),
        pgactivate: of("pgactivate"),
        pgdeactivate: of("pgdeactivate"),
        pglazyfree: of("pglazyfree"),
        pglazyfreed: of("pglazyfreed"),
        thp_fault_alloc: of("thp_fault_alloc"),
        thp_collapse_alloc: of("thp_collapse_alloc"),
        usage: number(dir, "memory.current"),
        usage_limit: number(dir, "memory.max"),
        max_usage: number(dir, "memory.peak"),
        swap_usage: number(dir, "memory.swap.current"),
        swap_limit: number(dir, "memory.swap.max"),
        swap_max_usage: number(dir, "memory.swap.peak"),
        psi: pressure(dir, "memory.pressure"),
        ..MemoryStat::default()
    }
}

fn events(dir: &Dir) -> MemoryEvents {
    let table = table(dir, "memory.events");
    MemoryEvents {
        low: value(&table, "low"),
        high: value(&table, "high"),
        max: value(&table, "max"),
        oom: value(&table, "oom"),
        oom_kill: value(&table, "oom_kill"),
        oom_group_kill: value(&table, "oom_group_kill"),
        ..MemoryEvents::default()
    }
}

/// A line of `io.stat`: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`.
fn io(line: &str) -> Option<IOEntry> {
    let mut words = line.split_whitespace();
    let (major, minor) = words.next()?.split_once(':')?;
    let mut entry = IOEntry {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        ..IOEntry::default()
    };
    for (name, value) in words.filter_map(|word| word.split_once('=')) {
        let field = match name {
            "rbytes" => &mut entry.rbytes,
            "wbytes" => &mut entry.wbytes,
            "rios" => &mut entry.rios,
            "wios" => &mut entry.wios,
            _ => continue,
        };
        *field = value.parse().ok()?;
    }
    Some(entry)
}

/// A line of `rdma.current` or `rdma.max`: `mlx4_0 hca_handle=2 hca_object=max`.
fn rdma(dir: &Dir, file: &str) -> Vec<RdmaEntry> {
    let number = |text: &str| {
        if text == "max" {
            u32::MAX
        } else {
            text.parse().unwrap_or(0)
        }
    };
    let text = dir.read(file).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let mut entry = RdmaEntry {
                device: words.next()?.to_owned(),
                ..RdmaEntry::default()
            };
            for (name, value) in words.filter_map(|word| word.split_once('=')) {
                match name {
                    "hca_handle" => entry.hca_handles = number(value),
                    "hca_object" => entry.hca_objects = number(value),
                    _ => {}
                }
            }
            Some(entry)
        })
        .collect()
}

/// A pressure file; none on kernels without PSI.
fn pressure(dir: &Dir, file: &str) -> MessageField<PSIStats> {
    dir.read(file).map_or_else(
        |_| MessageField::none(),
        |text| MessageField::some(psi(&text)),
    )
}

fn psi(text: &str) -> PSIStats {
    let mut stats = PSIStats::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let kind = words.next();
        let mut data = PSIData::new();
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            match name {
                "avg10" => data.avg10 = value.parse().unwrap_or(0.0),
                "avg60" => data.avg60 = value.parse().unwrap_or(0.0),
                "avg300" => data.avg300 = value.parse().unwrap_or(0.0),
                "total" => data.total = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        match kind {
            Some("some") => stats.some = MessageField::some(data),
            Some("full") => stats.full = MessageField::some(data),
            _ => {}
        }
    }
    stats
}

#[cfg(test)]
mod tests {
    use super::{io, psi};

    #[test]
    fn device_lines_are_read() {
        let entry = io("254:0 rbytes=1 wbytes=22 rios=3 wios=4 dbytes=0").expect("a device");
        assert_eq!(
            (entry.major, entry.rbytes, entry.wbytes, entry.wios),
            (254, 1, 22, 4)
        );
        assert_eq!(io("8:0").map(|entry| entry.major), Some(8));
        assert_eq!(io(""), None);
    }

    #[test]
    fn pressure_is_read() {
        let stats =
            psi("some avg10=1.50 avg60=0.00 avg300=0.00 total=42\nfull avg10=0.25 total=7\n");
        assert_eq!(
            (stats.some.avg10, stats.some.total, stats.full.total),
            (1.5, 42, 7)
        );
    }
}
