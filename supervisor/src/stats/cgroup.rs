//! What a cgroup and those below it use, in the terms of both versions.

use std::path::PathBuf;
use std::time::Duration;

use super::hierarchy::Hierarchies;
use super::psi::{self, Pressure};
use super::{v1, v2};

/// The counters of a cgroup. What this kernel doesn't count is absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CgroupStats {
    /// Time on CPUs.
    pub cpu: Option<Cpu>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// What was read and written, by device.
    pub io: Vec<Io>,
    /// Waiting for CPUs.
    pub cpu_pressure: Option<Pressure>,
    /// Waiting for memory.
    pub memory_pressure: Option<Pressure>,
    /// Waiting for devices.
    pub io_pressure: Option<Pressure>,
}

/// Time on CPUs since the cgroup was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cpu {
    /// All of it.
    pub usage: Duration,
    /// In programs.
    pub user: Duration,
    /// In the kernel.
    pub system: Duration,
    /// Periods of the limit that have passed.
    pub periods: u64,
    /// Those in which it was reached.
    pub throttled_periods: u64,
    /// For how long it was.
    pub throttled: Duration,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Used, with the page cache.
    pub usage: u64,
    /// Less the files that nobody has used for a while: what can't be had back at once.
    pub working_set: u64,
    /// Anonymous memory.
    pub rss: u64,
    /// Page cache.
    pub cache: u64,
    /// Swapped out.
    pub swap: u64,
    /// Mapped files.
    pub mapped_file: u64,
    /// The most that was used.
    pub max_usage: u64,
    /// Page faults.
    pub page_faults: u64,
    /// Of these the ones that waited for a disk.
    pub major_page_faults: u64,
    /// Processes that were killed for it, of this cgroup.
    pub oom_kills: u64,
}

/// What was read from and written to a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Io {
    /// Its number.
    pub major: u32,
    /// Its number.
    pub minor: u32,
    /// Bytes.
    pub read_bytes: u64,
    /// Bytes.
    pub written_bytes: u64,
    /// Operations.
    pub reads: u64,
    /// Operations.
    pub writes: u64,
}

/// Reads a cgroup's counters; none when it is gone.
pub fn read(hierarchies: &Hierarchies, cgroup: &str) -> Option<CgroupStats> {
    let mut stats = match hierarchies.is_v2() {
        true => v2::read(&hierarchies.unified(cgroup)?)?,
        false => v1::read(hierarchies, cgroup)?,
    };
    // A hybrid machine has them as well, in its unified hierarchy.
    if let Some(dir) = hierarchies.unified(cgroup) {
        let pressure = |file: &str| psi::read(&dir.join(file));
        stats.cpu_pressure = pressure("cpu.pressure");
        stats.memory_pressure = pressure("memory.pressure");
        stats.io_pressure = pressure("io.pressure");
    }
    Some(stats)
}

/// What may be used at most, by a cgroup's own limit. Bytes, or processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
}

/// Reads a cgroup's own limits.
pub fn limits(hierarchies: &Hierarchies, cgroup: &str) -> Limits {
    let number = |dir: Option<PathBuf>, file: &str| super::file::number(&dir?.join(file));
    match hierarchies.is_v2() {
        true => Limits {
            memory: number(hierarchies.unified(cgroup), "memory.max"),
            processes: number(hierarchies.unified(cgroup), "pids.max"),
        },
        false => Limits {
            // No limit is the largest multiple of a page.
            memory: number(hierarchies.v1("memory", cgroup), "memory.limit_in_bytes")
                .filter(|&limit| limit < 1 << 62),
            processes: number(hierarchies.v1("pids", cgroup), "pids.max"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_counts_this_very_process() {
        let hierarchies = Hierarchies::detect().unwrap();
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let controller = if hierarchies.is_v2() { "" } else { "memory" };
        let line = own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            controllers
                .split(',')
                .any(|c| c == controller)
                .then_some(path)
        });
        let stats = read(&hierarchies, line.unwrap());
        let memory = stats.and_then(|stats| stats.memory);
        assert!(
            memory.is_some_and(|memory| memory.usage > 0 && memory.usage >= memory.working_set)
        );
    }

    #[test]
    fn a_cgroup_that_is_gone_uses_nothing_at_all() {
        let hierarchies = Hierarchies::detect().unwrap();
        assert_eq!(read(&hierarchies, "/carob/no-such-cgroup"), None);
    }
}
