//! Cgroups made, limited, used and removed, on whatever version the machine has.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use containerd_shim_carob_v1::cgroup::{Cgroup, CgroupError, Metrics, OomEvent, Wake};
use oci_spec::runtime::LinuxResources;

use crate::Test;
use crate::container::{Group, until, wait};

pub const TESTS: &[Test] = &[
    (
        "cgroup_is_made_everywhere_and_removed_with_its_parents",
        made_everywhere_and_removed,
    ),
    ("cgroup_in_use_is_not_taken_over", in_use_is_not_taken_over),
    ("metrics_show_what_is_used", metrics_show_what_is_used),
    ("lack_of_memory_is_noticed", lack_of_memory_is_noticed),
    (
        "f31_frozen_cgroup_is_thawed_and_removed",
        f31_frozen_cgroup_is_removed,
    ),
    ("cgroups_made_below_go_too", cgroups_made_below_go_too),
    (
        "everything_dies_while_it_forks",
        everything_dies_while_it_forks,
    ),
    ("systemd_names_are_paths", systemd_names_are_paths),
];

pub fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

/// Whether the machine has nothing but cgroup v2.
pub fn is_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// A cgroup's directory, by controller on v1.
pub fn dir(cgroup: &Cgroup, controller: &str) -> PathBuf {
    let root = Path::new("/sys/fs/cgroup");
    if is_v2() {
        root.join(cgroup.path())
    } else {
        root.join(controller).join(cgroup.path())
    }
}

/// A file's content: `v1` is `controller/file`, `v2` just the file.
pub fn content(cgroup: &Cgroup, v1: &str, v2: &str) -> String {
    let (controller, file) = v1.split_once('/').unwrap();
    let file = if is_v2() { v2 } else { file };
    fs::read_to_string(dir(cgroup, controller).join(file))
        .unwrap()
        .trim()
        .to_owned()
}

/// Every directory of that name on the machine.
pub fn directories(cgroup: &Cgroup) -> Vec<PathBuf> {
    let top = cgroup.path().split('/').next().unwrap();
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root)
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let mut found: Vec<PathBuf> = hierarchies
        .chain([root.to_owned()])
        .map(|dir| dir.join(top))
        .collect();
    found.retain(|dir| dir.exists());
    found
}

/// A child in the cgroup that does `action`; 0 when it returns true.
pub fn child(cgroup: &Cgroup, action: impl FnOnce() -> bool) -> i32 {
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => {
            let good = cgroup.join(0).is_ok() && action();
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!good)) }
        }
        pid => pid,
    }
}

pub fn pause() -> bool {
    loop {
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    }
}

fn made_everywhere_and_removed() {
    let group = Group::new();
    assert_eq!(directories(&group.0), Vec::<PathBuf>::new());
    group.0.create(None).unwrap();
    let made = directories(&group.0);
    assert_eq!(made.len() == 1, is_v2(), "{made:?}");
    let pid = child(&group.0, pause);
    until(|| {
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        cgroups.lines().all(|line| line.ends_with(group.0.path()))
    });
    assert_eq!(group.0.pids().unwrap(), [pid]);
    group.0.kill(libc::SIGTERM).unwrap();
    assert_eq!(wait(pid), None);
    group.0.remove().unwrap();
    assert_eq!(directories(&group.0), Vec::<PathBuf>::new());
    // Again: what is gone is gone.
    group.0.remove().unwrap();
    assert_eq!(group.0.pids().unwrap(), Vec::<i32>::new());
    group.0.kill(libc::SIGKILL).unwrap();
}

fn in_use_is_not_taken_over() {
    let group = Group::made(None);
    // Left over, but empty: fine.
    group.0.create(None).unwrap();
    let pid = child(&group.0, pause);
    until(|| group.0.pids().unwrap() == [pid]);
    assert!(matches!(
        group.0.create(None),
        Err(CgroupError::Occupied { .. })
    ));
    group.0.kill(libc::SIGKILL).unwrap();
    wait(pid);
}

