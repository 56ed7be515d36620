//! The last steps of a container's init.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use containerd_shim_carob_v1::process::{ProcessSetup, set_oom_score_adj};
use containerd_shim_carob_v1::seccomp;

use crate::Test;
use crate::container::{process, root, run, wait};

pub const TESTS: &[Test] = &[
    (
        "c1_the_runtime_itself_is_not_started",
        c1_the_runtime_itself_is_not_started,
    ),
    (
        "c3_no_descriptor_gets_into_the_container",
        c3_no_descriptor_gets_into_the_container,
    ),
    (
        "c3_a_working_directory_outside_is_refused",
        c3_a_working_directory_outside_is_refused,
    ),
    (
        "c8_inheritable_capabilities_are_none",
        c8_inheritable_capabilities_are_none,
    ),
    (
        "c14_passwd_that_is_no_plain_file_is_left",
        c14_passwd_that_is_no_plain_file_is_left,
    ),
    (
        "c20_groups_are_those_of_the_spec",
        c20_groups_are_those_of_the_spec,
    ),
    (
        "c23_working_directory_is_made_inside",
        c23_working_directory_is_made_inside,
    ),
    ("signals_are_as_at_boot", signals_are_as_at_boot),
    (
        "a_user_keeps_no_capabilities_but_ambient_ones",
        a_user_keeps_no_capabilities_but_ambient_ones,
    ),
    (
        "limits_umask_and_score_are_set",
        limits_umask_and_score_are_set,
    ),
    (
        "programs_are_found_without_path_and_with_group_rights",
        programs_are_found,
    ),
    ("failures_have_runcs_texts", failures_have_runcs_texts),
    (
        "a_filter_is_loaded_with_and_without_no_new_privs",
        a_filter_is_loaded,
    ),
    (
        "newer_system_calls_get_enosys",
        newer_system_calls_get_enosys,
    ),
    (
        "masked_arguments_are_compared_the_right_way_round",
        masked_arguments,
    ),
];

/// Runs a shell command as init.
fn shell(root: &Path, command: &str, extra: &str) -> String {
    let setup = ProcessSetup::from_spec(&process(&["sh", "-c", command], extra), None).unwrap();
    run(root, &setup).0
}

fn fails(root: &Path, args: &[&str], extra: &str) -> String {
    let setup = ProcessSetup::from_spec(&process(args, extra), None).unwrap();
    let (text, status) = run(root, &setup);
    assert_eq!(status, Some(127), "{text}");
    text
}

fn c1_the_runtime_itself_is_not_started() {
    let text = fails(root().path(), &["/proc/self/exe", "x"], "{}");
    assert_eq!(
        text,
        "exec: \"/proc/self/exe\": is the container runtime itself"
    );
}

fn c3_no_descriptor_gets_into_the_container() {
    let root = root();
    let _open = fs::File::open("/").unwrap();
    // SAFETY: plain numbers; 50 is free.
    unsafe { libc::dup2(1, 50) };
    // ls itself opens one more.
    let shown = shell(root.path(), "ls /proc/self/fd | grep -c .", "{}");
    assert_eq!(shown.trim(), "4", "0, 1, 2 and the directory being read");
}

fn c3_a_working_directory_outside_is_refused() {
    let outside = fs::File::open("/").unwrap();
    let mut refused = 0;
    for number in 3..=20 {
        let extra = format!(r#"{{"cwd": "/proc/self/fd/{number}"}}"#);
        let setup = ProcessSetup::from_spec(&process(&["pwd"], &extra), None).unwrap();
        let (text, status) = run(root().path(), &setup);
        assert_eq!(status, Some(127), "{text}");
        refused += usize::from(text.contains("possible container breakout detected"));
    }
    assert!(refused > 0, "the open directory was among them");
    drop(outside);
}

const ALL_SETS: &str = r#"{"capabilities": {
    "bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
    "effective": ["CAP_CHOWN", "CAP_KILL"], "inheritable": ["CAP_CHOWN", "CAP_KILL"]}}"#;

fn c8_inheritable_capabilities_are_none() {
    let shown = shell(root().path(), "grep Cap /proc/self/status", ALL_SETS);
    let wanted = "CapInh:\t0000000000000000\nCapPrm:\t0000000000000021\nCapEff:\t0000000000000021\n\
                  CapBnd:\t0000000000000021\nCapAmb:\t0000000000000000\n";
    assert_eq!(shown, wanted);
}

