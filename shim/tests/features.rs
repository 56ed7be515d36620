//! What a spec may ask for beyond a program: hooks, users, signals, mounts that arrive later.

mod harness;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use containerd_shim_protos::events::task::*;
use harness::*;
use serde_json::{Value, json};

fn script(shim: &Shim, name: &str, text: &str) -> PathBuf {
    let path = shim.dir.path().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}")).expect("written");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("set");
    path
}

#[test]
fn trap_11_hooks_run_at_their_moments_in_the_machines_namespace() {
    let mut shim = Shim::start();
    let log = shim.dir.path().join("log");
    let hook = script(
        &shim,
        "hook",
        &format!(
            "state=$(cat)\necho \"$1 $K $(readlink /proc/self/ns/mnt) $(ls /sys/fs/cgroup | wc -l) \
             $(pwd) $state\" >> {}\n[ $1 != poststop ]",
            log.display()
        ),
    );
    let one = |name: &str| json!([{ "path": hook, "args": ["hook", name], "env": ["K=V", "PATH=/bin:/usr/bin"] }]);
    let mut spec = config(&["sh", "-c", "cat /hooked; sleep 1000"]);
    spec["hooks"] = json!({
        "createRuntime": one("createRuntime"), "poststart": one("poststart"), "poststop": one("poststop"),
        "startContainer": [{ "path": "/bin/touch", "args": ["touch", "/hooked"] }],
    });
    let output = shim.create_with_output("c1", spec).expect("created");
    let pid = shim.start_container("c1").expect("started").pid;
    shim.kill("c1", "", 9, false).expect("killed");
    shim.wait("c1", "").expect("ended");
    assert_eq!(
        std::fs::read_to_string(output).expect("read"),
        "",
        "startContainer made /hooked"
    );
    shim.delete("c1", "")
        .expect("a failing poststop hook is only told");
    let text = std::fs::read_to_string(log).expect("hooks have run");
    let machine = std::fs::read_link("/proc/self/ns/mnt")
        .expect("readable")
        .display()
        .to_string();
    let cgroups = std::fs::read_dir("/sys/fs/cgroup")
        .expect("mounted")
        .count()
        .to_string();
    let bundle = shim.dir.path().join("c1").display().to_string();
    let mut statuses = Vec::new();
    for (line, moment) in text.lines().zip(["createRuntime", "poststart", "poststop"]) {
        let fields: Vec<&str> = line.splitn(6, ' ').map(str::trim).collect();
        assert_eq!(
            fields[..5],
            [moment, "V", &machine, &cgroups, &bundle],
            "{line}"
        );
        let state: Value = serde_json::from_str(fields[5]).expect("an OCI state");
        assert_eq!(
            (&state["id"], &state["pid"], &state["bundle"]),
            (&json!("c1"), &json!(pid), &json!(bundle))
        );
        statuses.push(state["status"].as_str().expect("text").to_owned());
    }
    assert_eq!(statuses, ["creating", "running", "stopped"]);
    wait_until("all is reaped", || shim.children().is_empty());
}

#[test]
fn a_hook_that_fails_fails_the_create() {
    let mut shim = Shim::start();
    let hook = script(&shim, "hook", "exit 9\n");
    let mut spec = config(&["true"]);
    spec["hooks"] = json!({ "createRuntime": [{ "path": hook }] });
    let why = refused(shim.create("c1", spec)).1;
    assert!(why.contains("hook") && why.contains('9'), "{why}");
    assert!(shim.cgroups().is_empty());
    wait_until("all is reaped", || shim.children().is_empty());
}

#[test]
fn users_groups_and_environment_are_the_specs() {
    let mut shim = Shim::start();
    let mut spec = config(&[
        "sh",
        "-c",
        "id -u; id -g; id -G; env | grep -v SHLVL; pwd; grep Cap /proc/self/status",
    ]);
    spec["process"]["user"] = json!({ "uid": 1234, "gid": 55, "additionalGids": [7, 8] });
    spec["process"]["env"] = json!(["PATH=/bin", "A=1", "B=x=y", "broken"]);
    spec["process"]["cwd"] = json!("/made/for/it");
    spec["process"]["capabilities"] = json!({});
    let (status, text) = shim.run_container("c1", spec);
    assert_eq!(status, 0, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["1234", "55", "55 7 8"]);
    for wanted in ["A=1", "B=x=y", "PATH=/bin", "/made/for/it"] {
        assert!(lines.contains(&wanted), "{wanted}: {text}");
    }
    assert!(
        !text.contains("broken") && !text.contains("TTRPC"),
        "{text}"
    );
    for line in lines.iter().filter(|line| line.starts_with("Cap")) {
        assert!(line.ends_with("0000000000000000"), "{line}");
    }
}

