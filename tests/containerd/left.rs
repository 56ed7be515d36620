//! What a containerd and its shims have left on the machine: processes, cgroups, mounts, sockets, files.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use carob_tests::PATIENCE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::daemon::Containerd;

/// Where the shims have their sockets, as it is seen in containerd's namespace of mounts.
const SOCKETS: &str = "run/carob-shim";

/// A line for each thing. containerd doesn't wait for the last that it has done, nor for the end of a shim: what
/// is still under way is waited for.
pub fn of(daemon: &Containerd, mounts_before: &[String]) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = now(daemon, mounts_before);
        if left.is_empty() || thread::panicking() || Instant::now() > deadline {
            return left;
        }
        sleep(Duration::from_millis(5));
    }
}

fn now(daemon: &Containerd, mounts_before: &[String]) -> Vec<String> {
    let mut left = Vec::new();
    let mut add = |what: &str, names: Vec<String>| {
        left.extend(names.iter().map(|name| format!("{what} {name}")));
    };
    let paths = |paths: Vec<PathBuf>| paths.iter().map(|p| p.display().to_string()).collect();
    add("process", processes(daemon));
    let mut mounts = mounts(daemon);
    mounts.retain(|mount| !mounts_before.contains(mount));
    add("mount", mounts);
    let below = |cgroup: &PathBuf| entries(cgroup).into_iter().filter(|path| path.is_dir());
    add(
        "cgroup",
        paths(cgroups(daemon).iter().flat_map(below).collect()),
    );
    // Compiled seccomp profiles are kept beside the sockets.
    let mut sockets = entries(&daemon.path().join(SOCKETS));
    sockets.retain(|path| !path.ends_with("seccomp"));
    add("socket", paths(sockets));
    add(
        "FIFO",
        paths(entries(&daemon.path().join("run/containerd/fifo"))),
    );
    for kept in ["state", "root"] {
        let tasks = daemon
            .path()
            .join(kept)
            .join("io.containerd.runtime.v2.task");
        let bundles = entries(&tasks)
            .into_iter()
            .flat_map(|namespace| entries(&namespace));
        // containerd hides one before it removes it, and forgets it when it is killed meanwhile.
        let hidden = |path: &PathBuf| path.file_name().unwrap().as_encoded_bytes()[0] == b'.';
        let bundles = bundles.filter(|path| !hidden(path));
        add("bundle", paths(bundles.collect()));
    }
    left
}

/// Ends and removes what is left, so that other tests go on as if nothing had happened.
pub fn clear(daemon: &Containerd) {
    for shim in shims(daemon) {
        let _ = kill(Pid::from_raw(shim), Signal::SIGKILL);
    }
    for cgroup in cgroups(daemon) {
        thaw(&cgroup);
    }
    for cgroup in cgroups(daemon) {
        clear_cgroup(&cgroup);
    }
}

fn thaw(cgroup: &Path) {
    for below in entries(cgroup).iter().filter(|path| path.is_dir()) {
        thaw(below);
    }
    // Each version of cgroups has one of them.
    let _ = fs::write(cgroup.join("freezer.state"), "THAWED");
    let _ = fs::write(cgroup.join("cgroup.freeze"), "0");
}

fn clear_cgroup(cgroup: &Path) {
    for below in entries(cgroup).iter().filter(|path| path.is_dir()) {
        clear_cgroup(below);
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let processes = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
        for process in processes.lines().filter_map(|line| line.parse().ok()) {
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
        if fs::remove_dir(cgroup).is_ok() || !cgroup.exists() {
            return;
        }
        assert!(Instant::now() < deadline, "{cgroup:?} can't be removed");
        sleep(Duration::from_millis(2));
    }
}

/// The cgroups that all of the test's are in, in each hierarchy.
pub fn cgroups(daemon: &Containerd) -> Vec<PathBuf> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = mountinfo.lines().filter_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        back.starts_with("cgroup")
            .then(|| front.split(' ').nth(4))?
    });
    let names = [daemon.namespace(), daemon.slice()];
    points
        .flat_map(|point| names.iter().map(move |name| Path::new(point).join(name)))
        .filter(|path| path.exists())
        .collect()
}

/// The mount points in containerd's namespace of mounts.
pub fn mounts(daemon: &Containerd) -> Vec<String> {
    let mountinfo = fs::read_to_string(format!("/proc/{}/mountinfo", daemon.holder())).unwrap();
    let point = |line: &str| line.split(' ').nth(4).map(str::to_owned);
    mountinfo.lines().filter_map(point).collect()
}

/// The shims' process IDs: they have containerd's address among their arguments. So have their workers, and what
/// containerd runs to start them and to clean up after them, which it tells of its own program.
pub fn shims(daemon: &Containerd) -> Vec<i32> {
    let address = daemon.socket().display().to_string();
    let is_shim = |process: &PathBuf| {
        let arguments = read(&process.join("cmdline"));
        let shim = arguments.contains("containerd-shim-") && arguments.contains(&address);
        shim && !arguments.contains("-publish-binary")
    };
    let all = pids(all_processes().into_iter().filter(is_shim));
    let is_worker = |pid: &i32| parent(*pid).is_some_and(|parent| all.contains(&parent));
    all.iter().copied().filter(|pid| !is_worker(pid)).collect()
}

fn parent(pid: i32) -> Option<i32> {
    let status = read(Path::new(&format!("/proc/{pid}/status")));
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    line?.trim().parse().ok()
}

/// Processes other than containerd itself that name its directory, or are in a cgroup of its containers.
fn processes(daemon: &Containerd) -> Vec<String> {
    let directory = daemon.path().display().to_string();
    let cgroup = format!("/{}/", daemon.namespace());
    let is_ours = |process: &PathBuf| {
        let arguments = read(&process.join("cmdline"));
        let of_test = arguments.contains("config.toml") || arguments.contains("exec sleep");
        // One that has ended is for its parent to reap, which is the machine's init when a shim was killed.
        let runs = !arguments.is_empty();
        runs && !of_test
            && (arguments.contains(&directory) || read(&process.join("cgroup")).contains(&cgroup))
    };
    let ours = all_processes().into_iter().filter(is_ours);
    let show = |process: PathBuf| {
        let arguments = read(&process.join("cmdline")).replace('\0', " ");
        format!("{} {arguments}", process.display())
    };
    ours.map(show).collect()
}

fn all_processes() -> Vec<PathBuf> {
    let mut all = entries(Path::new("/proc"));
    all.retain(|path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .parse::<i32>()
            .is_ok()
    });
    all
}

fn pids(processes: impl Iterator<Item = PathBuf>) -> Vec<i32> {
    let pid = |path: PathBuf| path.file_name()?.to_str()?.parse().ok();
    processes.filter_map(pid).collect()
}

fn read(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}
