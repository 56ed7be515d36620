//! Cgroups as a container sees them, and what they limit, measure and tell.

mod harness;

use containerd_shim_protos::api::*;
use containerd_shim_protos::events::task::*;
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use harness::*;
use serde_json::{Value, json};
use ttrpc::Code;

#[test]
fn the_container_sees_its_own_cgroup() {
    let mut shim = Shim::start();
    let mut spec = config(&[
        "sh",
        "-c",
        "cat /proc/self/cgroup; ls /sys/fs/cgroup; cat /sys/fs/cgroup/pids/cgroup.procs",
    ]);
    push(
        &mut spec,
        json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }),
    );
    spec["linux"]["namespaces"]
        .as_array_mut()
        .expect("a list")
        .push(json!({ "type": "cgroup" }));
    let (status, text) = shim.run_container("c1", spec);
    assert_eq!(status, 0, "{text}");
    assert!(
        text.lines()
            .filter(|line| line.contains(':'))
            .all(|line| line.ends_with(":/")),
        "{text}"
    );
    assert!(text.contains("pids\n"), "{text}");
}

#[test]
fn the_machines_cgroups_can_be_bound() {
    let mut shim = Shim::start();
    let mut spec = config(&[
        "sh",
        "-c",
        "ls /host-cgroup /host-sys/fs/cgroup; touch /host-cgroup/x || echo ro",
    ]);
    push(
        &mut spec,
        json!({ "destination": "/host-cgroup", "type": "bind", "source": "/sys/fs/cgroup",
        "options": ["rbind", "ro"] }),
    );
    push(
        &mut spec,
        json!({ "destination": "/host-sys", "type": "bind", "source": "/sys", "options": ["rbind", "ro"] }),
    );
    let (status, text) = shim.run_container("c1", spec);
    assert_eq!(status, 0, "{text}");
    for entry in std::fs::read_dir("/sys/fs/cgroup").expect("mounted") {
        let name = entry
            .expect("listed")
            .file_name()
            .into_string()
            .expect("text");
        assert_eq!(
            text.lines().filter(|line| **line == name).count(),
            2,
            "{name}: {text}"
        );
    }
    assert!(text.contains("ro\n"), "{text}");
    assert!(shim.cgroups().is_empty());
}

#[test]
fn limits_are_set_and_changed() {
    let mut shim = Shim::start();
    let mut spec = config(&["sleep", "1000"]);
    spec["linux"]["resources"] = json!({ "pids": { "limit": 50 } });
    shim.create("c1", spec).expect("created");
    shim.start_container("c1").expect("started");
    let limit = |shim: &Shim| {
        let files: Vec<String> = shim
            .cgroups()
            .iter()
            .filter_map(|dir| std::fs::read_to_string(dir.join("pids.max")).ok())
            .collect();
        files.concat().trim().to_owned()
    };
    assert_eq!(limit(&shim), "50");
    let request = |value: Value| UpdateTaskRequest {
        id: "c1".into(),
        resources: MessageField::some(Any {
            value: value.to_string().into_bytes(),
            ..Any::default()
        }),
        ..UpdateTaskRequest::default()
    };
    shim.client
        .update(context(), &request(json!({ "pids": { "limit": 70 } })))
        .expect("updated");
    assert_eq!(limit(&shim), "70");
    assert_eq!(
        refused(shim.client.update(context(), &request(json!("x")))).0,
        Code::INVALID_ARGUMENT
    );
    let stats = StatsRequest {
        id: "c1".into(),
        ..Default::default()
    };
    let stats = shim
        .client
        .stats(context(), &stats)
        .expect("read")
        .stats
        .unwrap_or_default();
    assert!(
        stats.type_url.starts_with("io.containerd.cgroups.v"),
        "{}",
        stats.type_url
    );
    assert!(!stats.value.is_empty());
}

#[test]
fn f14_lack_of_memory_is_told_before_the_exit() {
    let mut shim = Shim::start();
    let mut spec = config(&[
        "sh",
        "-c",
        "x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo $x | wc -c",
    ]);
    spec["linux"]["resources"] = json!({ "memory": { "limit": 16 << 20, "swap": 16 << 20 } });
    shim.create("c1", spec).expect("created");
    shim.start_container("c1").expect("started");
    let status = shim.wait("c1", "").expect("ended").exit_status;
    assert_ne!(status, 0);
    shim.delete("c1", "").expect("deleted");
    shim.events.wait_for::<TaskDelete>("/tasks/delete", 1);
    let topics = shim.events.topics();
    let at = |topic: &str| topics.iter().position(|seen| seen == topic);
    assert!(
        at("/tasks/oom").expect("it is told") < at("/tasks/exit").expect("it ended"),
        "{topics:?}"
    );
}

#[test]
fn trap_7_a_container_that_made_cgroups_can_be_deleted() {
    let mut shim = Shim::start();
    let mut spec = config(&[
        "sh",
        "-c",
        "mkdir -p /sys/fs/cgroup/*/a/b; ls -d /sys/fs/cgroup/*/a/b",
    ]);
    push(
        &mut spec,
        json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", "rw"] }),
    );
    spec["mounts"][3]["options"] = json!(["nosuid", "noexec", "nodev"]);
    let (_, text) = shim.run_container("c1", spec);
    assert!(text.contains("/a/b"), "{text}");
    assert!(shim.cgroups().is_empty(), "{:?}", shim.cgroups());
}
