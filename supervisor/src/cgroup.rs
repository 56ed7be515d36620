//! The cgroups above those of containers: who is in them, and their removal. The shim makes and limits them.

use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Directories of this cgroup that exist, one per hierarchy.
fn directories(cgroup: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mount_points(&mounts)
        .map(|point| Path::new(point).join(cgroup.trim_start_matches('/')))
        .filter(|dir| dir.is_dir())
        .collect()
}

/// Mount points of all cgroup file systems, of both versions (proc_pid_mountinfo(5)).
fn mount_points(mountinfo: &str) -> impl Iterator<Item = &str> {
    mountinfo.lines().filter_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let kind = back.split(' ').next()?;
        matches!(kind, "cgroup" | "cgroup2").then(|| front.split(' ').nth(4))?
    })
}

/// True when the kernel has killed a process of this cgroup for want of memory: the count `oom_kill` of cgroups v2
/// (`memory.events`) and v1 (`memory.oom_control`, Linux 4.13).
pub fn had_oom_kill(cgroup: &str) -> bool {
    directories(cgroup).iter().any(|dir| {
        ["memory.events", "memory.oom_control"].iter().any(|file| {
            let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
            oom_kills(&text) > 0
        })
    })
}

fn oom_kills(text: &str) -> u64 {
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

/// Removes the cgroup, its descendants and then its empty ancestors, in every hierarchy. What still has a
/// process in it stays.
pub fn remove(cgroup: &str) {
    for dir in directories(cgroup) {
        if let Err(error) = remove_tree(&dir) {
            tracing::debug!(%error, ?dir, "a cgroup stays behind");
        }
    }
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(dir)
}

/// Kills every process in the cgroup and below; returns how many there were.
///
/// # Errors
/// When the kernel doesn't let us look.
pub fn kill_all(cgroup: &str) -> io::Result<usize> {
    let mut pids = std::collections::BTreeSet::new();
    for dir in directories(cgroup) {
        collect(&dir, &mut pids)?;
    }
    for &pid in &pids {
        match kill(Pid::from_raw(pid), Signal::SIGKILL) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(pids.len())
}

fn collect(dir: &Path, pids: &mut std::collections::BTreeSet<i32>) -> io::Result<()> {
    let procs = fs::read_to_string(dir.join("cgroup.procs"))?;
    pids.extend(
        procs
            .lines()
            .filter_map(|line| line.parse::<i32>().ok())
            .filter(|&pid| pid > 0),
    );
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), pids)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted_by_both_versions() {
        let v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n";
        let v2 = "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\noom_group_kill 0\n";
        assert_eq!((oom_kills(v1), oom_kills(v2), oom_kills("")), (2, 1, 0));
    }

    #[test]
    fn mount_points_of_both_versions() {
        let text = "30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n31 30 0:27 / /sys/fs/cgroup/cpu rw shared:5 - cgroup cgroup rw,cpu\n32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            mount_points(text).collect::<Vec<_>>(),
            ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"]
        );
    }
}
