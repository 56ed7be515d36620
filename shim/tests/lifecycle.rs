//! A container's life through the Task service, in order and out of order.

mod harness;

use containerd_shim_protos::api::*;
use containerd_shim_protos::events::task::*;
use harness::*;
use ttrpc::Code;

fn pids(shim: &Shim, id: &str) -> Vec<u32> {
    let request = PidsRequest {
        id: id.into(),
        ..PidsRequest::default()
    };
    let listed = shim.client.pids(context(), &request).expect("listed");
    listed.processes.iter().map(|process| process.pid).collect()
}

#[test]
fn create_start_wait_delete() {
    let mut shim = Shim::start();
    let output = shim
        .create_with_output(
            "c1",
            config(&["sh", "-c", "echo out; echo err >&2; exit 7"]),
        )
        .expect("created");
    let created = shim.state("c1", "").expect("it exists");
    assert_eq!(created.status.enum_value(), Ok(Status::CREATED));
    assert_ne!(created.pid, 0);
    assert!(process_state(created.pid as i32).is_some_and(|state| state != 'Z'));

    assert_eq!(
        shim.start_container("c1").expect("started").pid,
        created.pid
    );
    let ended = shim.wait("c1", "").expect("ended");
    assert_eq!(ended.exit_status, 7);
    assert!(ended.exited_at.seconds > 1_700_000_000);
    assert_eq!(std::fs::read_to_string(output).expect("read"), "out\nerr\n");

    let stopped = shim.state("c1", "").expect("it is kept");
    assert_eq!(stopped.status.enum_value(), Ok(Status::STOPPED));
    assert_eq!(
        (stopped.exit_status, stopped.exited_at),
        (7, ended.exited_at.clone())
    );
    // The exit is kept as long as the container, and so is its process: else containerd, restarted, deletes it.
    assert_eq!(shim.wait("c1", "").expect("still known"), ended);
    assert_eq!(pids(&shim, "c1"), [created.pid]);

    let deleted = shim.delete("c1", "").expect("deleted");
    assert_eq!((deleted.pid, deleted.exit_status), (created.pid, 7));
    assert_eq!(refused(shim.state("c1", "")).0, Code::NOT_FOUND);

    let exit: Vec<TaskExit> = shim.events.wait_for("/tasks/exit", 1);
    assert_eq!(
        (exit[0].id.as_str(), exit[0].exit_status, exit[0].pid),
        ("c1", 7, created.pid)
    );
    shim.events.wait_for::<TaskDelete>("/tasks/delete", 1);
    assert_eq!(
        shim.events.topics(),
        [
            "/tasks/create",
            "/tasks/start",
            "/tasks/exit",
            "/tasks/delete"
        ]
    );
    assert!(shim.cgroups().is_empty(), "{:?}", shim.cgroups());
    assert!(shim.children().is_empty(), "{:?}", shim.children());
    shim.shutdown();
}

#[test]
fn nothing_is_mounted_on_the_host() {
    let mut shim = Shim::start();
    shim.create("c1", config(&["sleep", "1000"]))
        .expect("created");
    shim.start_container("c1").expect("started");
    let here = shim.dir.path().display().to_string();
    assert!(host_mounts().keys().all(|point| !point.starts_with(&here)));
    shim.kill("c1", "", 9, false).expect("killed");
    assert_eq!(shim.wait("c1", "").expect("ended").exit_status, 137);
    shim.delete("c1", "").expect("deleted");
    assert!(host_mounts().keys().all(|point| !point.starts_with(&here)));
}

#[test]
fn one_shim_serves_all_containers_of_a_group() {
    let mut shim = Shim::start();
    let mut member = config(&["sleep", "1000"]);
    member["annotations"] = serde_json::json!({ "io.kubernetes.cri.sandbox-id": "first" });
    let bundle = shim.bundle("c2", member);
    let events = shim.dir.path().join("events.sock").display().to_string();
    let output = run(&bundle, &events, &start_args(&shim.namespace.clone(), "c2"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), shim.address);
    assert_eq!(
        std::fs::read_to_string(bundle.join("address")).expect("written"),
        shim.address
    );

    for id in ["c2", "c3"] {
        shim.create(id, config(&["sleep", "1000"]))
            .expect("created");
        shim.start_container(id).expect("started");
    }
    shim.kill("c2", "", 9, false).expect("killed");
    shim.wait("c2", "").expect("ended");
    shim.delete("c2", "").expect("deleted");
    // It stays for the other.
    shim.client
        .shutdown(context(), &ShutdownRequest::default())
        .expect("answered");
    assert_eq!(
        shim.state("c3", "").expect("served").status.enum_value(),
        Ok(Status::RUNNING)
    );
    shim.kill("c3", "", 9, false).expect("killed");
    shim.wait("c3", "").expect("ended");
    shim.delete("c3", "").expect("deleted");
    shim.shutdown();
    assert!(!std::path::Path::new(shim.address.trim_start_matches("unix://")).exists());
}

