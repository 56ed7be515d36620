//! The default seccomp profile: containerd's rules (`contrib/seccomp/seccomp_default.go` of containerd 2.2)
//! as tables.
//!
//! Everything is refused with EPERM but what is listed here; what a capability allows is listed with it.
//! Names that a machine's libseccomp does not know are for the runtime to skip, as all runtimes do.

use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArgBuilder,
    LinuxSeccompOperator, LinuxSyscall,
};

/// For every container.
const ALWAYS: &str = "\
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 \
    clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 \
    clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 \
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old \
    eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate \
    fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync \
    fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync \
    ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat \
    get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 \
    getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority \
    getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname getsockopt \
    gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1 \
    inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit \
    ioctl ioprio_get ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self \
    lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek \
    lremovexattr lseek lsetxattr lsm_get_self_attr lsm_list_modules lsm_set_self_attr lstat lstat64 madvise \
    map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 \
    mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 \
    mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock \
    munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open \
    pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 \
    preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read \
    readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages \
    removexattr removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction \
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait \
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity \
    sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 \
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl \
    semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto \
    set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 \
    setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid \
    setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat shmat \
    shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair \
    splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo \
    tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime \
    timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times \
    tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat \
    utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev";

/// With kernels that check the tracer's rights against seccomp (4.8 and later).
const TRACING: &str = "process_vm_readv process_vm_writev ptrace";
const TRACING_SINCE: (u32, u32) = (4, 8);

#[cfg(target_arch = "x86_64")]
const OF_ARCH: &str = "arch_prctl modify_ldt";
#[cfg(target_arch = "aarch64")]
const OF_ARCH: &str =
    "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls";

#[cfg(target_arch = "x86_64")]
const ARCHES: [Arch; 3] = [Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32];
#[cfg(target_arch = "aarch64")]
const ARCHES: [Arch; 2] = [Arch::ScmpArchArm, Arch::ScmpArchAarch64];

/// What a capability in the bounding set allows on top.
const BY_CAPABILITY: [(Capability, &str); 14] = [
    (Capability::DacReadSearch, "open_by_handle_at"),
    (
        Capability::SysAdmin,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr \
         move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog \
         umount umount2 unshare",
    ),
    (Capability::SysBoot, "reboot"),
    (Capability::SysChroot, "chroot"),
    (
        Capability::SysModule,
        "delete_module init_module finit_module",
    ),
    (Capability::SysPacct, "acct"),
    (
        Capability::SysPtrace,
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    (Capability::SysRawio, "iopl ioperm"),
    (
        Capability::SysTime,
        "settimeofday stime clock_settime clock_settime64",
    ),
    (Capability::SysTtyConfig, "vhangup"),
    (
        Capability::SysNice,
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    (Capability::Syslog, "syslog"),
    (Capability::Bpf, "bpf"),
    (Capability::Perfmon, "perf_event_open"),
];

/// Linux, the current one and others that only change what the process sees of the machine
/// (`personality(2)`): PER_LINUX, PER_LINUX32, UNAME26, both, and asking for the current one.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;

/// `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID` and `NEWNET`.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

const ENOSYS: u32 = 38;

/// The profile for a container with these capabilities on this kernel.
pub fn profile(bounding: &Capabilities, kernel: (u32, u32)) -> LinuxSeccomp {
    let mut rules = vec![allow(ALWAYS)];
    // Sockets of all families but the kernel's cryptography (AF_ALG) and the hypervisor (AF_VSOCK), as
    // three ranges: two conditions on one argument are alternatives to libseccomp, not both demanded.
    // Programs of 32 bits on x86 make them by socketcall, whose arguments no filter sees.
    rules.extend([
        allow_if("socket", LinuxSeccompOperator::ScmpCmpLt, AF_ALG, None),
        allow_if("socket", LinuxSeccompOperator::ScmpCmpEq, AF_ALG + 1, None),
        allow_if("socket", LinuxSeccompOperator::ScmpCmpGt, AF_VSOCK, None),
    ]);
    rules.extend(
        PERSONALITIES.map(|p| allow_if("personality", LinuxSeccompOperator::ScmpCmpEq, p, None)),
    );
    if kernel >= TRACING_SINCE {
        rules.push(allow(TRACING));
    }
    rules.push(allow(OF_ARCH));
    let held = BY_CAPABILITY
        .iter()
        .filter(|(capability, _)| bounding.contains(capability));
    rules.extend(held.map(|(_, names)| allow(names)));
    if !bounding.contains(&Capability::SysAdmin) {
        let masked = LinuxSeccompOperator::ScmpCmpMaskedEq;
        rules.push(allow_if("clone", masked, NEW_NAMESPACES, Some(0)));
        // Its flags are in memory, where no filter sees them. ENOSYS makes the C library fall back to clone.
        let mut clone3 = rule("clone3", LinuxSeccompAction::ScmpActErrno);
        clone3.set_errno_ret(Some(ENOSYS));
        rules.push(clone3);
    }
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_architectures(Some(ARCHES.to_vec()))
        .set_syscalls(Some(rules));
    profile
}

fn rule(names: &str, action: LinuxSeccompAction) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.split_ascii_whitespace().map(str::to_owned).collect())
        .set_action(action);
    rule
}