#[test]
fn trap_5_signals_are_as_for_any_program() {
    let mut shim = Shim::start();
    let (_, text) = shim.run_container(
        "c1",
        config(&["grep", "-E", "Sig(Blk|Ign|Cgt)", "/proc/self/status"]),
    );
    for name in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"] {
        assert!(text.contains(name), "{text}");
    }
    // `yes` dies of SIGPIPE, and so the shell sees 128 + 13.
    let (_, text) = shim.run_container("c2", config(&["sh", "-c", "(yes; echo $? >&2) | head -1"]));
    assert!(text.contains("141"), "{text}");
}

#[test]
fn trap_8_a_program_for_its_group_and_a_spec_without_path() {
    let mut shim = Shim::start();
    let program = shim.dir.path().join("base/bin/busybox-own");
    std::fs::copy("/bin/busybox", &program).expect("copied");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o750)).expect("set");
    let mut spec = config(&["/bin/busybox-own", "true"]);
    spec["process"]["env"] = json!([]);
    assert_eq!(shim.run_container("c1", spec).0, 0);
}

#[test]
fn trap_3_and_4_the_shim_itself_is_unchanged() {
    let mut shim = Shim::start();
    let look = |shim: &Shim| {
        let read = |name: &str| {
            std::fs::read_to_string(format!("/proc/{}/{name}", shim.pid)).expect("runs")
        };
        let cwd = std::fs::read_link(format!("/proc/{}/cwd", shim.pid)).expect("runs");
        (
            read("oom_score_adj"),
            cwd,
            shim.descriptors(),
            shim.children().len(),
        )
    };
    // The first container opens what stays open: the connection for events.
    shim.run_container("c0", config(&["true"]));
    shim.events.wait_for::<TaskDelete>("/tasks/delete", 1);
    let before = look(&shim);
    let mut spec = config(&["true"]);
    spec["process"]["oomScoreAdj"] = json!(500);
    shim.run_container("c1", spec);
    for round in 0..20 {
        let mut spec = config(&["nosuch"]);
        spec["process"]["oomScoreAdj"] = json!(500);
        refused(shim.create(&format!("f{round}"), spec));
    }
    wait_until("failed creates leave nothing", || look(&shim) == before);
}

#[test]
fn c1_the_shims_program_can_not_be_reached_for_writing() {
    let mut shim = Shim::start();
    let why = refused(shim.create("c1", config(&["/proc/self/exe"]))).1;
    assert!(why.contains("exec"), "{why}");
    // In the machine's PID namespace, with all of its capabilities.
    let open = format!("echo > /proc/{}/exe || echo refused", shim.pid);
    let mut spec = config(&["sh", "-c", &open]);
    spec["linux"]["namespaces"]
        .as_array_mut()
        .expect("a list")
        .retain(|each| each["type"] != "pid");
    let all = json!([
        "CAP_SYS_ADMIN",
        "CAP_SYS_PTRACE",
        "CAP_DAC_OVERRIDE",
        "CAP_DAC_READ_SEARCH"
    ]);
    spec["process"]["capabilities"] =
        json!({ "bounding": all, "effective": all, "permitted": all });
    let (_, text) = shim.run_container("c2", spec);
    assert!(text.contains("refused"), "{text}");
    let exe = std::fs::read(format!("/proc/{}/exe", shim.pid)).expect("readable");
    assert!(exe == std::fs::read(program()).expect("readable"));
}

#[test]
fn mounts_that_the_machine_makes_later_arrive() {
    // Kubernetes' HostToContainer; the other way round nothing leaves.
    let mut shim = Shim::start();
    let shared = shim.dir.path().join("shared");
    std::fs::create_dir(&shared).expect("made");
    let mount = |args: &[&str]| {
        assert!(
            std::process::Command::new("mount")
                .args(args)
                .status()
                .expect("runs")
                .success()
        )
    };
    let path = shared.to_str().expect("text").to_owned();
    mount(&["-t", "tmpfs", "t", &path]);
    mount(&["--make-shared", &path]);
    std::fs::create_dir(shared.join("late")).expect("made");
    let mut spec = config(&[
        "sh",
        "-c",
        "until test -e /data/late/file; do usleep 2000; done; mount -t tmpfs x /data; echo $?",
    ]);
    push(
        &mut spec,
        json!({ "destination": "/data", "type": "bind", "source": path, "options": ["rbind", "rslave"] }),
    );
    let admin = json!(["CAP_SYS_ADMIN"]);
    spec["process"]["capabilities"] =
        json!({ "bounding": admin, "effective": admin, "permitted": admin });
    let output = shim.create_with_output("c1", spec).expect("created");
    shim.start_container("c1").expect("started");
    let late = format!("{path}/late");
    mount(&["-t", "tmpfs", "t", &late]);
    std::fs::write(format!("{late}/file"), "").expect("written");
    let ended = shim.wait("c1", "");
    let left = host_mounts()
        .keys()
        .filter(|point| point.starts_with(&path))
        .count();
    for point in [&late, &path] {
        assert!(
            std::process::Command::new("umount")
                .arg(point)
                .status()
                .expect("runs")
                .success()
        );
    }
    assert_eq!(ended.expect("ended").exit_status, 0);
    assert_eq!(std::fs::read_to_string(output).expect("read"), "0\n");
    assert_eq!(left, 2);
}
