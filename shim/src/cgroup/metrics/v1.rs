//! Counters of cgroup v1.

use containerd_shim_protos::cgroups::metrics::{
    BlkIOEntry, BlkIOStat, CPUStat, CPUUsage, HugetlbStat, MemoryEntry, MemoryOomControl,
    MemoryStat, Metrics, PidsStat, Throttle,
};
use containerd_shim_protos::protobuf::MessageField;

use super::super::Cgroup;
use super::super::dir::Dir;
use super::{huge_page_sizes, number, table, value};

/// `cpuacct.stat` counts in USER_HZ, which is 100 on every architecture Linux runs containers on.
const TICK: u64 = 1_000_000_000 / 100;

pub fn read(cgroup: &Cgroup) -> Metrics {
    let mut metrics = Metrics::new();
    let dir = |name: &str| cgroup.dirs.iter().find(|dir| dir.hierarchy.has(name));
    if let Some(dir) = dir("pids") {
        metrics.pids = MessageField::some(PidsStat {
            current: number(dir, "pids.current"),
            // containerd gives 0 for no limit.
            limit: Some(number(dir, "pids.max"))
                .filter(|&limit| limit != u64::MAX)
                .unwrap_or(0),
            ..PidsStat::default()
        });
    }
    metrics.cpu = MessageField::some(cpu(dir("cpu"), dir("cpuacct")));
    if let Some(dir) = dir("memory") {
        metrics.memory = MessageField::some(memory(dir));
        let oom = table(dir, "memory.oom_control");
        metrics.memory_oom_control = MessageField::some(MemoryOomControl {
            oom_kill_disable: value(&oom, "oom_kill_disable"),
            under_oom: value(&oom, "under_oom"),
            oom_kill: value(&oom, "oom_kill"),
            ..MemoryOomControl::default()
        });
    }
    if let Some(dir) = dir("blkio") {
        metrics.blkio = MessageField::some(block_io(dir));
    }
    match (dir("hugetlb"), cgroup.unified()) {
        (Some(dir), _) => metrics.hugetlb = huge_pages(dir, ".limit_in_bytes"),
        (None, Some(dir)) => metrics.hugetlb = huge_pages(dir, ".max"),
        (None, None) => {}
    }
    metrics
}

fn cpu(cpu: Option<&Dir>, account: Option<&Dir>) -> CPUStat {
    let mut stat = CPUStat::new();
    if let Some(dir) = account {
        let ticks = table(dir, "cpuacct.stat");
        stat.usage = MessageField::some(CPUUsage {
            total: number(dir, "cpuacct.usage"),
            kernel: value(&ticks, "system") * TICK,
            user: value(&ticks, "user") * TICK,
            per_cpu: dir
                .read("cpuacct.usage_percpu")
                .unwrap_or_default()
                .split_whitespace()
                .filter_map(|time| time.parse().ok())
                .collect(),
            ..CPUUsage::default()
        });
    }
    if let Some(dir) = cpu {
        let table = table(dir, "cpu.stat");
        stat.throttling = MessageField::some(Throttle {
            periods: value(&table, "nr_periods"),
            throttled_periods: value(&table, "nr_throttled"),
            throttled_time: value(&table, "throttled_time"),
            ..Throttle::default()
        });
    }
    stat
}

