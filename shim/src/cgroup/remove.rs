//! Removes a cgroup with everything in and below it.

use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::dir::{self, Dir};
use super::members;
use super::{Cgroup, CgroupError};

/// How long killed processes may take to die, on a machine that is very busy.
const PATIENCE: Duration = Duration::from_secs(10);
/// Our own top-level cgroup; tests use names that begin like it.
const OWN_ROOT: &str = "carob";

/// Removes the cgroup from every hierarchy.
pub fn remove(cgroup: &Cgroup) -> Result<(), CgroupError> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(100);
    loop {
        let Some(dir) = once(cgroup)? else {
            return Ok(());
        };
        if Instant::now() > deadline {
            let pids = members::pids_in(dir)?;
            if pids.is_empty() {
                let cause = io::Error::from_raw_os_error(libc::EBUSY);
                return Err(CgroupError::io("remove the cgroup", &dir.path, cause));
            }
            return Err(CgroupError::Undying {
                path: cgroup.path.clone(),
                pids,
            });
        }
        // Dying takes a moment: each round kills what is left, then waits a little longer.
        end_processes(cgroup, dir)?;
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Removes what can be removed now. Returns a directory that is still in use.
pub fn once(cgroup: &Cgroup) -> Result<Option<&Dir>, CgroupError> {
    let mut busy = None;
    for dir in &cgroup.dirs {
        match remove_tree(dir) {
            Ok(()) => {}
            Err(cause) if cause.raw_os_error() == Some(libc::EBUSY) => busy = Some(dir),
            Err(cause) => return Err(CgroupError::io("remove the cgroup", &dir.path, cause)),
        }
    }
    if busy.is_none() {
        remove_own_parents(cgroup);
    }
    Ok(busy)
}

/// Kills what is in the cgroup, frozen or not.
fn end_processes(cgroup: &Cgroup, busy: &Dir) -> Result<(), CgroupError> {
    // Already removed from the hierarchy with the freezer: nothing there can be frozen.
    let _: Result<(), CgroupError> = members::thaw(cgroup);
    members::kill(cgroup, libc::SIGKILL)?;
    // Someone may have moved a process in one hierarchy only.
    for pid in members::pids_in(busy)? {
        // SAFETY: kill(2) takes plain numbers; the process being gone is what is wanted.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    Ok(())
}

/// Removes one directory; its sub-cgroups only when there are some, which is rare.
fn remove_tree(dir: &Dir) -> io::Result<()> {
    match dir::rmdir(&dir.path) {
        Ok(_) => return Ok(()),
        Err(cause) if matches!(cause.raw_os_error(), Some(libc::EBUSY | libc::ENOTEMPTY)) => {}
        Err(cause) => return Err(cause),
    }
    let tree = dir.tree().map_err(|error| match error {
        CgroupError::Io { cause, .. } => cause,
        other => io::Error::other(other),
    })?;
    let mut result = Ok(());
    for path in tree.iter().rev() {
        if let Err(cause) = dir::rmdir(path) {
            result = Err(cause);
        }
    }
    result
}

/// Removes those of `dirs` that have no process and no sub-cgroup: the way back from a failed
/// creation.
pub fn remove_empty<'a>(cgroup: &Cgroup, dirs: impl IntoIterator<Item = &'a Dir>) {
    for dir in dirs {
        if let Err(cause) = dir::rmdir(&dir.path) {
            tracing::debug!(%cause, path = %dir.path.display(), "a half-made cgroup stays");
        }
    }
    remove_own_parents(cgroup);
}

/// Removes our own parents as far as they are empty. Others' parents are theirs.
fn remove_own_parents(cgroup: &Cgroup) {
    if !is_own(&cgroup.path) {
        return;
    }
    for dir in &cgroup.dirs {
        let root = &dir.hierarchy.mount_point;
        let parents = dir.path.ancestors().skip(1);
        for parent in parents.take_while(|path| *path != Path::new(root)) {
            if dir::rmdir(parent).is_err() {
                break;
            }
        }
    }
}

fn is_own(path: &str) -> bool {
    let top = path.split('/').next().unwrap_or_default();
    top == OWN_ROOT
        || top
            .strip_prefix(OWN_ROOT)
            .is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::is_own;

    #[test]
    fn only_our_own_parents_are_ours() {
        assert!(is_own("carob/a/b") && is_own("carob-test-1/a"));
        assert!(!is_own("carobs/a") && !is_own("kubepods/carob/x") && !is_own("default/id"));
    }
}
