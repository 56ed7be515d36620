//! A shim that is killed, in whatever state: `delete` cleans up, and a container can start at once.

mod harness;

use containerd_shim_protos::api::*;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim_sync::TaskClient;
use harness::*;
use serde_json::json;

/// Kills a process and waits until it is dead.
fn kill(pid: i32, signal: i32) {
    // SAFETY: sends a signal to a process of the test's own.
    unsafe { libc::kill(pid, signal) };
    wait_until("it is dead", || is_dead(pid));
}

fn is_dead(pid: i32) -> bool {
    process_state(pid).is_none_or(|state| state == 'Z')
}

/// The children of a process.
fn children_of(pid: i32) -> Vec<i32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// All that descends from the shim.
fn descendants(pid: i32) -> Vec<i32> {
    let mut found = children_of(pid);
    let mut at = 0;
    while let Some(&next) = found.get(at) {
        found.extend(children_of(next));
        at += 1;
    }
    found
}

/// Runs `delete` for each container, as containerd does when the connection to a shim breaks.
fn clean_up(shim: &Shim, ids: &[&str]) {
    for id in ids {
        let bundle = shim.dir.path().join(id);
        let output = run(&bundle, "", &delete_args(&shim.namespace, id));
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{id}: {why}");
        let response = DeleteResponse::parse_from_bytes(&output.stdout).expect("an answer");
        assert_eq!(response.exit_status, 137);
        assert!(response.exited_at.is_some());
    }
}

/// Asserts that nothing is left of the shim and the processes, and starts the container anew.
#[track_caller]
fn all_is_gone(shim: &mut Shim, processes: &[i32]) {
    let socket = shim.address.trim_start_matches("unix://");
    assert!(!std::path::Path::new(socket).exists());
    assert!(shim.cgroups().is_empty(), "{:?}", shim.cgroups());
    let here = shim.dir.path().display().to_string();
    assert!(host_mounts().keys().all(|point| !point.starts_with(&here)));
    for &pid in processes {
        wait_until("the process is gone", || is_dead(pid));
    }
    shim.start_again();
    let (status, text) = shim.run_container("c1", config(&["echo", "again"]));
    assert_eq!((status, text.as_str()), (0, "again\n"));
}

