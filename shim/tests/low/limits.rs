//! Limits of cgroups, and that the kernel holds to them.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use containerd_shim_carob_v1::cgroup::{Cgroup, CgroupError};

use crate::Test;
use crate::cgroups::{child, content, directories, is_v2, resources};
use crate::container::{Group, wait};

pub const TESTS: &[Test] = &[
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
    (
        "c16_file_names_stay_in_the_cgroup",
        c16_file_names_stay_in_the_cgroup,
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
];

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
    } else {
        assert!(
            result
                .unwrap_err()
                .to_string()
                .contains("this machine has cgroup v1")
        );
    }
}

fn c16_file_names_stay_in_the_cgroup() {
    let group = Group::made(None);
    for file in [
        "cgroup.procs",
        "../memory.max",
        "/x.y",
        "x",
        "cgroup.subtree_control",
    ] {
        let bad = resources(&format!(r#"{{"unified": {{"{file}": "1"}}}}"#));
        let error = group.0.update(&bad).unwrap_err().to_string();
        assert!(
            error.contains("it is not a file of a controller"),
            "{error}"
        );
    }
    let size = r#"{"hugepageLimits": [{"pageSize": "/../../x", "limit": 0}]}"#;
    let error = group.0.update(&resources(size)).unwrap_err();
    assert!(matches!(error, CgroupError::BadLimit { .. }), "{error}");
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
