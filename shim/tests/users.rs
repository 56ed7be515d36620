//! User namespaces, and what a spec can't have here.

mod harness;

use std::os::unix::fs::PermissionsExt;

use harness::*;
use serde_json::{Value, json};
use ttrpc::Code;

/// Root of the container is this user of the machine.
const FIRST: u32 = 100_000;

/// A spec with a user namespace, as containerd makes it.
fn mapped(args: &[&str]) -> Value {
    let mut spec = config(args);
    let mapping = json!([{ "containerID": 0, "hostID": FIRST, "size": 65536 }]);
    spec["linux"]["uidMappings"] = mapping.clone();
    spec["linux"]["gidMappings"] = mapping;
    let namespaces = spec["linux"]["namespaces"].as_array_mut().expect("a list");
    namespaces.extend([json!({ "type": "user" }), json!({ "type": "cgroup" })]);
    push(
        &mut spec,
        json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }),
    );
    spec
}

/// A shim whose directory the container's root may pass through, as containerd's are.
fn shim() -> Shim {
    let shim = Shim::start();
    let mode = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(shim.dir.path(), mode).expect("set");
    shim
}

#[test]
fn a_user_namespace_with_init_and_exec() {
    let mut shim = shim();
    let script = "id -u; cat /proc/self/uid_map; ls -d /sys/fs/cgroup/pids; echo x >/dev/null && echo null; \
                  touch /dev/shm-file && echo dev; touch /etc/file || echo refused; sleep 1000";
    let output = shim
        .create_with_output("c1", mapped(&["sh", "-c", script]))
        .expect("created");
    let pid = shim.start_container("c1").expect("started").pid;
    let process = json!({ "args": ["sh", "-c", "id -u; cat /proc/self/uid_map"], "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } });
    let (status, text) = shim.run_exec("c1", "e1", &process);
    let map: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(
        (status, map),
        (0, vec!["0", "0", "100000", "65536"]),
        "{text}"
    );
    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::metadata(format!("/proc/{pid}"))
        .expect("it runs")
        .uid();
    assert_eq!(owner, FIRST);
    let text = || std::fs::read_to_string(&output).unwrap_or_default();
    wait_until("all is written", || text().contains("refused"));
    let text = text();
    for wanted in [
        "0\n",
        "100000",
        "/sys/fs/cgroup",
        "null\n",
        "dev\n",
        "refused",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    shim.kill("c1", "", 9, false).expect("killed");
    shim.wait("c1", "").expect("ended");
    shim.delete("c1", "").expect("deleted");
    assert!(shim.cgroups().is_empty());
}

#[test]
fn trap_14_what_libcontainer_lacks_is_refused_by_name() {
    let mut shim = shim();
    let mapping = json!([{ "containerID": 0, "hostID": FIRST, "size": 65536 }]);
    let mut idmap = mapped(&["true"]);
    push(
        &mut idmap,
        json!({ "destination": "/data", "type": "bind", "source": "/tmp", "options": ["rbind", "idmap"],
        "uidMappings": mapping, "gidMappings": mapping }),
    );
    let mut label = config(&["true"]);
    label["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0");
    let mut notify = config(&["true"]);
    notify["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }] });
    for (id, spec, wanted) in [
        ("c1", idmap, "id-mapped mounts are not supported"),
        ("c2", label, "SELinux labels are not supported"),
        ("c3", notify, "SCMP_ACT_NOTIFY is not supported"),
    ] {
        let (code, why) = refused(shim.create(id, spec));
        assert!(why.contains(wanted), "{why}");
        assert_ne!(code, Code::NOT_FOUND);
    }
    assert!(shim.cgroups().is_empty());
}
