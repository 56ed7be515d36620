//! Ends a process with all that it started, from outside: for runtimes that only signal the process itself.
//!
//! What it started are its descendants. Those that left their parents are known by a variable of the environment that
//! they inherited with it, [`MARK`]: only one that leaves its parent *and* clears its environment gets away. Where the
//! process is a subreaper (`childSubreaper`) nobody can leave it.

use std::collections::BTreeSet;
use std::fs;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The variable by which what a process started is known; each process has a value of its own.
pub const MARK: &str = "CAROB_EXEC";

/// A process: its parent is from `/proc/PID/stat`.
struct Process {
    pid: i32,
    parent: i32,
    mark: Option<Vec<u8>>,
}

/// Kills the process and all that it started. It is stopped first, process for process, so that nothing is started
/// meanwhile.
///
/// # Errors
/// When a process may not be killed.
pub fn kill_tree(root: i32) -> nix::Result<()> {
    let mut found = BTreeSet::new();
    loop {
        let new: Vec<i32> = members(root, &all())
            .into_iter()
            .filter(|pid| !found.contains(pid))
            .collect();
        if new.is_empty() {
            break;
        }
        for pid in new {
            send(pid, Signal::SIGSTOP)?;
            found.insert(pid);
        }
    }
    for pid in found {
        send(pid, Signal::SIGKILL)?;
    }
    Ok(())
}

fn send(pid: i32, signal: Signal) -> nix::Result<()> {
    match kill(Pid::from_raw(pid), signal) {
        // It has ended by itself.
        Err(Errno::ESRCH) => Ok(()),
        sent => sent,
    }
}

/// The process, its descendants, and whoever has its mark.
fn members(root: i32, processes: &[Process]) -> BTreeSet<i32> {
    let mark = processes.iter().find(|p| p.pid == root);
    let mark = mark.and_then(|p| p.mark.as_ref());
    let marked = processes
        .iter()
        .filter(|p| mark.is_some() && p.mark.as_ref() == mark);
    let mut members: BTreeSet<i32> = marked.map(|p| p.pid).chain([root]).collect();
    loop {
        let before = members.len();
        for process in processes {
            if members.contains(&process.parent) {
                members.insert(process.pid);
            }
        }
        if members.len() == before {
            return members;
        }
    }
}

fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name, in brackets, may have anything in it. Then: state, parent.
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(1);
            Some(Process {
                pid,
                parent: fields.next()?.parse().ok()?,
                mark: mark(&fs::read(entry.path().join("environ")).unwrap_or_default()),
            })
        })
        .collect()
}

fn mark(environ: &[u8]) -> Option<Vec<u8>> {
    let mut variables = environ.split(|&b| b == 0);
    variables.find_map(|variable| {
        let value = variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"=")?;
        Some(value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn f24_nothing_of_a_command_stays() {
        let mut command = Command::new("sh");
        // The second sleep's parent ends at once, and it has a session of its own.
        command.args(["-c", "sleep 1000 & (setsid sleep 1000 & echo $!); wait"]);
        command.env(MARK, format!("test-{}", std::process::id()));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut orphan = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut orphan).unwrap();
        let orphan: i32 = orphan.trim().parse().unwrap();
        let root = child.id().cast_signed();
        let tree = members(root, &all());
        assert!(tree.contains(&orphan) && tree.contains(&root), "{tree:?}");
        kill_tree(root).unwrap();
        child.wait().unwrap();
        // Whoever has the pipe open still runs.
        let mut rest = String::new();
        assert_eq!(stdout.read_line(&mut rest).unwrap(), 0, "{rest}");
    }

    #[test]
    fn others_are_left_alone() {
        let process = |pid, parent, mark: &str| Process {
            pid,
            parent,
            mark: (!mark.is_empty()).then(|| mark.as_bytes().to_owned()),
        };
        let all = [
            process(1, 0, ""),
            process(10, 1, "a"),
            process(11, 10, ""),
            process(12, 1, "a"),
            process(13, 11, "b"),
            process(20, 1, "b"),
        ];
        assert_eq!(members(10, &all), BTreeSet::from([10, 11, 12, 13]));
    }
}
