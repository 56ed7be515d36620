//! Counters of cgroup v1 (Documentation/admin-guide/cgroup-v1).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::cgroup::{CgroupStats, Cpu, Io, Memory};
use super::file::{Table, number, text};
use super::hierarchy::Hierarchies;

/// `cpuacct.stat` counts in USER_HZ, which is 100 on every architecture that containers run on.
const TICK_MS: u64 = 10;

pub(super) fn read(hierarchies: &Hierarchies, cgroup: &str) -> Option<CgroupStats> {
    let dir = |controller: &str| hierarchies.v1(controller, cgroup);
    let memory = dir("memory").and_then(|dir| memory(&dir));
    let processes = dir("pids").and_then(|dir| number(&dir.join("pids.current")));
    let mut cpu = dir("cpuacct").and_then(|dir| account(&dir));
    if memory.is_none() && processes.is_none() && cpu.is_none() {
        return None;
    }
    if let (Some(cpu), Some(dir)) = (&mut cpu, dir("cpu"))
        && let Some(stat) = Table::read(&dir.join("cpu.stat"))
    {
        cpu.periods = stat.get("nr_periods").unwrap_or(0);
        cpu.throttled_periods = stat.get("nr_throttled").unwrap_or(0);
        cpu.throttled = Duration::from_nanos(stat.get("throttled_time").unwrap_or(0));
    }
    Some(CgroupStats {
        cpu,
        memory,
        processes,
        io: dir("blkio").map(|dir| io(&dir)).unwrap_or_default(),
        ..CgroupStats::default()
    })
}

fn account(dir: &Path) -> Option<Cpu> {
    let usage = number(&dir.join("cpuacct.usage"))?;
    let stat = Table::read(&dir.join("cpuacct.stat"))?;
    let ticks = |name| Duration::from_millis(stat.get(name).unwrap_or(0) * TICK_MS);
    Some(Cpu {
        usage: Duration::from_nanos(usage),
        user: ticks("user"),
        system: ticks("system"),
        ..Cpu::default()
    })
}

fn memory(dir: &Path) -> Option<Memory> {
    let usage = number(&dir.join("memory.usage_in_bytes"))?;
    let stat = Table::read(&dir.join("memory.stat"))?;
    let of = |name| stat.get(name).unwrap_or(0);
    let oom = Table::read(&dir.join("memory.oom_control"));
    Some(Memory {
        usage,
        working_set: usage.saturating_sub(of("total_inactive_file")),
        rss: of("total_rss"),
        cache: of("total_cache"),
        swap: of("total_swap"),
        mapped_file: of("total_mapped_file"),
        max_usage: number(&dir.join("memory.max_usage_in_bytes")).unwrap_or(0),
        page_faults: of("total_pgfault"),
        major_page_faults: of("total_pgmajfault"),
        oom_kills: oom.and_then(|oom| oom.get("oom_kill")).unwrap_or(0),
    })
}

fn io(dir: &Path) -> Vec<Io> {
    let mut devices: BTreeMap<(u32, u32), Io> = BTreeMap::new();
    for (file, is_bytes) in [
        ("blkio.throttle.io_service_bytes_recursive", true),
        ("blkio.throttle.io_serviced_recursive", false),
    ] {
        let text = text(&dir.join(file)).unwrap_or_default();
        for (major, minor, what, amount) in text.lines().filter_map(entry) {
            let io = devices.entry((major, minor)).or_insert(Io {
                major,
                minor,
                ..Io::default()
            });
            match (what, is_bytes) {
                ("Read", true) => io.read_bytes = amount,
                ("Write", true) => io.written_bytes = amount,
                ("Read", false) => io.reads = amount,
                ("Write", false) => io.writes = amount,
                _ => {}
            }
        }
    }
    devices.into_values().collect()
}

/// `8:0 Read 4096`.
fn entry(line: &str) -> Option<(u32, u32, &str, u64)> {
    let mut words = line.split(' ');
    let (major, minor) = words.next()?.split_once(':')?;
    let (what, amount) = (words.next()?, words.next()?);
    Some((
        major.parse().ok()?,
        minor.parse().ok()?,
        what,
        amount.parse().ok()?,
    ))
}
