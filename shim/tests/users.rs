//! User namespaces, and what a spec can't have here.

mod harness;

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

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
    let mut idmap = config(&["true"]);
    push(
        &mut idmap,
        json!({ "destination": "/data", "type": "bind", "source": "/tmp", "options": ["rbind", "idmap"] }),
    );
    let mut label = config(&["true"]);
    label["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0");
    let mut notify = config(&["true"]);
    notify["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }] });
    for (id, spec, wanted) in [
        ("c1", idmap, "can't be id-mapped: it has no mappings"),
        ("c2", label, "SELinux labels are not supported"),
        ("c3", notify, "SCMP_ACT_NOTIFY is not supported"),
    ] {
        let (code, why) = refused(shim.create(id, spec));
        assert!(why.contains(wanted), "{why}");
        assert_ne!(code, Code::NOT_FOUND);
    }
    assert!(shim.cgroups().is_empty());
}

#[test]
fn id_mapped_mounts_show_files_as_the_containers_own() {
    let mut shim = shim();
    // Where the container's root may not go by itself.
    let closed = shim.dir.path().join("closed");
    std::fs::create_dir(&closed).expect("made");
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&closed, mode).expect("set");
    let volume = closed.join("volume");
    std::fs::create_dir(&volume).expect("made");
    chown(&volume, Some(7), Some(8)).expect("given");
    std::fs::write(volume.join("file"), "").expect("written");
    let file = volume.join("file");
    // Owners as they are on the disk: 0 and 7 are the container's root and its user 7.
    let own = json!([{ "containerID": 0, "hostID": FIRST, "size": 65536 }]);
    // One user alone, shown as another.
    let one = json!([{ "containerID": 7, "hostID": FIRST + 9, "size": 1 }]);
    let group = json!([{ "containerID": 8, "hostID": FIRST + 10, "size": 1 }]);
    let script = "stat -c %u:%g /plain /own /one /given /own/file /file; touch /own/new";
    let mut spec = mapped(&["sh", "-c", script]);
    for (at, from, more) in [
        ("/plain", &volume, json!({ "options": ["rbind"] })),
        ("/own", &volume, json!({ "options": ["rbind", "idmap"] })),
        (
            "/one",
            &volume,
            json!({ "options": ["bind"], "uidMappings": one, "gidMappings": group }),
        ),
        (
            "/given",
            &volume,
            json!({ "options": ["rbind", "ro", "ridmap"], "uidMappings": own, "gidMappings": own }),
        ),
        ("/file", &file, json!({ "options": ["bind", "idmap"] })),
    ] {
        let mut mount = more;
        mount["destination"] = json!(at);
        mount["source"] = json!(from);
        mount["type"] = json!("bind");
        push(&mut spec, mount);
    }
    let (status, text) = run_in_mapped_root(&mut shim, spec);
    let lines: Vec<_> = text.lines().collect();
    let wanted = ["65534:65534", "7:8", "9:10", "7:8", "0:0", "0:0"];
    assert_eq!((status, &lines[..]), (0, &wanted[..]), "{text}");
    // What it makes there belongs to the machine's user that its root stands for.
    let new = std::fs::metadata(volume.join("new")).expect("made through the map");
    assert_eq!((new.uid(), new.gid()), (0, 0));
}

#[test]
fn a_root_file_system_is_mapped_as_its_snapshotter_says() {
    let mut shim = shim();
    let script = "stat -c %u:%g /bin /bin/sh; touch /new";
    let (status, text) = run_in_mapped_root(&mut shim, mapped(&["sh", "-c", script]));
    assert_eq!((status, &*text), (0, "0:0\n0:0\n"));
    let new = std::fs::metadata(shim.dir.path().join("c1/upper/new")).expect("made");
    assert_eq!(new.uid(), FIRST);
}

/// Runs `c1` to its end, with a root file system that containerd's snapshotter has mapped: (exit status, output).
fn run_in_mapped_root(shim: &mut Shim, spec: Value) -> (u32, String) {
    let bundle = shim.bundle("c1", spec);
    let mut request = shim.request("c1", &bundle);
    for directory in ["upper", "work"] {
        chown(bundle.join(directory), Some(FIRST), Some(FIRST)).expect("given");
    }
    let mapping = format!("0:{FIRST}:65536");
    let options = [format!("uidmap={mapping}"), format!("gidmap={mapping}")];
    request.rootfs[0].options.extend(options);
    let output = bundle.join("output");
    request.stdout = format!("file://{}", output.display());
    request.stderr = request.stdout.clone();
    shim.client.create(context(), &request).expect("created");
    shim.start_container("c1").expect("started");
    let status = shim.wait("c1", "").expect("ended").exit_status;
    shim.delete("c1", "").expect("deleted");
    (status, std::fs::read_to_string(output).expect("read"))
}
