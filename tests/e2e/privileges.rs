//! What a container may do: capabilities, privileges, seccomp, `/proc` and devices.

use carob_tests::{Home, pod, shell, with};
use serde_json::{Value, json};

/// The 14 that containerd and docker give.
const DEFAULT: &str = "00000000a80425fb";
const NONE: &str = "0000000000000000";

fn lines(home: &Home, script: &str, security: Value) -> Vec<String> {
    let main = with(shell("main", script), json!({"securityContext": security}));
    let run = home.run(&pod("rights", json!({"containers": [main]})));
    run.expect(0).lines_of("main")
}

/// The fields of `/proc/self/status` that are about privileges.
fn status(home: &Home, security: Value) -> impl Fn(&str) -> String {
    let lines = lines(home, "cat /proc/self/status", security);
    move |key| {
        let line = lines
            .iter()
            .find_map(|l| l.strip_prefix(&format!("{key}:\t")));
        line.unwrap_or_else(|| panic!("no {key} in {lines:?}"))
            .to_owned()
    }
}

#[test]
fn c8_capabilities_are_the_default_ones_and_none_is_inheritable() {
    let home = Home::new();
    let of = status(&home, json!({}));
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(of(set), DEFAULT, "{set}");
    }
    assert_eq!((of("CapInh").as_str(), of("CapAmb").as_str()), (NONE, NONE));
    assert_eq!(of("NoNewPrivs"), "0");
}

#[test]
fn capabilities_are_dropped_and_added() {
    let home = Home::new();
    let of = status(
        &home,
        json!({"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}),
    );
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(of(set), "0000000000000400", "{set}");
    }
    let of = status(
        &home,
        json!({"capabilities": {"drop": ["chown", "NET_RAW"], "add": ["SYS_TIME"]}}),
    );
    assert_eq!(of("CapEff"), "00000000aa0405fa");
    assert_eq!(of("CapInh"), NONE);
}

#[test]
fn users_other_than_root_have_none_in_effect() {
    let home = Home::new();
    let of = status(&home, json!({"runAsUser": 1234}));
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(of(set), NONE, "{set}");
    }
    assert_eq!(of("CapBnd"), DEFAULT);
}

#[test]
fn privilege_escalation_can_be_ruled_out() {
    let home = Home::new();
    let of = status(&home, json!({"allowPrivilegeEscalation": false}));
    assert_eq!(of("NoNewPrivs"), "1");
}

#[test]
fn c35_the_default_seccomp_profile_filters_and_none_does_not() {
    let home = Home::new();
    let profile = |kind: &str| json!({"seccompProfile": {"type": kind}});
    // A user namespace needs no capability but CAP_SYS_ADMIN is what the profile asks for.
    let script = "grep ^Seccomp: /proc/self/status; unshare -U true 2>/dev/null && echo made || echo refused";
    assert_eq!(
        lines(&home, script, profile("RuntimeDefault")),
        ["Seccomp:\t2", "refused"]
    );
    assert_eq!(
        lines(&home, script, profile("Unconfined")),
        ["Seccomp:\t0", "made"]
    );
    // As with a kubelet whose seccompDefault is off.
    assert_eq!(lines(&home, script, json!({})), ["Seccomp:\t0", "made"]);
}

#[test]
fn a_pods_seccomp_profile_is_its_containers() {
    let home = Home::new();
    let spec = json!({
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            shell("inherits", "grep ^Seccomp: /proc/self/status"),
            with(
                shell("overrides", "grep ^Seccomp: /proc/self/status"),
                json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
            ),
        ],
    });
    let run = home.run(&pod("seccomp", spec)).expect(0);
    assert_eq!(run.lines_of("inherits"), ["Seccomp:\t2"]);
    assert_eq!(run.lines_of("overrides"), ["Seccomp:\t0"]);
}