fn allow(names: &str) -> LinuxSyscall {
    rule(names, LinuxSeccompAction::ScmpActAllow)
}

/// Allows a call by its first argument: compared with `value`, or masked with it and compared with `other`.
fn allow_if(name: &str, op: LinuxSeccompOperator, value: u64, other: Option<u64>) -> LinuxSyscall {
    let mut first = LinuxSeccompArgBuilder::default()
        .index(0usize)
        .value(value)
        .op(op);
    if let Some(other) = other {
        first = first.value_two(other);
    }
    let first = first.build().expect("every field has a default");
    let mut rule = allow(name);
    rule.set_args(Some(vec![first]));
    rule
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    fn rules(capabilities: &[Capability], kernel: (u32, u32)) -> Vec<Value> {
        let bounding = capabilities.iter().copied().collect();
        let json = serde_json::to_value(profile(&bounding, kernel)).unwrap();
        assert_eq!(json["defaultAction"], "SCMP_ACT_ERRNO");
        json["syscalls"].as_array().unwrap().clone()
    }

    /// Calls that are allowed whatever their arguments.
    fn allowed(capabilities: &[Capability]) -> BTreeSet<String> {
        let rules = rules(capabilities, (6, 1));
        let plain = rules
            .iter()
            .filter(|r| r["action"] == "SCMP_ACT_ALLOW" && r.get("args").is_none());
        let names = plain.flat_map(|rule| rule["names"].as_array().unwrap());
        names
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn c35_what_containers_are_attacked_with_is_refused() {
        let allowed = allowed(&[Capability::Chown]);
        for name in [
            "keyctl",
            "add_key",
            "request_key",
            "unshare",
            "setns",
            "mount",
            "umount2",
            "bpf",
            "clone",
            "clone3",
            "userfaultfd",
            "perf_event_open",
            "open_by_handle_at",
            "kexec_load",
            "init_module",
            "reboot",
            "swapon",
            "io_uring_setup",
            "socket",
            "personality",
            "chroot",
            "kcmp",
        ] {
            assert!(!allowed.contains(name), "{name}");
        }
        for name in [
            "read",
            "openat2",
            "execve",
            "ptrace",
            "futex",
            "landlock_restrict_self",
        ] {
            assert!(allowed.contains(name), "{name}");
        }
        assert!(
            !rules(&[], (4, 7))
                .iter()
                .any(|r| r["names"].as_array().unwrap().contains(&json!("ptrace")))
        );
    }

    #[test]
    fn c35_sockets_of_all_families_but_two() {
        let rules = rules(&[], (6, 1));
        let of_socket = rules.iter().filter(|r| r["names"] == json!(["socket"]));
        let conditions: Vec<_> = of_socket.map(|r| r["args"][0].clone()).collect();
        let matches = |family: u64| {
            conditions.iter().any(|condition| {
                let value = condition["value"].as_u64().unwrap();
                match condition["op"].as_str().unwrap() {
                    "SCMP_CMP_LT" => family < value,
                    "SCMP_CMP_EQ" => family == value,
                    "SCMP_CMP_GT" => family > value,
                    other => panic!("{other}"),
                }
            })
        };
        let refused: Vec<_> = (0..50).filter(|family| !matches(*family)).collect();
        assert_eq!(refused, [38, 40], "AF_ALG and AF_VSOCK");
    }

    #[test]
    fn capabilities_open_what_they_are_for() {
        let none = allowed(&[]);
        for (capability, names) in BY_CAPABILITY {
            let with = allowed(&[capability]);
            let added: BTreeSet<_> = with.difference(&none).cloned().collect();
            let expected: BTreeSet<_> = names
                .split_ascii_whitespace()
                .map(str::to_owned)
                .filter(|n| !none.contains(n))
                .collect();
            assert_eq!(added, expected, "{capability}");
        }
    }

    #[test]
    fn clone_makes_no_namespaces_without_sys_admin() {
        let of = |capabilities: &[Capability], name: &str| -> Vec<Value> {
            let rules = rules(capabilities, (6, 1));
            rules
                .into_iter()
                .filter(|r| r["names"].as_array().unwrap().contains(&json!(name)))
                .collect()
        };
        assert_eq!(
            of(&[], "clone"),
            [json!({
                "names": ["clone"], "action": "SCMP_ACT_ALLOW",
                "args": [{ "index": 0, "value": 0x7e02_0000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }],
            })]
        );
        let refused = json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 });
        assert_eq!(of(&[], "clone3"), [refused]);
        for name in ["clone", "clone3"] {
            let rules = of(&[Capability::SysAdmin], name);
            assert_eq!(rules.len(), 1);
            assert_eq!(rules[0].get("args"), None);
        }
    }

    #[test]
    fn the_table_is_in_order_and_free_of_doubles() {
        let names: Vec<_> = ALWAYS
            .split_ascii_whitespace()
            .map(|n| n.trim_start_matches('_'))
            .collect();
        assert!(names.is_sorted_by(|a, b| a < b));
        assert_eq!(names.len(), 363);
    }
}
