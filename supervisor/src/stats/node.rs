//! What the machine has left: the observations that eviction decides on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use carob_core::eviction::{Observation, Observations, Signal};
use nix::sys::stat::stat;
use nix::sys::statvfs::{Statvfs, statvfs};

use super::hierarchy::Hierarchies;
use super::{cgroup, file, psi};

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Node {
    hierarchies: Hierarchies,
    /// Where volumes, logs and records are.
    nodefs: PathBuf,
    /// Where images are.
    imagefs: PathBuf,
    /// Instead of the whole machine: memory and process IDs are what this cgroup may use and uses.
    within: Option<String>,
}

/// Memory. Bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MachineMemory {
    /// All there is.
    pub capacity: u64,
    /// Used and not to be had back at once.
    pub working_set: u64,
    /// Swapped out.
    pub swap: u64,
}

impl Node {
    /// A machine whose file systems these are, or the part of it that is in a cgroup.
    pub fn new(
        hierarchies: Hierarchies,
        nodefs: &Path,
        imagefs: &Path,
        within: Option<String>,
    ) -> Self {
        Self {
            hierarchies,
            nodefs: nodefs.to_owned(),
            imagefs: imagefs.to_owned(),
            within,
        }
    }

    /// The cgroup that memory and process IDs are counted in, instead of the machine.
    pub fn within(&self) -> Option<&str> {
        self.within.as_deref()
    }

    /// The machine's cgroups.
    pub fn hierarchies(&self) -> &Hierarchies {
        &self.hierarchies
    }

    /// All signals that can be read now.
    pub fn observe(&self) -> Observations {
        let mut seen = Observations::new();
        if let Some(memory) = self.memory() {
            let available = int(memory.capacity).saturating_sub(int(memory.working_set));
            seen.insert(
                Signal::MemoryAvailable,
                Observation {
                    available,
                    capacity: int(memory.capacity),
                },
            );
        }
        if let Some(processes) = self.processes() {
            seen.insert(Signal::PidAvailable, processes);
        }
        for (path, space, inodes) in [
            (
                &self.nodefs,
                Signal::NodefsAvailable,
                Signal::NodefsInodesFree,
            ),
            (
                &self.imagefs,
                Signal::ImagefsAvailable,
                Signal::ImagefsInodesFree,
            ),
        ] {
            match statvfs(path) {
                Ok(found) => insert_disk(&mut seen, &found, space, inodes),
                Err(errno) => tracing::warn!(?path, %errno, "the file system can't be looked at"),
            }
        }
        for (what, signal, full) in [
            ("memory", Signal::MemoryPressure, true),
            ("io", Signal::IoPressure, true),
            ("cpu", Signal::CpuPressure, false),
        ] {
            if let Some(pressure) = self.pressure(what) {
                let stall = if full { pressure.full } else { pressure.some };
                seen.insert(
                    signal,
                    Observation {
                        #[expect(clippy::cast_possible_truncation, reason = "of a hundred")]
                        available: (stall.avg10 * 100.0).round() as i64,
                        capacity: 10_000,
                    },
                );
            }
        }
        seen
    }

    /// True when images are on a file system of their own.
    pub fn has_dedicated_imagefs(&self) -> bool {
        let device = |path: &Path| stat(path).map(|found| found.st_dev);
        match (device(&self.nodefs), device(&self.imagefs)) {
            (Ok(nodefs), Ok(imagefs)) => nodefs != imagefs,
            _ => false,
        }
    }

    /// The file system that images are on: capacity and what is left, in bytes.
    ///
    /// # Errors
    /// When it can't be looked at.
    pub fn image_disk(&self) -> io::Result<(u64, u64)> {
        let found = statvfs(&self.imagefs)?;
        let unit = found.fragment_size();
        Ok((found.blocks() * unit, found.blocks_available() * unit))
    }

    /// Memory of the machine, or of the cgroup that stands for it.
    pub fn memory(&self) -> Option<MachineMemory> {
        let machine = machine_memory()?;
        let Some(within) = &self.within else {
            return Some(machine);
        };
        let limit = cgroup::limits(&self.hierarchies, within).memory;
        let memory = cgroup::read(&self.hierarchies, within)?.memory?;
        Some(MachineMemory {
            capacity: limit.map_or(machine.capacity, |limit| limit.min(machine.capacity)),
            working_set: memory.working_set,
            swap: memory.swap,
        })
    }

