//! The processes of a cgroup: joining, listing, signalling, freezing.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::dir::{self, Dir};
use super::{Cgroup, CgroupError};

/// How often, and how long each time, it is tried to freeze what is to be killed.
const FREEZES: u32 = 3;
const PATIENCE: Duration = Duration::from_millis(20);

/// Moves a process into every hierarchy, into the unified one only when `unified`.
pub fn join(cgroup: &Cgroup, pid: i32, unified: bool) -> Result<(), CgroupError> {
    let value = pid.to_string();
    for dir in &cgroup.dirs {
        if dir.hierarchy.unified {
            if unified {
                dir.write("cgroup.procs", &value)?;
            }
        } else if pid == 0 {
            // The same for a single thread as `cgroup.procs`, but the kernel (since 5.16) doesn't hold
            // up every fork and exit of the machine for it.
            dir.write("tasks", &value)?;
        } else {
            dir.write("cgroup.procs", &value)?;
        }
    }
    Ok(())
}

/// Moves a process into the hierarchies that have the cgroup.
pub fn join_existing(cgroup: &Cgroup, pid: i32) -> Result<(), CgroupError> {
    let mut joined = Err(CgroupError::io(
        "join",
        Path::new(cgroup.path()),
        io::ErrorKind::NotFound.into(),
    ));
    for dir in cgroup.dirs.iter().filter(|dir| dir.path.is_dir()) {
        dir.write("cgroup.procs", &pid.to_string())?;
        joined = Ok(());
    }
    joined
}

/// Opens the directory of a process in the unified hierarchy, if it is `dir` or below it.
pub fn open_unified_of(dir: &Dir, pid: i32) -> Result<Option<OwnedFd>, CgroupError> {
    let text = dir::read(Path::new(&format!("/proc/{pid}/cgroup")))?;
    let Some(path) = text.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return Ok(None);
    };
    let inner = Dir::new(dir.hierarchy, path);
    // A removed cgroup's name has " (deleted)" at its end, which doesn't open.
    if inner.path.starts_with(&dir.path) {
        inner.open().map(Some)
    } else {
        Ok(None)
    }
}

/// The hierarchy whose members count: the unified one alone, or a v1 one that every process of the
/// container is in.
fn primary(cgroup: &Cgroup) -> Option<&Dir> {
    ["freezer", "pids", "memory", "devices"]
        .iter()
        .find_map(|name| cgroup.dirs.iter().find(|dir| dir.hierarchy.has(name)))
        .or_else(|| cgroup.dirs.last())
}

/// All processes, those of sub-cgroups included, in ascending order.
pub fn pids(cgroup: &Cgroup) -> Result<Vec<i32>, CgroupError> {
    primary(cgroup).map_or(Ok(Vec::new()), pids_in)
}

/// All processes of one hierarchy.
pub fn pids_in(dir: &Dir) -> Result<Vec<i32>, CgroupError> {
    let mut found: BTreeSet<i32> = BTreeSet::new();
    for path in dir.tree()? {
        match dir::read(&path.join("cgroup.procs")) {
            // 0 stands for a process outside of our PID namespace.
            Ok(text) => {
                found.extend(
                    text.lines()
                        .filter_map(|line| line.parse::<i32>().ok())
                        .filter(|&pid| pid > 0),
                );
            }
            Err(CgroupError::Io { cause, .. }) if dir::gone(&cause) => {}
            // A threaded v2 cgroup lists its processes in its domain above only.
            Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found.into_iter().collect())
}

/// Signals every process.
pub fn kill(cgroup: &Cgroup, signal: i32) -> Result<(), CgroupError> {
    if signal == libc::SIGKILL {
        return kill_all(cgroup);
    }
    signal_each(&pids(cgroup)?, signal)
}

/// SIGKILL to every process, those forked meanwhile included.
fn kill_all(cgroup: &Cgroup) -> Result<(), CgroupError> {
    let mut known = BTreeSet::new();
    if let Some(dir) = cgroup.unified().filter(|dir| dir.has("cgroup.kill")) {
        match dir.write("cgroup.kill", "1") {
            Err(CgroupError::Io { cause, .. }) if dir::gone(&cause) => {}
            result => result?,
        }
        if cgroup.dirs.len() == 1 {
            return Ok(());
        }
        known.extend(pids_in(dir)?);
    }
    // v2 before Linux 5.14, v1, and what on a hybrid machine was moved out of the unified hierarchy.
    if pids(cgroup)?.iter().all(|pid| known.contains(pid)) {
        return Ok(());
    }
    // Nobody can fork while frozen, and SIGKILL waits for the thaw.
    for _ in 0..FREEZES {
        let frozen = freeze_for_a_moment(cgroup);
        let killed = pids(cgroup).and_then(|pids| signal_each(&pids, libc::SIGKILL));
        let thawed = if frozen.is_ok() { thaw(cgroup) } else { Ok(()) };
        killed.and(thawed)?;
        // Where nothing can be frozen, once is all that can be done.
        if !matches!(frozen, Ok(false)) {
            break;
        }
    }
    Ok(())
}

/// Freezes, or gives it up after [`PATIENCE`].
fn freeze_for_a_moment(cgroup: &Cgroup) -> Result<bool, CgroupError> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(100);
    while !try_freeze(cgroup, false)? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        sleep(pause);
        pause *= 2;
    }
    Ok(true)
}

fn signal_each(pids: &[i32], signal: i32) -> Result<(), CgroupError> {
    for &pid in pids {
        // SAFETY: kill(2) takes plain numbers; `pid` is positive, so it is one process.
        if unsafe { libc::kill(pid, signal) } != 0 {
            let cause = io::Error::last_os_error();
            if cause.raw_os_error() != Some(libc::ESRCH) {
                let proc = std::path::PathBuf::from(format!("/proc/{pid}"));
                return Err(CgroupError::io(
                    format!("send signal {signal} to"),
                    &proc,
                    cause,
                ));
            }
        }
    }
    Ok(())
}

/// The file that freezes, what to write to it for frozen and thawed, and what tells the state.
fn freezer(cgroup: &Cgroup) -> Result<(&Dir, bool), CgroupError> {
    if let Some(dir) = cgroup.dirs.iter().find(|dir| dir.hierarchy.has("freezer")) {
        return Ok((dir, false));
    }
    cgroup
        .unified()
        .map(|dir| (dir, true))
        .ok_or_else(|| CgroupError::MissingController {
            limit: "pause".to_owned(),
            controller: "freezer",
            path: cgroup.path.clone(),
        })
}

/// Begins to freeze, or goes on with it. Whether all are frozen.
pub fn try_freeze(cgroup: &Cgroup, anew: bool) -> Result<bool, CgroupError> {
    let (dir, unified) = freezer(cgroup)?;
    if unified {
        dir.write("cgroup.freeze", "1")?;
        let events = dir.read("cgroup.events")?;
        return Ok(events.lines().any(|line| line == "frozen 1"));
    }
    // A v1 cgroup whose processes fork can stay FREEZING for good; thawing and trying again gets it out of that
    // (runc does the same).
    if anew {
        dir.write("freezer.state", "THAWED")?;
    }
    dir.write("freezer.state", "FROZEN")?;
    Ok(dir.read("freezer.state")?.trim() == "FROZEN")
}

/// Thaws.
pub fn thaw(cgroup: &Cgroup) -> Result<(), CgroupError> {
    let (dir, unified) = freezer(cgroup)?;
    if unified {
        dir.write("cgroup.freeze", "0")
    } else {
        dir.write("freezer.state", "THAWED")
    }
}
