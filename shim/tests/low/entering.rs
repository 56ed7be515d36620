//! Further processes in a running container.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use containerd_shim_carob_v1::exec::{self, ExecError, ExecRequest, Size, Streams};
use containerd_shim_carob_v1::process::{ProcessSetup, StartErrorKind};
use containerd_shim_carob_v1::seccomp;

use crate::Test;
use crate::container::{Container, PATIENCE, open_descriptors, pipe, process, until, wait};

pub const TESTS: &[Test] = &[
    (
        "exec_is_in_every_namespace_and_cgroup",
        exec_is_in_every_namespace_and_cgroup,
    ),
    (
        "exec_is_our_child_with_its_status",
        exec_is_our_child_with_its_status,
    ),
    (
        "exec_leaves_nothing_open_and_no_zombie",
        exec_leaves_nothing_open_and_no_zombie,
    ),
    ("exec_failures_are_told", exec_failures_are_told),
    ("exec_has_what_init_has", exec_has_what_init_has),
    ("exec_enters_a_user_namespace", exec_enters_a_user_namespace),
    (
        "exec_in_a_stopped_container_says_so",
        exec_in_a_stopped_container_says_so,
    ),
    (
        "exec_that_does_not_get_there_is_killed",
        exec_that_does_not_get_there_is_killed,
    ),
    (
        "exec_has_a_terminal_of_the_container",
        exec_has_a_terminal_of_the_container,
    ),
    ("exec_goes_where_init_is", exec_goes_where_init_is),
    (
        "c3_exec_has_three_descriptors_and_stays_inside",
        c3_exec_has_three_descriptors_and_stays_inside,
    ),
    ("c5_a_false_ptmx_is_refused", c5_a_false_ptmx_is_refused),
    (
        "c8_exec_has_no_more_than_init",
        c8_exec_has_no_more_than_init,
    ),
    (
        "c20_exec_groups_are_those_of_the_spec",
        c20_exec_groups_are_those_of_the_spec,
    ),
];

fn null() -> OwnedFd {
    File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .unwrap()
        .into()
}

fn setup(args: &[&str], extra: &str) -> ProcessSetup {
    ProcessSetup::from_spec(&process(args, extra), None).unwrap()
}

fn exec_is_in_every_namespace_and_cgroup() {
    let container = Container::sleeping();
    let kinds = ["mnt", "net", "ipc", "uts", "cgroup", "pid", "user"];
    let own = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    let before = own("pid_for_children");
    let shown = container.shell(
        "for n in mnt net ipc uts cgroup pid user; do busybox readlink /proc/self/ns/$n; done",
        "{}",
    );
    for (kind, line) in kinds.iter().zip(shown.lines()) {
        let init = fs::read_link(format!("/proc/{}/ns/{kind}", container.pid)).unwrap();
        assert_eq!(line, init.to_str().unwrap());
    }
    assert_eq!(
        own("pid_for_children"),
        before,
        "our later children are ours again"
    );
    // Its cgroup namespace has the container's cgroups as roots.
    let cgroups = container.shell("cat /proc/self/cgroup", "{}");
    assert!(
        cgroups.lines().all(|line| line.ends_with(":/")),
        "{cgroups}"
    );
    assert_eq!(
        container
            .shell("cat /proc/1/comm; ls /", "{}")
            .lines()
            .next(),
        Some("sleep")
    );
}

fn exec_is_our_child_with_its_status() {
    let container = Container::sleeping();
    let (_, status) = container
        .run(&setup(&["sh", "-c", "exit 42"], "{}"))
        .unwrap();
    assert_eq!(status, Some(42));
    let streams = Streams::Given([null(), null(), null()]);
    let started = container
        .spawn(&setup(&["sleep", "600"], "{}"), streams)
        .unwrap();
    assert!(container.group.0.pids().unwrap().contains(&started.pid));
    container.group.0.kill(libc::SIGKILL).unwrap();
    assert_eq!(wait(started.pid), None);
}

fn exec_leaves_nothing_open_and_no_zombie() {
    let container = Container::sleeping();
    let good = setup(&["true"], "{}");
    let bad = setup(&["nothing"], "{}");
    container.run(&good).unwrap();
    let before = open_descriptors();
    for _ in 0..100 {
        assert_eq!(container.run(&good).unwrap().1, Some(0));
        container.run(&bad).unwrap_err();
    }
    assert_eq!(open_descriptors(), before);
    // The only child left is the container's init, which runs.
    // SAFETY: no place for a status is given.
    let left = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
    assert_eq!(left, 0);
}