fn memory(dir: &Dir) -> MemoryStat {
    let table = table(dir, "memory.stat");
    let of = |name: &str| value(&table, name);
    let entry = |name: &str| {
        MessageField::some(MemoryEntry {
            usage: number(dir, &format!("memory.{name}usage_in_bytes")),
            limit: number(dir, &format!("memory.{name}limit_in_bytes")),
            max: number(dir, &format!("memory.{name}max_usage_in_bytes")),
            failcnt: number(dir, &format!("memory.{name}failcnt")),
            ..MemoryEntry::default()
        })
    };
    MemoryStat {
        cache: of("cache"),
        rss: of("rss"),
        rss_huge: of("rss_huge"),
        mapped_file: of("mapped_file"),
        dirty: of("dirty"),
        writeback: of("writeback"),
        pg_pg_in: of("pgpgin"),
        pg_pg_out: of("pgpgout"),
        pg_fault: of("pgfault"),
        pg_maj_fault: of("pgmajfault"),
        inactive_anon: of("inactive_anon"),
        active_anon: of("active_anon"),
        inactive_file: of("inactive_file"),
        active_file: of("active_file"),
        unevictable: of("unevictable"),
        hierarchical_memory_limit: of("hierarchical_memory_limit"),
        hierarchical_swap_limit: of("hierarchical_memsw_limit"),
        total_cache: of("total_cache"),
        total_rss: of("total_rss"),
        total_rss_huge: of("total_rss_huge"),
        total_mapped_file: of("total_mapped_file"),
        total_dirty: of("total_dirty"),
        total_writeback: of("total_writeback"),
        total_pg_pg_in: of("total_pgpgin"),
        total_pg_pg_out: of("total_pgpgout"),
        total_pg_fault: of("total_pgfault"),
        total_pg_maj_fault: of("total_pgmajfault"),
        total_inactive_anon: of("total_inactive_anon"),
        total_active_anon: of("total_active_anon"),
        total_inactive_file: of("total_inactive_file"),
        total_active_file: of("total_active_file"),
        total_unevictable: of("total_unevictable"),
        usage: entry(""),
        swap: entry("memsw."),
        kernel: entry("kmem."),
        kernel_tcp: entry("kmem.tcp."),
        ..MemoryStat::default()
    }
}

fn block_io(dir: &Dir) -> BlkIOStat {
    // BFQ counts where it schedules, the throttle layer everywhere.
    let bytes = entries(dir, "blkio.bfq.io_service_bytes_recursive");
    if !bytes.is_empty() {
        return BlkIOStat {
            io_service_bytes_recursive: bytes,
            io_serviced_recursive: entries(dir, "blkio.bfq.io_serviced_recursive"),
            io_queued_recursive: entries(dir, "blkio.bfq.io_queued_recursive"),
            io_service_time_recursive: entries(dir, "blkio.bfq.io_service_time_recursive"),
            io_wait_time_recursive: entries(dir, "blkio.bfq.io_wait_time_recursive"),
            io_merged_recursive: entries(dir, "blkio.bfq.io_merged_recursive"),
            io_time_recursive: entries(dir, "blkio.bfq.time_recursive"),
            sectors_recursive: entries(dir, "blkio.bfq.sectors_recursive"),
            ..BlkIOStat::default()
        };
    }
    BlkIOStat {
        io_service_bytes_recursive: entries(dir, "blkio.throttle.io_service_bytes_recursive"),
        io_serviced_recursive: entries(dir, "blkio.throttle.io_serviced_recursive"),
        ..BlkIOStat::default()
    }
}

/// Lines of `MAJOR:MINOR [OPERATION] VALUE`; the sums at the end have no device.
fn entries(dir: &Dir, file: &str) -> Vec<BlkIOEntry> {
    dir.read(file)
        .unwrap_or_default()
        .lines()
        .filter_map(entry)
        .collect()
}

fn entry(line: &str) -> Option<BlkIOEntry> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (device, op, value) = match words[..] {
        [device, op, value] => (device, op, value),
        [device, value] => (device, "", value),
        _ => return None,
    };
    let (major, minor) = device.split_once(':')?;
    Some(BlkIOEntry {
        op: op.to_owned(),
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        value: value.parse().ok()?,
        ..BlkIOEntry::default()
    })
}

fn huge_pages(dir: &Dir, limit: &str) -> Vec<HugetlbStat> {
    let v2 = limit == ".max";
    huge_page_sizes(dir, limit)
        .into_iter()
        .map(|size| HugetlbStat {
            usage: if v2 {
                number(dir, &format!("hugetlb.{size}.current"))
            } else {
                number(dir, &format!("hugetlb.{size}.usage_in_bytes"))
            },
            max: number(dir, &format!("hugetlb.{size}.max_usage_in_bytes")),
            failcnt: if v2 {
                value(&table(dir, &format!("hugetlb.{size}.events")), "max")
            } else {
                number(dir, &format!("hugetlb.{size}.failcnt"))
            },
            pagesize: size,
            ..HugetlbStat::default()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::entry;

    #[test]
    fn block_devices_are_read_and_sums_left_out() {
        let read = entry("254:16 Write 4096").expect("a device");
        assert_eq!(
            (read.major, read.minor, read.value, read.op.as_str()),
            (254, 16, 4096, "Write")
        );
        assert_eq!(entry("8:0 12").map(|entry| entry.value), Some(12));
        assert_eq!(entry("Total 4096"), None);
        assert_eq!(entry(""), None);
    }
}