    /// Time that all CPUs were busy, of the machine or of the cgroup.
    pub fn cpu(&self) -> Option<Duration> {
        match &self.within {
            Some(within) => Some(cgroup::read(&self.hierarchies, within)?.cpu?.usage),
            None => busy(&file::text(Path::new("/proc/stat"))?),
        }
    }

    /// How long tasks wait, on the machine or in the cgroup.
    pub fn pressure(&self, what: &str) -> Option<psi::Pressure> {
        match &self.within {
            Some(within) => {
                let dir = self.hierarchies.unified(within)?;
                psi::read(&dir.join(format!("{what}.pressure")))
            }
            None => psi::of_machine(what),
        }
    }

    /// As a kubelet counts them (`pkg/kubelet/stats/pidlimit`): the smaller of both limits, less all tasks.
    fn processes(&self) -> Option<Observation> {
        let number = |path: &str| file::number(Path::new(path));
        let pid_max = number("/proc/sys/kernel/pid_max")?;
        let threads_max = number("/proc/sys/kernel/threads-max").unwrap_or(pid_max);
        let most = pid_max.min(threads_max);
        let (capacity, used) = match &self.within {
            None => (most, tasks(&file::text(Path::new("/proc/loadavg"))?)?),
            Some(within) => {
                let limit = cgroup::limits(&self.hierarchies, within).processes;
                let used = cgroup::read(&self.hierarchies, within)?.processes?;
                (limit.map_or(most, |limit| limit.min(most)), used)
            }
        };
        Some(Observation {
            available: int(capacity).saturating_sub(int(used)),
            capacity: int(capacity),
        })
    }
}

fn insert_disk(seen: &mut Observations, found: &Statvfs, space: Signal, inodes: Signal) {
    let unit = found.fragment_size();
    seen.insert(
        space,
        Observation {
            available: int(found.blocks_available().saturating_mul(unit)),
            capacity: int(found.blocks().saturating_mul(unit)),
        },
    );
    // Some file systems make inodes as they need them and say 0.
    if found.files() > 0 {
        seen.insert(
            inodes,
            Observation {
                available: int(found.files_free()),
                capacity: int(found.files()),
            },
        );
    }
}

/// Inactive files can be had back at once, all else that is used not: a kubelet's working set.
fn machine_memory() -> Option<MachineMemory> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let of = |name: &str| -> Option<u64> {
        let rest = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kib: u64 = rest.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib * 1024)
    };
    let capacity = of("MemTotal")?;
    let at_hand = of("MemFree")?.saturating_add(of("Inactive(file)").unwrap_or(0));
    let swap = of("SwapTotal").unwrap_or(0);
    Some(MachineMemory {
        capacity,
        working_set: capacity.saturating_sub(at_hand),
        swap: swap.saturating_sub(of("SwapFree").unwrap_or(0)),
    })
}

/// `0.00 0.01 0.05 1/234 5678`: of 234 tasks 1 runs.
fn tasks(loadavg: &str) -> Option<u64> {
    loadavg.split(' ').nth(3)?.split_once('/')?.1.parse().ok()
}

/// `cpu  user nice system idle iowait irq softirq steal …`, in hundredths of a second.
fn busy(stat: &str) -> Option<Duration> {
    let numbers = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace();
    let ticks: Vec<u64> = numbers.map_while(|n| n.parse().ok()).collect();
    let idle = [3, 4];
    // The guests' times are in those of programs already.
    let busy = ticks
        .iter()
        .take(8)
        .enumerate()
        .filter(|(at, _)| !idle.contains(at));
    Some(Duration::from_millis(
        busy.map(|(_, ticks)| ticks * 10).sum(),
    ))
}

fn int(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_looked_at() {
        let hierarchies = Hierarchies::detect().unwrap();
        let node = Node::new(hierarchies, Path::new("/"), Path::new("/"), None);
        let seen = node.observe();
        for signal in [
            Signal::MemoryAvailable,
            Signal::NodefsAvailable,
            Signal::ImagefsAvailable,
            Signal::PidAvailable,
        ] {
            let found = seen[&signal];
            assert!(
                found.available >= 0 && found.available <= found.capacity,
                "{signal}: {found:?}"
            );
        }
        assert!(!node.has_dedicated_imagefs());
        assert!(node.cpu() > Some(Duration::ZERO));
    }

    #[test]
    fn files_of_proc_are_read() {
        assert_eq!(tasks("0.00 0.01 0.05 1/234 5678\n"), Some(234));
        let stat = "cpu  100 0 50 900 30 1 2 3 70 0\ncpu0 1\n";
        assert_eq!(busy(stat), Some(Duration::from_millis(1560)));
    }
}