#[test]
fn a_privileged_container_has_all_that_the_machine_gives() {
    let home = Home::new();
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let bounding = own
        .lines()
        .find_map(|l| l.strip_prefix("CapBnd:\t"))
        .unwrap();
    let of = status(&home, json!({"privileged": true}));
    assert_eq!(of("CapEff"), bounding);
    assert_eq!(of("CapInh"), NONE);
    assert_eq!(of("Seccomp"), "0");
    let script = "mount -t tmpfs none /mnt && echo mounts; \
                  [ -w /proc/sys/kernel/shmmax ] && echo writes; ls /dev | grep -x -e loop-control -e kmsg | wc -l; \
                  mkdir -p /mnt";
    let script = format!("mkdir -p /mnt; {script}");
    let found = lines(&home, &script, json!({"privileged": true}));
    assert_eq!(found[..2], ["mounts", "writes"]);
    assert_ne!(found[2], "0", "the machine's devices are there");
}

#[test]
fn others_may_not_mount_nor_reach_devices() {
    let home = Home::new();
    let script = "mkdir /m; mount -t tmpfs none /m 2>/dev/null || echo no mount; \
                  mknod /disk b 254 0 && { cat /disk 2>&1 >/dev/null | sed 's/.*: //'; }; \
                  cat /dev/null && head -c 4 /dev/zero | wc -c";
    assert_eq!(
        lines(&home, script, json!({})),
        ["no mount", "Operation not permitted", "4"]
    );
}

#[test]
fn devices_are_the_usual_ones() {
    let home = Home::new();
    // Some runtimes add core, where the kernel has /proc/kcore.
    let found = lines(&home, "ls /dev | grep -vx core", json!({}));
    assert_eq!(
        found.join(" "),
        "fd full mqueue null ptmx pts random shm stderr stdin stdout termination-log tty urandom zero"
    );
}

#[test]
fn proc_is_masked_unless_told_otherwise() {
    let home = Home::new();
    let script = "head -c1 /proc/timer_list 2>/dev/null | wc -c; \
                  ls /proc/acpi /proc/scsi 2>/dev/null | grep -v : | wc -w; \
                  try() { echo $1 2>/dev/null >$2 && echo written || echo refused; }; \
                  try 0 /proc/sys/kernel/shm_rmid_forced; try 1 /proc/sysrq-trigger; \
                  grep ' /sys ' /proc/mounts | grep -o ' ro,'";
    let found = lines(&home, script, json!({}));
    assert_eq!(found, ["0", "0", "refused", "refused", " ro,"]);
    let script = "echo 0 >/proc/sys/kernel/shm_rmid_forced && echo written";
    assert_eq!(
        lines(&home, script, json!({"procMount": "Unmasked"})),
        ["written"]
    );
}

#[test]
fn a_read_only_root_can_be_written_nowhere_but_in_volumes() {
    let home = Home::new();
    let script = "for d in / /etc /tmp /bin /var/log; do touch $d/x 2>/dev/null && echo $d; done; \
                  touch /dev/shm/x && echo shm; echo m >/dev/termination-log && echo log";
    let found = lines(&home, script, json!({"readOnlyRootFilesystem": true}));
    assert_eq!(found, ["shm", "log"]);
}

#[test]
fn writes_stay_in_the_container() {
    let home = Home::new();
    let script = "[ ! -e /bin/planted ] && touch /bin/planted && rm /bin/ls && echo fresh";
    let spec = json!({"containers": [shell("a", script), shell("b", script)]});
    let run = home.run(&pod("layers", spec.clone())).expect(0);
    assert_eq!(
        (run.lines_of("a"), run.lines_of("b")),
        (vec!["fresh".into()], vec!["fresh".into()])
    );
    // Nor are they in the image.
    home.run(&pod("layers", spec)).expect(0);
}

#[test]
fn safe_sysctls_are_set_for_the_pod() {
    let home = Home::new();
    let spec = json!({
        "securityContext": {"sysctls": [
            {"name": "net.ipv4.ip_unprivileged_port_start", "value": "80"},
            {"name": "kernel.shm_rmid_forced", "value": "1"},
        ]},
        "containers": [shell("main", "cd /proc/sys; cat net/ipv4/ip_unprivileged_port_start kernel/shm_rmid_forced")],
    });
    let host = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    let before = host();
    assert_eq!(
        home.run(&pod("sysctl", spec)).expect(0).lines_of("main"),
        ["80", "1"]
    );
    assert_eq!(host(), before);
}