#[test]
fn f6_a_start_precedes_its_exit_and_none_is_lost() {
    let mut shim = Shim::start();
    let rounds = 30;
    for round in 0..rounds {
        let id = format!("c{round}");
        shim.create(&id, config(&["true"])).expect("created");
        shim.start_container(&id).expect("started");
        assert_eq!(shim.wait(&id, "").expect("ended").exit_status, 0);
        shim.delete(&id, "").expect("deleted");
    }
    shim.events.wait_for::<TaskDelete>("/tasks/delete", rounds);
    let wanted = [
        "/tasks/create",
        "/tasks/start",
        "/tasks/exit",
        "/tasks/delete",
    ];
    for four in shim.events.topics().chunks(4) {
        assert_eq!(four, wanted);
    }
    assert!(shim.children().is_empty());
}

#[test]
fn b48_wrong_sequences_get_containerds_codes() {
    let mut shim = Shim::start();
    let code = |result: ttrpc::Result<Empty>| refused(result).0;
    for result in [
        refused(shim.start_container("none")).0,
        refused(shim.delete("none", "")).0,
    ] {
        assert_eq!(result, Code::NOT_FOUND);
    }
    assert_eq!(code(shim.kill("none", "", 9, false)), Code::NOT_FOUND);

    shim.create("c1", config(&["sleep", "1000"]))
        .expect("created");
    let (again, text) = refused(shim.create("c1", config(&["true"])));
    assert_eq!(again, Code::ALREADY_EXISTS, "{text}");
    assert_eq!(
        refused(shim.client.pause(
            context(),
            &PauseRequest {
                id: "c1".into(),
                ..Default::default()
            }
        ))
        .0,
        Code::FAILED_PRECONDITION
    );
    let process =
        serde_json::json!({ "args": ["true"], "cwd": "/", "user": { "uid": 0, "gid": 0 } });
    assert_eq!(
        code(shim.exec("c1", "e1", &process, "")),
        Code::FAILED_PRECONDITION
    );

    shim.start_container("c1").expect("started");
    assert_eq!(
        refused(shim.start_container("c1")).0,
        Code::FAILED_PRECONDITION
    );
    assert_eq!(refused(shim.delete("c1", "")).0, Code::FAILED_PRECONDITION);
    for signal in [0, 65, u32::MAX] {
        assert_eq!(
            code(shim.kill("c1", "", signal, false)),
            Code::INVALID_ARGUMENT
        );
    }
    let resize = ResizePtyRequest {
        id: "c1".into(),
        width: 80,
        height: 24,
        ..Default::default()
    };
    assert_eq!(
        refused(shim.client.resize_pty(context(), &resize)).0,
        Code::FAILED_PRECONDITION
    );
    let checkpoint = CheckpointTaskRequest {
        id: "c1".into(),
        ..Default::default()
    };
    assert_eq!(
        refused(shim.client.checkpoint(context(), &checkpoint)).0,
        Code::UNIMPLEMENTED
    );

    shim.kill("c1", "", 9, false).expect("killed");
    shim.wait("c1", "").expect("ended");
    assert_eq!(code(shim.kill("c1", "", 9, false)), Code::NOT_FOUND);
    assert_eq!(
        refused(shim.start_container("c1")).0,
        Code::FAILED_PRECONDITION
    );
    shim.delete("c1", "").expect("deleted");
    assert_eq!(refused(shim.delete("c1", "")).0, Code::NOT_FOUND);
}

#[test]
fn a_container_that_was_never_started_can_be_deleted() {
    let mut shim = Shim::start();
    shim.create("c1", config(&["true"])).expect("created");
    let deleted = shim.delete("c1", "").expect("deleted");
    assert_eq!(deleted.exit_status, 137);
    assert!(shim.cgroups().is_empty());
    assert!(shim.children().is_empty());
}

#[test]
fn f35_events_are_kept_while_nobody_listens() {
    let mut shim = Shim::start_unheard();
    let (status, _) = shim.run_container("c1", config(&["true"]));
    assert_eq!(status, 0);
    shim.hear();
    shim.events.wait_for::<TaskDelete>("/tasks/delete", 1);
    assert_eq!(
        shim.events.topics(),
        [
            "/tasks/create",
            "/tasks/start",
            "/tasks/exit",
            "/tasks/delete"
        ]
    );
}

#[test]
fn f5_an_exit_while_containerd_is_away_is_told_as_it_was() {
    let mut shim = Shim::start();
    shim.create(
        "c1",
        config(&[
            "sh",
            "-c",
            "trap 'exit 5' TERM; while :; do usleep 1000; done",
        ]),
    )
    .expect("created");
    shim.start_container("c1").expect("started");
    shim.events.wait_for::<TaskStart>("/tasks/start", 1);
    shim.unhear();
    // Its trap may not be set yet, so until it takes the signal it is sent again.
    let ended = std::thread::scope(|scope| {
        let ended = scope.spawn(|| shim.wait("c1", "").expect("ended"));
        wait_until("it ends", || {
            let _ = shim.kill("c1", "", 15, false);
            ended.is_finished()
        });
        ended.join().expect("no panic")
    });
    shim.hear();
    let exit = shim.events.wait_for::<TaskExit>("/tasks/exit", 1).remove(0);
    assert_eq!(exit.exit_status, ended.exit_status);
    assert_eq!(exit.exited_at, ended.exited_at);
    shim.delete("c1", "").expect("deleted");
}
