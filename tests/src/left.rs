//! What supervisors have left on the machine: processes, cgroups, mounts, network, files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::given;
use crate::witness::{Seen, Witness, entries};

/// A line for each thing of the supervisors whose directories lie below `dir`.
pub(crate) fn of(dir: &Path, witness: &Witness) -> Vec<String> {
    witness.look();
    let seen = witness.seen();
    // A shim answers before it ends, and takes its socket away first: only that may still be under way.
    if seen.sockets.iter().all(|socket| !socket.exists()) {
        wait_for_shims(dir);
    }
    let mut left = processes(dir, &seen);
    left.extend(mounts(dir));
    left.extend(cgroups(&seen));
    left.extend(network(&seen));
    left.extend(files(dir));
    left.extend(tasks(dir));
    for socket in seen.sockets.iter().filter(|socket| socket.exists()) {
        left.push(format!("socket {}", socket.display()));
    }
    left
}

/// Waits until no shim of ours is there, or for a while.
fn wait_for_shims(dir: &Path) {
    for process in entries(Path::new("/proc")) {
        let cmdline = fs::read(process.join("cmdline")).unwrap_or_default();
        let cmdline = String::from_utf8_lossy(&cmdline);
        let pid = process
            .file_name()
            .and_then(|pid| pid.to_str()?.parse().ok());
        let ours = cmdline.contains("containerd-shim") && cmdline.contains(&*dir.to_string_lossy());
        if let Some(pid) = pid.and_then(Pid::from_raw).filter(|_| ours)
            && let Ok(process) = pidfd_open(pid, PidfdFlags::empty())
        {
            let mut fds = [PollFd::new(&process, PollFlags::IN)];
            poll(
                &mut fds,
                Some(&Timespec {
                    tv_sec: 5,
                    tv_nsec: 0,
                }),
            )
            .expect("a pidfd can be polled");
        }
    }
}

/// Processes in a Pod's cgroup, or that name a file of ours, or are in a directory of ours.
fn processes(dir: &Path, seen: &Seen) -> Vec<String> {
    let of_us = |process: &Path| {
        let read = |file| fs::read(process.join(file)).unwrap_or_default();
        let cgroup = String::from_utf8_lossy(&read("cgroup")).into_owned();
        let cmdline = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let cwd = fs::read_link(process.join("cwd")).unwrap_or_default();
        // One that has ended is for its parent to reap, which is the machine's init when a shim was killed.
        let ended = cmdline.is_empty() && cwd.as_os_str().is_empty();
        let in_pod = !ended && seen.cgroups.iter().any(|pod| cgroup.contains(pod));
        let ours = in_pod || cmdline.contains(&*dir.to_string_lossy()) || cwd.starts_with(dir);
        ours.then(|| format!("process {} {cmdline:?}", process.display()))
    };
    let this = std::process::id().to_string();
    entries(Path::new("/proc"))
        .iter()
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.bytes().all(|b| b.is_ascii_digit()) && name != *this
        })
        .filter_map(|path| of_us(path))
        .collect()
}

/// What containerd has of ours.
fn tasks(dir: &Path) -> Vec<String> {
    let tasks = given::tasks().map(|tasks| entries(&tasks));
    let ours = |task: &PathBuf| {
        let config = fs::read_to_string(task.join("config.json")).unwrap_or_default();
        config.contains(&*dir.to_string_lossy())
    };
    let left = tasks.into_iter().flatten().filter(ours);
    left.map(|task| format!("task {}", task.display()))
        .collect()
}

/// Mounts in the machine's own mount namespace.
fn mounts(dir: &Path) -> Vec<String> {
    let points = mount_points(dir).into_iter();
    points.map(|point| format!("mount {point}")).collect()
}

/// Where something is mounted in the machine's own mount namespace, in the order in which it was.
pub(crate) fn mount_points(dir: &Path) -> Vec<String> {
    mountinfo()
        .lines()
        .filter(|line| line.contains(&*dir.to_string_lossy()))
        .filter_map(|line| Some(line.split(' ').nth(4)?.to_owned()))
        .collect()
}

fn cgroups(seen: &Seen) -> Vec<String> {
    let left = cgroup_dirs(seen).into_iter();
    left.map(|dir| format!("cgroup {}", dir.display()))
        .collect()
}

/// The cgroups of the state directories, one above the Pods', in each hierarchy.
pub(crate) fn cgroup_dirs(seen: &Seen) -> BTreeSet<PathBuf> {
    let mountinfo = mountinfo();
    let points = mountinfo.lines().filter_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        back.starts_with("cgroup")
            .then(|| front.split(' ').nth(4))?
    });
    let dirs = points.flat_map(|point| {
        seen.cgroups.iter().map(move |pod| {
            let pod = Path::new(point).join(pod.trim_start_matches('/'));
            pod.parent().map_or_else(|| pod.clone(), Path::to_owned)
        })
    });
    dirs.filter(|dir| dir.exists()).collect()
}

fn network(seen: &Seen) -> Vec<String> {
    let interfaces = seen
        .interfaces
        .iter()
        .filter(|name| Path::new("/sys/class/net").join(name).exists())
        .map(|name| format!("network interface {name}"));
    let tables = tables(seen).into_iter();
    interfaces
        .chain(tables.map(|table| format!("nftables {table}")))
        .collect()
}

/// Tables of nftables as `nft list tables` names them.
pub(crate) fn tables(seen: &Seen) -> Vec<String> {
    let tables = Command::new("nft")
        .args(["list", "tables"])
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .output()
        .map(|out| String::from_utf8_lossy(&out.stdout).into_owned())
        .expect("nft is there");
    let ours = |line: &&str| seen.tables.iter().any(|name| line.ends_with(&**name));
    tables.lines().filter(ours).map(str::to_owned).collect()
}

/// All in the state directory but its locks and empty directories, and Pods and records in the root directory. Logs
/// and events may stay.
fn files(dir: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for world in entries(dir) {
        let is = |end: &str| world.to_string_lossy().ends_with(end);
        if is("state") {
            let empty =
                |f: &Path| fs::read_dir(f).is_ok_and(|mut entries| entries.next().is_none());
            let counts =
                |f: &PathBuf| !f.ends_with("lock") && !f.ends_with("daemon.lock") && !empty(f);
            left.extend(entries(&world).into_iter().filter(counts));
        } else if is("root") {
            left.extend(entries(&world.join("pods")));
            left.extend(entries(&world.join("records")));
        }
    }
    left.iter()
        .map(|file| format!("file {}", file.display()))
        .collect()
}

fn mountinfo() -> String {
    fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted")
}
