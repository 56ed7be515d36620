//! Cgroups made, limited, used and removed, on whatever version the machine has.

use std::fs;
use std::io;
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
    (
        "cgroup_that_cannot_be_limited_is_not_left",
        not_left_half_made,
    ),
    ("limits_are_set_and_changed", limits_are_set_and_changed),
    (
        "limits_without_a_controller_are_named",
        limits_without_a_controller_are_named,
    ),
    (
        "limits_by_file_name_are_for_v2",
        limits_by_file_name_are_for_v2,
    ),
    ("block_devices_are_throttled", block_devices_are_throttled),
    (
        "a_fork_beyond_the_limit_fails",
        a_fork_beyond_the_limit_fails,
    ),
    (
        "devices_are_denied_but_for_the_usual_ones",
        devices_are_denied,
    ),
    ("devices_can_be_allowed_later", devices_can_be_allowed_later),
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

fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

/// Whether the machine has nothing but cgroup v2.
fn is_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// A cgroup's directory, by controller on v1.
fn dir(cgroup: &Cgroup, controller: &str) -> PathBuf {
    let root = Path::new("/sys/fs/cgroup");
    if is_v2() {
        root.join(cgroup.path())
    } else {
        root.join(controller).join(cgroup.path())
    }
}

/// A file's content: `v1` is `controller/file`, `v2` just the file.
fn content(cgroup: &Cgroup, v1: &str, v2: &str) -> String {
    let (controller, file) = v1.split_once('/').unwrap();
    let file = if is_v2() { v2 } else { file };
    fs::read_to_string(dir(cgroup, controller).join(file))
        .unwrap()
        .trim()
        .to_owned()
}