fn metrics_show_what_is_used() {
    let group = Group::made(Some(&resources(
        r#"{"pids": {"limit": 9}, "memory": {"limit": 134217728}}"#,
    )));
    let pid = child(&group.0, || {
        let mut memory = vec![0u8; 8 << 20];
        memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        std::hint::black_box(&memory);
        pause()
    });
    let numbers = || match group.0.metrics().unwrap() {
        Metrics::V1(m) => (
            m.memory.usage.usage,
            m.pids.current,
            m.pids.limit,
            m.memory.usage.limit,
            m.cpu.usage.total,
        ),
        Metrics::V2(m) => (
            m.memory.usage,
            m.pids.current,
            m.pids.limit,
            m.memory.usage_limit,
            m.cpu.usage_usec,
        ),
    };
    until(|| numbers().0 > 8 << 20);
    let (_, current, pids, limit, cpu) = numbers();
    assert_eq!((current, pids, limit), (1, 9, 134_217_728));
    assert!(cpu > 0);
    let metrics = group.0.metrics().unwrap();
    assert_eq!(
        metrics.type_url(),
        format!("io.containerd.cgroups.v{}.Metrics", 1 + u8::from(is_v2()))
    );
    assert!(!metrics.encode().unwrap().is_empty());
    group.0.kill(libc::SIGKILL).unwrap();
    wait(pid);
    group.0.remove().unwrap();
    group.0.metrics().unwrap_err();
}

fn lack_of_memory_is_noticed() {
    let limit = r#"{"memory": {"limit": 16777216, "swap": 16777216}}"#;
    let group = Group::made(Some(&resources(limit)));
    let mut watch = group.0.oom_watch().unwrap();
    assert_eq!(watch.check().unwrap(), OomEvent::None);
    assert_eq!(watch.wake() == Wake::Priority, is_v2());
    let pid = child(&group.0, || {
        let mut memory = vec![0u8; 64 << 20];
        memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        std::hint::black_box(&memory);
        true
    });
    let events = if watch.wake() == Wake::Readable {
        libc::POLLIN
    } else {
        libc::POLLPRI
    };
    let mut poll = libc::pollfd {
        fd: watch.as_fd().as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: one valid structure.
    assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 20_000) }, 1);
    assert_eq!(wait(pid), None);
    // However often it was asked on the way, each kill is told once.
    let mut killed = 0;
    until(|| {
        if let OomEvent::Killed(count) = watch.check().unwrap() {
            killed += count;
        }
        killed == 1
    });
    assert_eq!(watch.check().unwrap(), OomEvent::None);
    group.0.remove().unwrap();
    assert_eq!(watch.check().unwrap(), OomEvent::Gone);
}

fn f31_frozen_cgroup_is_removed() {
    let group = Group::made(None);
    let pid = child(&group.0, pause);
    until(|| group.0.pids().unwrap() == [pid]);
    until(|| group.0.try_freeze(false).unwrap());
    // SIGTERM waits, being frozen.
    group.0.kill(libc::SIGTERM).unwrap();
    assert_eq!(group.0.pids().unwrap(), [pid]);
    group.0.remove().unwrap();
    assert_eq!(wait(pid), None);
    assert_eq!(directories(&group.0), Vec::<PathBuf>::new());
}

fn cgroups_made_below_go_too() {
    let group = Group::made(None);
    let mut pids = Vec::new();
    // v2 has processes in the leaves only.
    for name in ["a/b/c", "d"] {
        let inner = Cgroup::at(&format!("{}/{name}", group.0.path())).unwrap();
        inner.create(None).unwrap();
        pids.push(child(&inner, pause));
    }
    pids.sort_unstable();
    until(|| group.0.pids().unwrap() == pids);
    group.0.remove().unwrap();
    assert_eq!(directories(&group.0), Vec::<PathBuf>::new());
    for pid in pids {
        assert_eq!(wait(pid), None);
    }
}

fn everything_dies_while_it_forks() {
    let group = Group::made(Some(&resources(r#"{"pids": {"limit": 200}}"#)));
    // SAFETY: plain numbers: what the forks leave behind comes to us, to be reaped.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    child(&group.0, || {
        loop {
            // SAFETY: one thread each; every process goes on here.
            unsafe { libc::fork() };
        }
    });
    until(|| group.0.pids().unwrap().len() > 50);
    group.0.kill(libc::SIGKILL).unwrap();
    // Every one of them has died, or is about to: none of them forks any more.
    // SAFETY: no place for a status is given.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) } > 0 {}
    assert_eq!(group.0.pids().unwrap(), Vec::<i32>::new());
}

fn systemd_names_are_paths() {
    let slice = format!("carobtest{}.slice", std::process::id());
    let cgroup = Cgroup::at(&format!("{slice}:carob:x")).unwrap();
    assert_eq!(cgroup.path(), format!("{slice}/carob-x.scope"));
    cgroup.create(None).unwrap();
    let made = directories(&cgroup);
    assert!(made.iter().all(|dir| dir.join("carob-x.scope").is_dir()) && !made.is_empty());
    cgroup.remove().unwrap();
    // The slice is systemd's.
    assert_eq!(directories(&cgroup), made);
    made.iter().for_each(|dir| fs::remove_dir(dir).unwrap());
}
