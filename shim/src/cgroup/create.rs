//! Makes the directories of a cgroup in every hierarchy.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::dir::{self, Dir};
use super::{Cgroup, CgroupError, members, remove};

/// How often a parent may vanish under us: another Pod's end removes empty parents of ours.
const ATTEMPTS: u32 = 20;

/// Makes all directories, with what a directory needs before it can have processes. Leaves nothing
/// behind on failure.
pub fn create(cgroup: &Cgroup) -> Result<(), CgroupError> {
    let mut made = Vec::new();
    let result = make_all(cgroup, &mut made);
    if result.is_err() {
        remove::remove_empty(cgroup, made);
    }
    result
}

fn make_all<'a>(cgroup: &'a Cgroup, made: &mut Vec<&'a Dir>) -> Result<(), CgroupError> {
    for dir in &cgroup.dirs {
        if make(dir)? {
            made.push(dir);
        }
    }
    // Left over from a crash it may be, in use it may not.
    if made.len() < cgroup.dirs.len() {
        let mut others = members::pids(cgroup)?.into_iter();
        // systemd has put this process there.
        let own = cgroup.scope.as_ref().map(|_| std::process::id());
        if let Some(pid) = others.find(|&pid| Some(pid.unsigned_abs()) != own) {
            return Err(CgroupError::Occupied {
                path: cgroup.path.clone(),
                pid,
            });
        }
    }
    for dir in &cgroup.dirs {
        if dir.hierarchy.unified {
            enable_controllers(dir)?;
        } else if dir.hierarchy.has("cpuset") {
            inherit_cpuset(dir)?;
        }
    }
    Ok(())
}

/// Makes one directory and its parents. `false` when it was there.
fn make(dir: &Dir) -> Result<bool, CgroupError> {
    let mut attempt = 0;
    loop {
        match mkdir(&dir.path, false) {
            Ok(()) => return Ok(true),
            Err(cause) if cause.raw_os_error() == Some(libc::EEXIST) => return Ok(false),
            Err(cause) if is_missing(&cause) && attempt < ATTEMPTS => {
                attempt += 1;
                match dir.path.parent().map(|parent| mkdir(parent, true)) {
                    Some(Err(cause)) if !is_missing(&cause) => {
                        return Err(CgroupError::io("make the parents of", &dir.path, cause));
                    }
                    _ => {}
                }
            }
            Err(cause) => return Err(CgroupError::io("make the cgroup", &dir.path, cause)),
        }
    }
}

fn is_missing(cause: &io::Error) -> bool {
    cause.raw_os_error() == Some(libc::ENOENT)
}

fn mkdir(path: &Path, parents: bool) -> io::Result<()> {
    DirBuilder::new()
        .recursive(parents)
        .mode(0o755)
        .create(path)
}

/// A v1 cpuset without CPUs or memory nodes takes no process: take the parent's.
fn inherit_cpuset(dir: &Dir) -> Result<(), CgroupError> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        filled(&dir.path, &dir.hierarchy.mount_point, name)?;
    }
    Ok(())
}

/// What the file says, after it got its parent's content if it was empty.
fn filled(path: &Path, root: &Path, name: &str) -> Result<String, CgroupError> {
    let file = path.join(name);
    let own = dir::read(&file)?;
    match path.parent() {
        Some(parent) if own.trim().is_empty() && path != root => {
            let inherited = filled(parent, root, name)?;
            dir::write(&file, inherited.trim())?;
            Ok(inherited)
        }
        _ => Ok(own),
    }
}

/// Hands every controller that the v2 root has down to the cgroup. One that a parent refuses
/// (because it has processes of its own) is an error only for the limit that needs it.
fn enable_controllers(dir: &Dir) -> Result<(), CgroupError> {
    let root = &dir.hierarchy.mount_point;
    let offered = dir::read(&root.join("cgroup.controllers"))?;
    let given = dir.read("cgroup.controllers")?;
    let missing: Vec<String> = offered
        .split_whitespace()
        .filter(|name| !given.split_whitespace().any(|other| other == *name))
        .map(|name| format!("+{name}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let Some(above) = dir.path.parent() else {
        return Ok(());
    };
    let mut parents: Vec<&Path> = above
        .ancestors()
        .take_while(|path| path.starts_with(root))
        .collect();
    parents.reverse();
    for parent in parents {
        let file = parent.join("cgroup.subtree_control");
        if dir::write(&file, &missing.join(" ")).is_ok() {
            continue;
        }
        // One refused controller refuses the whole line.
        for name in &missing {
            if let Err(error) = dir::write(&file, name) {
                tracing::debug!(%error, "a cgroup controller is not handed down");
            }
        }
    }
    Ok(())
}