/// Every directory of that name on the machine.
fn directories(cgroup: &Cgroup) -> Vec<PathBuf> {
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
fn child(cgroup: &Cgroup, action: impl FnOnce() -> bool) -> i32 {
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

fn pause() -> bool {
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

fn not_left_half_made() {
    let group = Group::new();
    for json in [
        r#"{"cpu": {"cpus": "99999"}}"#,
        r#"{"memory": {"limit": 1048576, "swap": 4096}}"#,
        r#"{"hugepageLimits": [{"pageSize": "../x", "limit": 0}]}"#,
        r#"{"devices": [{"allow": true, "type": "c", "major": -7, "access": "r"}]}"#,
    ] {
        let error = group.0.create(Some(&resources(json))).expect_err(json);
        assert!(matches!(error, CgroupError::BadLimit { .. }), "{error}");
        assert_eq!(directories(&group.0), Vec::<PathBuf>::new());
    }
}

fn limits_are_set_and_changed() {
    let group = Group::made(Some(&resources(
        r#"{"cpu": {"shares": 512, "quota": 20000, "period": 50000, "cpus": "0"},
            "memory": {"limit": 67108864, "swap": 134217728, "reservation": 33554432},
            "pids": {"limit": 77}, "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
            "blockIO": {"weight": 500}}"#,
    )));
    let shown = |v1, v2| content(&group.0, v1, v2);
    assert_eq!(
        shown("cpu/cpu.shares", "cpu.weight"),
        if is_v2() { "59" } else { "512" }
    );
    assert_eq!(
        shown("cpu/cpu.cfs_quota_us", "cpu.max"),
        if is_v2() { "20000 50000" } else { "20000" }
    );
    assert_eq!(shown("cpuset/cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(
        shown("memory/memory.limit_in_bytes", "memory.max"),
        "67108864"
    );
    let swap = if is_v2() { "67108864" } else { "134217728" };
    assert_eq!(
        shown("memory/memory.memsw.limit_in_bytes", "memory.swap.max"),
        swap
    );
    assert_eq!(shown("pids/pids.max", "pids.max"), "77");

    // Up, down, and away, though in v1 memory may never be above memory with swap.
    for (limit, swap) in [
        (268_435_456, 268_435_456),
        (33_554_432, 67_108_864),
        (-1, -1),
    ] {
        let update = format!(
            r#"{{"memory": {{"limit": {limit}, "swap": {swap}}}, "pids": {{"limit": -1}}}}"#
        );
        group.0.update(&resources(&update)).unwrap();
        let shown = shown("memory/memory.limit_in_bytes", "memory.max");
        match limit {
            -1 => assert!(
                shown == "max" || shown.parse::<u64>().unwrap() > 1 << 62,
                "{shown}"
            ),
            limit => assert_eq!(shown, limit.to_string()),
        }
    }
    assert_eq!(shown("pids/pids.max", "pids.max"), "max");
    let lower = resources(r#"{"cpu": {"quota": -1, "period": 100000}}"#);
    group.0.update(&lower).unwrap();
    assert_eq!(
        shown("cpu/cpu.cfs_quota_us", "cpu.max"),
        if is_v2() { "max 100000" } else { "-1" }
    );
}

fn limits_without_a_controller_are_named() {
    let group = Group::new();
    let error = group
        .0
        .create(Some(&resources(r#"{"network": {"classID": 5}}"#)))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("resources.network.classID needs the cgroup controller net_cls")
    );
    assert_eq!(directories(&group.0), Vec::<PathBuf>::new());
}

fn limits_by_file_name_are_for_v2() {
    let group = Group::new();
    let result = group.0.create(Some(&resources(
        r#"{"unified": {"memory.high": "50331648"}}"#,
    )));
    if is_v2() {
        result.unwrap();
        assert_eq!(content(&group.0, "memory/x", "memory.high"), "50331648");
        for file in ["cgroup.procs", "../memory.max", "x"] {
            let bad = resources(&format!(r#"{{"unified": {{"{file}": "1"}}}}"#));
            group.0.update(&bad).unwrap_err();
        }
    } else {
        assert!(
            result
                .unwrap_err()
                .to_string()
                .contains("this machine has cgroup v1")
        );
    }
}

fn block_devices_are_throttled() {
    let Some(device) = fs::read_dir("/sys/block")
        .unwrap()
        .flatten()
        .find_map(|entry| fs::read_to_string(entry.path().join("dev")).ok())
    else {
        return;
    };
    let (major, minor) = device.trim().split_once(':').unwrap();
    let limits = resources(&format!(
        r#"{{"blockIO": {{"throttleReadBpsDevice": [{{"major": {major}, "minor": {minor}, "rate": 1048576}}]}}}}"#
    ));
    let group = Group::made(Some(&limits));
    let file = content(&group.0, "blkio/blkio.throttle.read_bps_device", "io.max");
    let wanted = if is_v2() {
        "rbps=1048576 wbps=max"
    } else {
        "1048576"
    };
    assert!(file.contains(wanted), "{file}");
}

fn a_fork_beyond_the_limit_fails() {
    let group = Group::made(Some(&resources(r#"{"pids": {"limit": 1}}"#)));
    let pid = child(&group.0, || {
        // SAFETY: one thread; there is no child if all is well.
        let result = unsafe { libc::fork() };
        result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)
    });
    assert_eq!(wait(pid), Some(0));
}

/// Opens each device, already a node, in the cgroup; the error numbers.
fn open_in(cgroup: &Cgroup, devices: &[&str]) -> Vec<i32> {
    devices
        .iter()
        .map(|device| {
            let (mut read, write) = crate::container::pipe();
            let pid = child(cgroup, || {
                let code = fs::File::open(device)
                    .err()
                    .and_then(|error| error.raw_os_error());
                let bytes = code.unwrap_or(0).to_ne_bytes();
                // SAFETY: pointer and length are of one array.
                unsafe { libc::write(write.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) == 4 }
            });
            assert_eq!(wait(pid), Some(0));
            let mut code = [0; 4];
            io::Read::read_exact(&mut read, &mut code).unwrap();
            i32::from_ne_bytes(code)
        })
        .collect()
}

fn devices_are_denied() {
    let group = Group::made(Some(&resources(
        r#"{"devices": [{"allow": false, "access": "rwm"}]}"#,
    )));
    let codes = open_in(
        &group.0,
        &[
            "/dev/null",
            "/dev/zero",
            "/dev/urandom",
            "/dev/ptmx",
            "/dev/kmsg",
        ],
    );
    assert_eq!(codes, [0, 0, 0, 0, libc::EPERM]);
    // A node may be made, which is no access.
    let dir = tempfile::tempdir().unwrap();
    let node = std::ffi::CString::new(dir.path().join("mem").to_str().unwrap()).unwrap();
    let made = child(&group.0, || {
        // SAFETY: a string that outlives the call.
        unsafe { libc::mknod(node.as_ptr(), libc::S_IFCHR | 0o600, libc::makedev(1, 1)) == 0 }
    });
    assert_eq!(wait(made), Some(0));
    assert_eq!(open_in(&group.0, &[node.to_str().unwrap()]), [libc::EPERM]);
    // Without any rule it is the same.
    let bare = Group::made(None);
    assert_eq!(
        open_in(&bare.0, &["/dev/null", "/dev/kmsg"]),
        [0, libc::EPERM]
    );
    let all = Group::made(Some(&resources(
        r#"{"devices": [{"allow": true, "access": "rwm"}]}"#,
    )));
    assert_eq!(open_in(&all.0, &["/dev/null", "/dev/kmsg"]), [0, 0]);
}

fn devices_can_be_allowed_later() {
    let group = Group::made(None);
    let allow = resources(
        r#"{"devices": [{"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]}"#,
    );
    group.0.update(&allow).unwrap();
    assert_eq!(open_in(&group.0, &["/dev/kmsg", "/dev/null"]), [0, 0]);
    // An update without rules leaves them.
    group
        .0
        .update(&resources(r#"{"pids": {"limit": 50}}"#))
        .unwrap();
    assert_eq!(open_in(&group.0, &["/dev/kmsg"]), [0]);
    group
        .0
        .update(&resources(
            r#"{"devices": [{"allow": false, "access": "rwm"}]}"#,
        ))
        .unwrap();
    assert_eq!(
        open_in(&group.0, &["/dev/kmsg", "/dev/null"]),
        [libc::EPERM, 0]
    );
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
    group.0.freeze().unwrap();
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