fn c14_passwd_that_is_no_plain_file_is_left() {
    let root = root();
    let passwd = root.path().join("etc/passwd");
    let home = || {
        let shown = shell(root.path(), "echo $HOME", "{}");
        shown.trim().to_owned()
    };
    assert_eq!(home(), "/root");
    // A gigabyte of nothing, with a user behind it.
    let file = fs::File::create(&passwd).unwrap();
    file.set_len(1 << 30).unwrap();
    assert_eq!(home(), "/");
    fs::remove_file(&passwd).unwrap();
    let name = CString::new(passwd.to_str().unwrap()).unwrap();
    // SAFETY: a string that outlives the call.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o666) }, 0);
    assert_eq!(home(), "/");
    fs::remove_file(&passwd).unwrap();
    symlink("/dev/null", &passwd).unwrap();
    assert_eq!(home(), "/");
}

fn c20_groups_are_those_of_the_spec() {
    let root = root();
    // Says that bob is in the group 7, too.
    fs::write(
        root.path().join("etc/group"),
        "seven:x:7:bob\nbob:x:1000:\n",
    )
    .unwrap();
    let user = |groups: &str| {
        format!(r#"{{"user": {{"uid": 1000, "gid": 1000, "additionalGids": [{groups}]}}}}"#)
    };
    let groups = |given: &str| shell(root.path(), "grep Groups /proc/self/status", &user(given));
    assert_eq!(groups("").trim(), "Groups:");
    assert_eq!(groups("5,2000").trim(), "Groups:\t5 2000");
    assert_eq!(
        shell(root.path(), "id -u; id -g", &user("")),
        "1000\n1000\n"
    );
}

fn c23_working_directory_is_made_inside() {
    let root = root();
    let canary = tempfile::tempdir().unwrap();
    // Leads out of the root for whoever follows it on the machine.
    symlink(canary.path(), root.path().join("link")).unwrap();
    let shown = shell(root.path(), "pwd", r#"{"cwd": "/a/b"}"#);
    assert_eq!(shown.trim(), "/a/b");
    let inside = root.path().join(canary.path().strip_prefix("/").unwrap());
    fs::create_dir_all(&inside).unwrap();
    shell(root.path(), "pwd", r#"{"cwd": "/link/sub"}"#);
    assert!(inside.join("sub").is_dir());
    assert_eq!(fs::read_dir(canary.path()).unwrap().count(), 0);
}

fn signals_are_as_at_boot() {
    // SAFETY: plain numbers.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let _mask = containerd_shim_carob_v1::process::block_signals().unwrap();
    let setup =
        ProcessSetup::from_spec(&process(&["grep", "Sig", "/proc/self/status"], "{}"), None);
    let (shown, _) = run(root().path(), &setup.unwrap());
    for set in ["SigBlk", "SigIgn", "SigCgt"] {
        assert!(
            shown.contains(&format!("{set}:\t0000000000000000")),
            "{shown}"
        );
    }
}

fn a_user_keeps_no_capabilities_but_ambient_ones() {
    let caps = |ambient: &str| {
        let extra = format!(
            r#"{{"user": {{"uid": 1000, "gid": 1000}}, "capabilities": {{
            "bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
            "effective": ["CAP_CHOWN"], "inheritable": [{ambient}], "ambient": [{ambient}]}}}}"#
        );
        shell(
            root().path(),
            "grep -E 'CapInh|CapEff|CapAmb' /proc/self/status",
            &extra,
        )
    };
    let none = "CapInh:\t0000000000000000\nCapEff:\t0000000000000000\nCapAmb:\t0000000000000000\n";
    assert_eq!(caps(""), none);
    let kill = "CapInh:\t0000000000000020\nCapEff:\t0000000000000020\nCapAmb:\t0000000000000020\n";
    assert_eq!(caps(r#""CAP_KILL""#), kill);
}

fn limits_umask_and_score_are_set() {
    let root = root();
    let extra = r#"{"user": {"uid": 0, "gid": 0, "umask": 63}, "oomScoreAdj": 321,
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 100},
                    {"type": "RLIMIT_CORE", "soft": 0, "hard": 18446744073709551615}]}"#;
    let shown = shell(
        root.path(),
        "ulimit -n; ulimit -Hn; umask; cat /proc/self/oom_score_adj",
        extra,
    );
    assert_eq!(shown, "99\n100\n0077\n321\n");
    assert_eq!(shell(root.path(), "umask", "{}").trim(), "0022");
    // Whatever this process may set, the result is in the range and never an error.
    let set = set_oom_score_adj(-1000).unwrap();
    assert!((-1000..=0).contains(&set), "{set}");
}

