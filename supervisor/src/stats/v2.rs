//! Counters of cgroup v2 (Documentation/admin-guide/cgroup-v2.rst).

use std::path::Path;
use std::time::Duration;

use super::cgroup::{CgroupStats, Cpu, Io, Memory};
use super::file::{Table, number, text};

pub(super) fn read(dir: &Path) -> Option<CgroupStats> {
    let stat = Table::read(&dir.join("cpu.stat"))?;
    let micros = |name| Duration::from_micros(stat.get(name).unwrap_or(0));
    Some(CgroupStats {
        cpu: Some(Cpu {
            usage: micros("usage_usec"),
            user: micros("user_usec"),
            system: micros("system_usec"),
            periods: stat.get("nr_periods").unwrap_or(0),
            throttled_periods: stat.get("nr_throttled").unwrap_or(0),
            throttled: micros("throttled_usec"),
        }),
        memory: memory(dir),
        processes: number(&dir.join("pids.current")),
        io: text(&dir.join("io.stat"))
            .unwrap_or_default()
            .lines()
            .filter_map(io)
            .collect(),
        ..CgroupStats::default()
    })
}

fn memory(dir: &Path) -> Option<Memory> {
    let usage = number(&dir.join("memory.current"))?;
    let stat = Table::read(&dir.join("memory.stat"))?;
    let of = |name| stat.get(name).unwrap_or(0);
    let events = Table::read(&dir.join("memory.events"));
    Some(Memory {
        usage,
        working_set: usage.saturating_sub(of("inactive_file")),
        rss: of("anon"),
        cache: of("file"),
        swap: number(&dir.join("memory.swap.current")).unwrap_or(0),
        mapped_file: of("file_mapped"),
        max_usage: number(&dir.join("memory.peak")).unwrap_or(0),
        page_faults: of("pgfault"),
        major_page_faults: of("pgmajfault"),
        oom_kills: events
            .and_then(|events| events.get("oom_kill"))
            .unwrap_or(0),
    })
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`.
fn io(line: &str) -> Option<Io> {
    let mut words = line.split(' ');
    let (major, minor) = words.next()?.split_once(':')?;
    let mut io = Io {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        ..Io::default()
    };
    for (name, amount) in words.filter_map(|word| word.split_once('=')) {
        let amount = amount.parse().ok()?;
        match name {
            "rbytes" => io.read_bytes = amount,
            "wbytes" => io.written_bytes = amount,
            "rios" => io.reads = amount,
            "wios" => io.writes = amount,
            _ => {}
        }
    }
    Some(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_cgroup_is_read() {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [
            (
                "cpu.stat",
                "usage_usec 5000000\nuser_usec 4000000\nsystem_usec 1000000\nnr_periods 7\nnr_throttled 3\nthrottled_usec 2500000\n",
            ),
            ("memory.current", "10485760\n"),
            (
                "memory.stat",
                "anon 4096\nfile 8192\nfile_mapped 1024\ninactive_file 485760\npgfault 9\npgmajfault 2\n",
            ),
            (
                "memory.events",
                "low 0\nhigh 0\nmax 5\noom 2\noom_kill 1\noom_group_kill 0\n",
            ),
            ("pids.current", "4\n"),
            (
                "io.stat",
                "254:0 rbytes=1 wbytes=22 rios=3 wios=4 dbytes=0 dios=0\n",
            ),
        ] {
            std::fs::write(dir.path().join(file), text).unwrap();
        }
        let stats = read(dir.path()).unwrap();
        let (cpu, memory) = (stats.cpu.unwrap(), stats.memory.unwrap());
        assert_eq!((cpu.usage.as_secs(), cpu.throttled.as_millis()), (5, 2500));
        assert_eq!((memory.working_set, memory.oom_kills), (10_000_000, 1));
        assert_eq!(stats.processes, Some(4));
        let io = stats.io[0];
        assert_eq!(
            (io.major, io.written_bytes, io.reads, io.writes),
            (254, 22, 3, 4)
        );
        // Without swap and peak, as on older kernels.
        assert_eq!((memory.swap, memory.max_usage), (0, 0));
    }
}