fn exec_failures_are_told() {
    let container = Container::sleeping();
    for (args, kind, text) in [
        (
            ["nothing"],
            StartErrorKind::NotFound,
            "exec: \"nothing\": executable file not found in $PATH",
        ),
        (
            ["/etc/passwd"],
            StartErrorKind::NotExecutable,
            "exec: \"/etc/passwd\": permission denied",
        ),
    ] {
        match container.run(&setup(&args, "{}")) {
            Err(ExecError::Start(error)) => {
                assert_eq!((error.kind(), error.to_string().as_str()), (kind, text));
            }
            other => panic!("{other:?}"),
        }
    }
    let missing = setup(&["true"], r#"{"cwd": "/etc/passwd"}"#);
    let error = container.run(&missing).unwrap_err().to_string();
    assert!(error.contains("chdir to cwd (\"/etc/passwd\")") && error.contains("not a directory"));
}

fn exec_has_what_init_has() {
    let init = process(
        &["sleep", "600"],
        r#"{"oomScoreAdj": 222, "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 55, "hard": 66}],
            "execCPUAffinity": {"initial": "0", "final": "0"}}"#,
    );
    let container = Container::start(&init, None);
    let command =
        "ulimit -n; cat /proc/self/oom_score_adj; grep Cpus_allowed_list /proc/self/status";
    let shown = |extra: &str| {
        let exec = process(&["sh", "-c", command], extra);
        container
            .run(&ProcessSetup::for_exec(&exec, &init, None).unwrap())
            .unwrap()
            .0
    };
    assert_eq!(shown("{}"), "55\n222\nCpus_allowed_list:\t0\n");
    let own =
        r#"{"oomScoreAdj": 333, "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 7, "hard": 8}]}"#;
    assert!(shown(own).starts_with("7\n333\n"));
    // What init's working directory is made for, exec's is not.
    let missing = process(&["true"], r#"{"cwd": "/missing"}"#);
    let error = container
        .run(&ProcessSetup::for_exec(&missing, &init, None).unwrap())
        .unwrap_err();
    assert!(
        error.to_string().ends_with("no such file or directory"),
        "{error}"
    );
}

fn exec_enters_a_user_namespace() {
    let setup = setup(&["sleep", "600"], "{}");
    let container = Container::start_in_user_namespace(&setup);
    let caps = r#"{"capabilities": {"bounding": ["CAP_SYS_ADMIN"], "permitted": ["CAP_SYS_ADMIN"],
        "effective": ["CAP_SYS_ADMIN"]}, "user": {"uid": 0, "gid": 0, "additionalGids": [7]}}"#;
    let command =
        "busybox readlink /proc/self/ns/user; id -u; grep -E 'CapEff|Groups' /proc/self/status";
    let inside = fs::read_link(format!("/proc/{}/ns/user", container.pid)).unwrap();
    let wanted = format!(
        "{}\n0\nGroups:\t7\nCapEff:\t0000000000200000\n",
        inside.display()
    );
    assert_eq!(
        container
            .shell(command, caps)
            .replace("Groups:\t7 \n", "Groups:\t7\n"),
        wanted
    );
}

fn exec_in_a_stopped_container_says_so() {
    let container = Container::sleeping();
    container.group.0.kill(libc::SIGKILL).unwrap();
    let true_ = setup(&["true"], "{}");
    // A zombie at first, whatever the kernel says about its namespaces.
    until(|| matches!(container.run(&true_), Err(ExecError::Stopped)));
}