fn programs_are_found() {
    let root = root();
    let tool = root.path().join("bin/tool");
    fs::write(&tool, "#!/bin/sh\necho found $HOME\n").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o750)).unwrap();
    let setup = ProcessSetup::from_spec(&process(&["tool"], r#"{"env": []}"#), None).unwrap();
    assert_eq!(run(root.path(), &setup).0, "found /root\n");
}

fn failures_have_runcs_texts() {
    let root = root();
    let bin = root.path().join("bin");
    fs::write(bin.join("plain"), "x").unwrap();
    for (name, text) in [("garbage", "\x7fELF"), ("script", "#!/no/such/shell\n")] {
        fs::write(bin.join(name), text).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (program, text) in [
        (
            "nothing",
            "exec: \"nothing\": executable file not found in $PATH",
        ),
        (
            "/nothing",
            "exec: \"/nothing\": stat /nothing: no such file or directory",
        ),
        ("/bin/plain", "exec: \"/bin/plain\": permission denied"),
        ("/bin", "exec: \"/bin\": is a directory"),
        ("garbage", "exec /bin/garbage: exec format error"),
        (
            "script",
            "exec /bin/script: no such file or directory (its interpreter or loader is missing)",
        ),
    ] {
        assert_eq!(fails(root.path(), &[program], "{}"), text);
    }
}

fn profile(json: &str) -> seccomp::Program {
    let cache = tempfile::tempdir().unwrap();
    seccomp::compile(
        &serde_json::from_str(json).unwrap(),
        &cache.path().join("seccomp"),
    )
    .unwrap()
}

fn a_filter_is_loaded() {
    let filter = profile(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 93}]}"#,
    );
    for privileges in [true, false] {
        let command = "grep -E 'Seccomp:|NoNewPrivs' /proc/self/status; busybox mkdir /tmp/x 2>&1";
        let extra =
            format!(r#"{{"user": {{"uid": 1000, "gid": 1000}}, "noNewPrivileges": {privileges}}}"#);
        let process = process(&["sh", "-c", command], &extra);
        let setup = ProcessSetup::from_spec(&process, Some(filter.clone())).unwrap();
        let (shown, _) = run(root().path(), &setup);
        assert!(
            shown.contains(&format!("NoNewPrivs:\t{}", u8::from(privileges))),
            "{shown}"
        );
        assert!(
            shown.contains("Seccomp:\t2") && shown.contains("Protocol not supported"),
            "{shown}"
        );
    }
}

/// The error numbers that system calls give under a filter.
fn under(filter: &seccomp::Program, calls: &[(i64, u64)]) -> Vec<i32> {
    let (mut read, write) = crate::container::pipe();
    // SAFETY: this process has one thread; the child only makes calls with plain numbers.
    let child = unsafe { libc::fork() };
    if child == 0 {
        filter.load().unwrap();
        for &(call, first) in calls {
            // SAFETY: all calls of the tests below fail before they use an argument.
            let code = match unsafe { libc::syscall(call, first, 0, 0, 0, 0, 0) } {
                -1 => std::io::Error::last_os_error().raw_os_error().unwrap(),
                _ => 0,
            };
            let bytes = code.to_ne_bytes();
            // SAFETY: pointer and length are of one array.
            unsafe {
                libc::write(
                    std::os::fd::AsRawFd::as_raw_fd(&write),
                    bytes.as_ptr().cast(),
                    4,
                )
            };
        }
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    drop(write);
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut read, &mut bytes).unwrap();
    wait(child);
    bytes
        .chunks_exact(4)
        .map(|code| i32::from_ne_bytes(code.try_into().unwrap()))
        .collect()
}

fn newer_system_calls_get_enosys() {
    // The last call named is openat2 (437), allowed or not.
    let filter = profile(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 93,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": [
            {"names": ["write", "exit_group", "openat2"], "action": "SCMP_ACT_ALLOW"}]}"#,
    );
    let codes = under(
        &filter,
        &[(libc::SYS_getpid, 0), (libc::SYS_openat2 + 1, 0), (5000, 0)],
    );
    assert_eq!(codes, [93, libc::ENOSYS, libc::ENOSYS]);
}

fn masked_arguments() {
    // As in containerd's profile: clone without any namespace flag.
    let filter = profile(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 93, "syscalls": [
            {"names": ["write", "exit_group"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["kill"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#,
    );
    // No such process, and a number with one of the bits.
    let codes = under(
        &filter,
        &[
            (libc::SYS_kill, 0x7fff_ff00 & !2_114_060_288),
            (libc::SYS_kill, 0x0200_0000),
        ],
    );
    assert_eq!(codes, [libc::ESRCH, 93]);
}