#[test]
fn f3_running_created_and_with_an_exec() {
    let mut shim = Shim::start();
    shim.create("c1", config(&["sh", "-c", "sleep 1000 & sleep 1000"]))
        .expect("created");
    let pid = shim.start_container("c1").expect("started").pid;
    let process = json!({ "args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } });
    shim.exec("c1", "e1", &process, "").expect("added");
    shim.start_process("c1", "e1").expect("started");
    shim.create("c2", config(&["sleep", "1000"]))
        .expect("created");
    let processes = descendants(shim.pid);
    assert!(processes.len() >= 4, "{processes:?}");
    let noted = std::fs::read_to_string(shim.dir.path().join("c1/init.pid"));
    assert_eq!(noted.expect("for whoever cleans up"), pid.to_string());
    kill(shim.pid, libc::SIGKILL);
    clean_up(&shim, &["first", "c1", "c2"]);
    // What is cleaned up already is no error.
    clean_up(&shim, &["first", "c1", "c2"]);
    all_is_gone(&mut shim, &processes);
}

#[test]
fn f3_f31_paused() {
    let mut shim = Shim::start();
    shim.create("c1", config(&["sh", "-c", "sleep 1000 & sleep 1000"]))
        .expect("created");
    shim.start_container("c1").expect("started");
    let request = PauseRequest {
        id: "c1".into(),
        ..PauseRequest::default()
    };
    shim.client.pause(context(), &request).expect("paused");
    let processes = descendants(shim.pid);
    kill(shim.pid, libc::SIGKILL);
    clean_up(&shim, &["first", "c1"]);
    all_is_gone(&mut shim, &processes);
}

/// Somebody who asks for `c1`, whose hook waits for ever.
type Creator = std::thread::JoinHandle<ttrpc::Result<CreateTaskResponse>>;

fn creation_under_way(shim: &mut Shim) -> Creator {
    let spec = held_up(shim, "never");
    let bundle = shim.bundle("c1", spec);
    let request = shim.request("c1", &bundle);
    let address = shim.address.clone();
    let create = std::thread::spawn(move || {
        let client = ttrpc::Client::connect(&address).expect("connected");
        TaskClient::new(client).create(context(), &request)
    });
    let held = shim.dir.path().join("held");
    wait_until("the hook runs", || held.exists());
    create
}

/// Kills the shim, and the worker where asked, while a container is being made.
fn mid_create(and_worker: bool) {
    let mut shim = Shim::start();
    let create = creation_under_way(&mut shim);
    let worker = children_of(shim.pid)
        .into_iter()
        .find(|&child| !children_of(child).is_empty());
    let processes = descendants(shim.pid);
    kill(shim.pid, libc::SIGKILL);
    if and_worker {
        kill(worker.expect("it waits for the hook"), libc::SIGKILL);
    }
    create
        .join()
        .expect("no panic")
        .expect_err("nobody answers");
    clean_up(&shim, &["first", "c1"]);
    all_is_gone(&mut shim, &processes);
}

#[test]
fn f36_a_container_that_is_deleted_while_it_is_made() {
    let mut shim = Shim::start();
    let create = creation_under_way(&mut shim);
    let processes = descendants(shim.pid);
    let deleted = shim.delete("c1", "").expect("nobody wants it any more");
    assert_eq!((deleted.pid, deleted.exit_status), (0, 137));
    let (_, why) = refused(create.join().expect("no panic"));
    assert!(why.contains("was deleted before it was made"), "{why}");
    assert_eq!(refused(shim.state("c1", "")).0, ttrpc::Code::NOT_FOUND);
    // As containerd goes on, when it is started and finds a task that was never made.
    shim.shutdown();
    clean_up(&shim, &["c1"]);
    all_is_gone(&mut shim, &processes);
}

#[test]
fn f3_f4_while_a_container_is_made() {
    mid_create(false);
}

#[test]
fn f3_f4_with_the_worker_that_makes_a_container() {
    mid_create(true);
}

#[test]
fn delete_of_a_container_that_could_not_be_made_harms_nobody() {
    let mut shim = Shim::start();
    let spec = || {
        let mut spec = config(&["sleep", "1000"]);
        spec["linux"]["cgroupsPath"] = json!(format!("/carob/{}/same", shim.namespace));
        spec
    };
    let (first, second) = (spec(), spec());
    shim.create("c1", first).expect("created");
    let pid = shim.start_container("c1").expect("started").pid as i32;
    let (_, why) = refused(shim.create("c2", second));
    assert!(why.contains("already has processes"), "{why}");
    // containerd does this after every Create that fails.
    clean_up(&shim, &["c2"]);
    assert!(!is_dead(pid));
    shim.kill("c1", "", 9, false).expect("killed");
    shim.wait("c1", "").expect("ended");
    shim.delete("c1", "").expect("deleted");
    assert!(shim.cgroups().is_empty());
}

#[test]
fn sigterm_ends_the_shim_and_leaves_its_containers_to_delete() {
    let mut shim = Shim::start();
    shim.create("c1", config(&["sleep", "1000"]))
        .expect("created");
    let pid = shim.start_container("c1").expect("started").pid as i32;
    kill(shim.pid, libc::SIGTERM);
    // As with containerd's own shim.
    assert!(!is_dead(pid));
    clean_up(&shim, &["first", "c1"]);
    all_is_gone(&mut shim, &[pid]);
}

#[test]
fn f3_a_bundle_that_is_half_gone() {
    let mut shim = Shim::start();
    // Without a configuration, `delete` knows only the cgroup that containerd gives by default.
    let mut spec = config(&["sleep", "1000"]);
    spec["linux"]["cgroupsPath"] = json!(format!("/{}/c1", shim.namespace));
    shim.create("c1", spec).expect("created");
    let pid = shim.start_container("c1").expect("started").pid as i32;
    kill(shim.pid, libc::SIGKILL);
    for name in ["config.json", "init.pid", "address"] {
        let _ = std::fs::remove_file(shim.dir.path().join("c1").join(name));
    }
    clean_up(&shim, &["first", "c1"]);
    all_is_gone(&mut shim, &[pid]);
    remove_parents(&shim.namespace);
}

/// The default cgroup's parent is containerd's, and stays.
fn remove_parents(namespace: &str) {
    let cgroup = containerd_shim_carob_v1::cgroup::Cgroup::at(&format!("/{namespace}"));
    cgroup.expect("a path").remove().expect("removed");
}