fn exec_that_does_not_get_there_is_killed() {
    let container = Container::sleeping();
    until(|| container.group.0.try_freeze(false).unwrap());
    let result = exec::spawn(ExecRequest {
        init_pid: container.pid,
        init_pidfd: container.pidfd.as_fd(),
        setup: &setup(&["true"], "{}"),
        cgroup: &container.group.0,
        streams: Streams::Given([null(), null(), null()]),
        subreaper: false,
    });
    let mut starting = result.unwrap();
    assert!(matches!(starting.poll(), Ok(None)));
    container.group.0.thaw().unwrap();
    let process = starting.wait(PATIENCE).unwrap();
    assert_eq!(wait(process.pid), Some(0));

    until(|| container.group.0.try_freeze(false).unwrap());
    let streams = Streams::Given([null(), null(), null()]);
    let starting = exec::spawn(ExecRequest {
        init_pid: container.pid,
        init_pidfd: container.pidfd.as_fd(),
        setup: &setup(&["true"], "{}"),
        cgroup: &container.group.0,
        streams,
        subreaper: false,
    });
    let pid = starting.as_ref().unwrap().pid();
    let result = starting.unwrap().wait(Duration::from_millis(1));
    assert!(matches!(result, Err(ExecError::TimedOut(_))), "{result:?}");
    // In v1 a frozen process dies only now, and is then left to us.
    container.group.0.thaw().unwrap();
    // SAFETY: no place for a status is given.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

fn exec_has_a_terminal_of_the_container() {
    let container = Container::sleeping();
    let command = "tty; busybox stty size; test -t 0 && test -t 1 && test -t 2 && echo all; \
        busybox stat -c %u:%F $(tty); echo to >/dev/tty";
    let user = setup(
        &["sh", "-c", command],
        r#"{"user": {"uid": 1000, "gid": 1000}}"#,
    );
    let size = Size {
        rows: 33,
        columns: 101,
    };
    let process = container.spawn(&user, Streams::Terminal(size)).unwrap();
    let mut console = File::from(process.console.unwrap());
    let mut shown = Vec::new();
    let mut part = [0; 512];
    // A terminal whose other side is closed gives EIO rather than an end.
    while let Ok(length) = console.read(&mut part) {
        shown.extend(&part[..length]);
    }
    assert_eq!(wait(process.pid), Some(0));
    let shown = String::from_utf8(shown).unwrap();
    assert_eq!(
        shown,
        "/dev/pts/0\r\n33 101\r\nall\r\n1000:character special file\r\nto\r\n"
    );
}

/// v2: when the container hands controllers down, its cgroup takes no process any more.
fn exec_goes_where_init_is() {
    let container = Container::sleeping();
    let Ok(v2) = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") else {
        return;
    };
    let dir = Path::new("/sys/fs/cgroup").join(container.group.0.path());
    fs::create_dir(dir.join("inner")).unwrap();
    fs::write(dir.join("inner/cgroup.procs"), container.pid.to_string()).unwrap();
    assert!(v2.contains("memory"));
    fs::write(dir.join("cgroup.subtree_control"), "+memory").unwrap();
    let shown = container.shell("cat /proc/self/cgroup", "{}");
    assert_eq!(shown.trim(), "0::/inner");
}

fn c3_exec_has_three_descriptors_and_stays_inside() {
    let container = Container::sleeping();
    let outside = File::open("/").unwrap();
    // SAFETY: plain numbers; 50 is free and not marked to be closed.
    unsafe { libc::dup2(outside.as_raw_fd(), 50) };
    assert_eq!(
        container.shell("ls /proc/self/fd | grep -c .", "{}").trim(),
        "4"
    );
    for number in 0..=60 {
        let setup = setup(&["pwd"], &format!(r#"{{"cwd": "/proc/self/fd/{number}"}}"#));
        assert!(
            matches!(container.run(&setup), Err(ExecError::Start(_))),
            "{number}"
        );
    }
}

fn c5_a_false_ptmx_is_refused() {
    let container = Container::sleeping();
    container.shell("busybox rm /dev/ptmx; busybox ln -s null /dev/ptmx", "{}");
    let result = container.spawn(&setup(&["true"], "{}"), Streams::Terminal(Size::default()));
    assert!(
        result
            .unwrap_err()
            .to_string()
            .contains("not a devpts multiplexer")
    );
}

fn c8_exec_has_no_more_than_init() {
    let init = process(
        &["sleep", "600"],
        r#"{"noNewPrivileges": true, "capabilities": {"bounding": ["CAP_CHOWN"],
            "permitted": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"]}}"#,
    );
    let container = Container::start(&init, None);
    let asked = process(
        &["grep", "-E", "Cap|NoNew|Seccomp:", "/proc/self/status"],
        r#"{"capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_ADMIN"],
            "permitted": ["CAP_CHOWN", "CAP_SYS_ADMIN"], "effective": ["CAP_CHOWN", "CAP_SYS_ADMIN"],
            "inheritable": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}}"#,
    );
    let cache = tempfile::tempdir().unwrap();
    let profile = serde_json::from_str(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}"#,
    );
    let filter = seccomp::compile(&profile.unwrap(), &cache.path().join("s")).unwrap();
    let setup = ProcessSetup::for_exec(&asked, &init, Some(filter)).unwrap();
    let wanted = "CapInh:\t0000000000000000\nCapPrm:\t0000000000000001\nCapEff:\t0000000000000001\n\
        CapBnd:\t0000000000000001\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";
    assert_eq!(container.run(&setup).unwrap().0, wanted);
}

fn c20_exec_groups_are_those_of_the_spec() {
    let container = Container::sleeping();
    let user = r#"{"user": {"uid": 1000, "gid": 1000, "additionalGids": [5, 2000]}}"#;
    assert_eq!(
        container
            .shell("grep Groups /proc/self/status", user)
            .trim(),
        "Groups:\t5 2000"
    );
    let (mut read, write) = pipe();
    // Standard error is where it should be, too.
    let setup = setup(&["sh", "-c", "echo err >&2; cat"], user);
    let process = container
        .spawn(&setup, Streams::Given([null(), null(), write]))
        .unwrap();
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), wait(process.pid)), ("err\n", Some(0)));
}
