//! Ends a process with all that came of it.
//!
//! A process that is the subreaper of its descendants ([`super::ExecRequest::subreaper`]) stays at the head of their
//! chain of parents for as long as it lives, whatever they do to detach themselves. So its tree is found by parents
//! alone, among the container's processes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::cgroup::Cgroup;

use super::ExecError;

/// SIGKILL to `root`, a child of ours that was not reaped, and to its descendants in `cgroup`. All are stopped first,
/// so that none makes a new one meanwhile.
///
/// # Errors
/// What the kernel says when a process can't be signalled or the cgroup not be read. Processes that have ended are
/// no error.
pub fn kill(root: i32, cgroup: &Cgroup) -> Result<(), ExecError> {
    let io = |cause| ExecError::io("end a process and its descendants", cause);
    let mut tree = BTreeMap::new();
    if let Some(process) = stop(root, |_| true).map_err(io)? {
        tree.insert(root, process);
    }
    // A process with a signal to take can't fork any more (fork(2) is begun anew after it), so a round that finds
    // nobody has found all.
    loop {
        let known = tree.len();
        for pid in cgroup.pids()? {
            if tree.contains_key(&pid) {
                continue;
            }
            let is_of_tree = |pid| parent(pid).is_some_and(|parent| tree.contains_key(&parent));
            if is_of_tree(pid)
                && let Some(process) = stop(pid, is_of_tree).map_err(io)?
            {
                tree.insert(pid, process);
            }
        }
        if tree.len() == known {
            break;
        }
    }
    for process in tree.values() {
        send(process, Signal::KILL).map_err(io)?;
    }
    Ok(())
}

/// Stops a process, if it is still the one that is meant once nobody else can get its number.
fn stop(pid: i32, is_meant: impl Fn(i32) -> bool) -> io::Result<Option<OwnedFd>> {
    let Some(number) = Pid::from_raw(pid) else {
        return Ok(None);
    };
    let process = match pidfd_open(number, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        other => other?,
    };
    if !is_meant(pid) {
        return Ok(None);
    }
    send(&process, Signal::STOP)?;
    Ok(Some(process))
}

fn send(process: &OwnedFd, signal: Signal) -> io::Result<()> {
    match pidfd_send_signal(process, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A process's parent, as we see both.
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may have spaces and brackets in it.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}
