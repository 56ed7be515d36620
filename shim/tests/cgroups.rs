//! Cgroups as a container sees them, and what they limit, measure and tell.

mod harness;

use containerd_shim_protos::api::*;
use containerd_shim_protos::cgroups::metrics::Metrics as MetricsV1;
use containerd_shim_protos::cgroups_v2::metrics::Metrics as MetricsV2;
use containerd_shim_protos::events::task::*;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{Message, MessageField};
use harness::*;
use serde_json::{Value, json};
use ttrpc::Code;

#[test]
fn the_container_sees_its_own_cgroup() {
    let mut shim = Shim::start();
    let mut spec = config(&[
        "sh",
        "-c",
        "cat /proc/self/cgroup; cd /sys/fs/cgroup; test -d pids && cd pids; echo procs; cat cgroup.procs",
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
    // Its init is 1 there, and only its own processes are.
    assert!(text.contains("procs\n1\n"), "{text}");
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
    let pids = match stats.type_url.as_str() {
        "io.containerd.cgroups.v1.Metrics" => {
            let metrics = MetricsV1::parse_from_bytes(&stats.value).expect("decodes");
            assert!(metrics.memory.usage.usage > 0 && metrics.cpu.usage.total > 0);
            (metrics.pids.current, metrics.pids.limit)
        }
        "io.containerd.cgroups.v2.Metrics" => {
            let metrics = MetricsV2::parse_from_bytes(&stats.value).expect("decodes");
            assert!(metrics.memory.usage > 0 && metrics.cpu.usage_usec > 0);
            (metrics.pids.current, metrics.pids.limit)
        }
        other => panic!("containerd doesn't know {other}"),
    };
    assert_eq!(pids, (1, 70));
}

#[test]
fn b48_limits_that_can_not_be() {
    let mut shim = Shim::start();
    shim.create("c1", config(&["sleep", "1000"]))
        .expect("created");
    shim.start_container("c1").expect("started");
    let update = |shim: &Shim, resources: &str| {
        let request = UpdateTaskRequest {
            id: "c1".into(),
            resources: MessageField::some(Any {
                value: resources.into(),
                ..Any::default()
            }),
            ..UpdateTaskRequest::default()
        };
        refused(shim.client.update(context(), &request))
    };
    for resources in [
        "",
        "null",
        r#"{"memory":{"limit":-5}}"#,
        r#"{"cpu":{"shares":-1}}"#,
        r#"{"cpu":{"quota":-7}}"#,
        r#"{"pids":{"limit":"many"}}"#,
        r#"{"unified":{"../x":"1"}}"#,
    ] {
        let (code, why) = update(&shim, resources);
        assert_eq!(code, Code::INVALID_ARGUMENT, "{resources}: {why}");
    }
    shim.kill("c1", "", 9, false).expect("killed");
    shim.wait("c1", "").expect("ended");
    assert_eq!(update(&shim, "{}").0, Code::NOT_FOUND);
}

/// Takes 100 MB at once.
const HOG: &str = "dd if=/dev/zero of=/dev/null bs=100M count=1 2>/dev/null";

/// A container of 16 MiB that runs `args`.
fn with_little_memory(args: &[&str]) -> Value {
    let mut spec = config(args);
    spec["linux"]["resources"] = json!({ "memory": { "limit": 16 << 20, "swap": 16 << 20 } });
    spec
}

/// Asserts that lack of memory was told of before the exit of process `id` of container `c1`.
fn told_before_exit_of(shim: &Shim, id: &str) {
    let topics = shim.events.by_container().remove("c1").expect("its events");
    let at = |topic: &str| topics.iter().position(|seen| seen == topic);
    let exit = at(&format!("/tasks/exit {id}")).expect("it ended");
    assert!(at("/tasks/oom").expect("it is told") < exit, "{topics:?}");
}

#[test]
fn f14_init_itself_lacks_memory() {
    let mut shim = Shim::start();
    let args: Vec<&str> = HOG.split(' ').take(5).collect();
    assert_eq!(shim.run_container("c1", with_little_memory(&args)).0, 137);
    shim.events.wait_for::<TaskDelete>("/tasks/delete", 1);
    told_before_exit_of(&shim, "c1");
}

#[test]
fn f14_a_child_lacks_memory() {
    let mut shim = Shim::start();
    let script = format!("{HOG}; echo $?; exit 7");
    let ended = shim.run_container("c1", with_little_memory(&["sh", "-c", &script]));
    assert_eq!(ended, (7, "137\n".to_owned()));
    shim.events.wait_for::<TaskDelete>("/tasks/delete", 1);
    told_before_exit_of(&shim, "c1");
}

#[test]
fn f14_an_exec_lacks_memory_and_its_container_survives() {
    let mut shim = Shim::start();
    shim.create("c1", with_little_memory(&["sleep", "1000"]))
        .expect("created");
    shim.start_container("c1").expect("started");
    let process = json!({ "args": ["sh", "-c", format!("exec {HOG}")], "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } });
    assert_eq!(shim.run_exec("c1", "e1", &process).0, 137);
    shim.events.wait_for::<TaskExit>("/tasks/exit", 1);
    told_before_exit_of(&shim, "e1");
    // 2 is running.
    assert_eq!(shim.state("c1", "").expect("known").status.value(), 2);
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
