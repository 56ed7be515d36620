//! What libcontainer and the container see of cgroups.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use containerd_shim_carob_v1::cgroup::{Cgroup, CgroupMount, hide};
use containerd_shim_carob_v1::process::ProcessSetup;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::syscall::syscall::SyscallType;
use libcontainer::workload::{
    Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError,
};

use crate::Test;
use crate::container::{Group, process, root, wait};

pub const TESTS: &[Test] = &[
    (
        "hiding_changes_no_other_namespace",
        changes_no_other_namespace,
    ),
    (
        "hiding_needs_a_mount_namespace_of_its_own",
        needs_a_mount_namespace,
    ),
    (
        "trap_6_and_15_libcontainer_sees_no_cgroups",
        trap_6_and_15_libcontainer_sees_no_cgroups,
    ),
    ("a_container_sees_its_own_cgroups", sees_its_own),
];

/// The mounts that hiding could change; others come and go with whatever the machine does.
fn mounts() -> Vec<String> {
    let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let of_sys = |line: &&str| line.split(' ').nth(4).unwrap().starts_with("/sys");
    all.lines().filter(of_sys).map(str::to_owned).collect()
}

fn needs_a_mount_namespace() {
    let before = mounts();
    hide().unwrap_err();
    assert_eq!(mounts(), before);
}

fn changes_no_other_namespace() {
    // SAFETY: plain numbers; this process has one thread.
    unsafe {
        assert_eq!(libc::unshare(libc::CLONE_NEWNS), 0);
        // The worst case: everything propagates everywhere.
        let flags = libc::MS_REC | libc::MS_SHARED;
        let none = std::ptr::null();
        assert_eq!(
            libc::mount(none, c"/".as_ptr(), none, flags, none.cast()),
            0
        );
    }
    let before = mounts();
    // SAFETY: as above.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: plain numbers.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
        hide().unwrap();
        let shown = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!shown.contains(" - cgroup"), "{shown}");
        // What a container shares with the machine stays shared.
        let root = shown.lines().find(|line| line.contains(" / / ")).unwrap();
        assert!(root.contains(" shared:"), "{root}");
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    assert_eq!(wait(child), Some(0));
    assert_eq!(mounts(), before);
}

/// The last steps in libcontainer's init, with the container's cgroup mount before them.
#[derive(Clone)]
struct Last {
    setup: Rc<ProcessSetup>,
    mount: Rc<Option<CgroupMount>>,
}

impl Executor for Last {
    fn exec(&self, _: &Spec) -> Result<(), ExecutorError> {
        if let Some(mount) = &*self.mount {
            mount
                .attach()
                .map_err(|error| ExecutorError::Other(error.to_string()))?;
        }
        Err(ExecutorError::Other(self.setup.exec().to_string()))
    }

    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }

    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }
}

/// A container of libcontainer's that runs `command` to its end, in `group`; what it printed, what
/// cgroups its init was in, and how many mounts libcontainer could see of them.
fn run(group: &Cgroup, command: &str, mount: Option<&str>) -> (String, String) {
    let root = root();
    let bundle = tempfile::tempdir().unwrap();
    let out = bundle.path().join("out");
    let mounts = serde_json::json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
    ]);
    let spec = serde_json::json!({
        "ociVersion": "1.0.2",
        "process": process(&["/bin/true"], "{}"),
        "root": {"path": root.path()},
        "mounts": mounts,
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "cgroup"}]},
    });
    fs::write(bundle.path().join("config.json"), spec.to_string()).unwrap();
    let setup = ProcessSetup::from_spec(&process(&["sh", "-c", command], "{}"), None).unwrap();
    // SAFETY: this process has one thread. It reaps the containers of its child.
    let worker = unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        libc::fork()
    };
    if worker == 0 {
        // SAFETY: plain numbers.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
        group.create(None).unwrap();
        group.join(0).unwrap();
        let mount = mount.map(|json| {
            CgroupMount::prepare(group, &serde_json::from_str(json).unwrap(), true).unwrap()
        });
        hide().unwrap();
        let stdout = fs::File::create(&out).unwrap();
        let mut container = ContainerBuilder::new(name(group), SyscallType::default())
            .with_root_path(bundle.path().join("state"))
            .unwrap()
            .with_executor(Last {
                setup: Rc::new(setup),
                mount: Rc::new(mount),
            })
            .with_stdout(stdout)
            .as_init(bundle.path())
            .with_systemd(false)
            .build()
            .unwrap();
        let pid = container.pid().unwrap().as_raw();
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        fs::write(bundle.path().join("cgroups"), cgroups).unwrap();
        container.start().unwrap();
        // SAFETY: ends the worker.
        unsafe { libc::_exit(i32::from(wait(pid) != Some(0))) };
    }
    assert_eq!(
        wait(worker),
        Some(0),
        "{}",
        fs::read_to_string(&out).unwrap_or_default()
    );
    (
        fs::read_to_string(&out).unwrap(),
        fs::read_to_string(bundle.path().join("cgroups")).unwrap(),
    )
}

fn trap_6_and_15_libcontainer_sees_no_cgroups() {
    let before = mounts();
    let group = Group::new();
    let (_, cgroups) = run(&group.0, "true", None);
    assert!(
        cgroups.lines().all(|line| line.ends_with(group.0.path())),
        "{cgroups}"
    );
    // It would have named its own by the container.
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root)
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    for dir in hierarchies.chain([root.to_owned()]) {
        assert!(!dir.join(name(&group.0)).exists());
    }
    assert_eq!(mounts(), before);
}

/// A name for the container that nobody else has.
fn name(group: &Cgroup) -> String {
    group.path().replace('/', "-")
}

fn sees_its_own() {
    let group = Group::new();
    let mount = r#"{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}"#;
    let command = "for f in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do \
        test -e $f && echo $f $(cat $f); done; \
        busybox mkdir /sys/fs/cgroup/x /sys/fs/cgroup/memory/x 2>&1; \
        grep -E ' - (cgroup|cgroup2|tmpfs) ' /proc/self/mountinfo; cat /proc/self/cgroup";
    let (shown, _) = run(&group.0, command, Some(mount));
    let hierarchies = fs::read_to_string("/proc/self/cgroup")
        .unwrap()
        .lines()
        .count();
    // v1 without the unified one, as in runc.
    let wanted = if hierarchies == 1 { 1 } else { hierarchies - 1 };
    // Its own processes, by its own numbers (v2 shows those outside of it as 0).
    let lists = shown.lines().filter(|line| {
        let mut words = line.split(' ');
        words
            .next()
            .is_some_and(|file| file.ends_with("/cgroup.procs"))
            && words.any(|pid| pid == "1")
    });
    assert_eq!(lists.count(), wanted, "{shown}");
    assert!(shown.contains("Read-only file system"), "{shown}");
    let mounts: Vec<&str> = shown
        .lines()
        .filter(|line| line.contains(" /sys/fs/cgroup") && line.contains(" - "))
        .collect();
    assert_eq!(
        mounts.len(),
        if hierarchies == 1 { 1 } else { wanted + 1 },
        "{shown}"
    );
    for line in mounts {
        assert!(line.contains(" ro,nosuid,nodev,noexec,relatime"), "{line}");
        // The cgroup is the root of what is mounted.
        assert_eq!(line.split(' ').nth(3), Some("/"), "{line}");
    }
}
