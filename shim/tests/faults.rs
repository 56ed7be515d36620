//! What goes wrong around the shim: clients that leave, workers that die, garbage on the socket.

mod harness;

use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;

use containerd_shim_protos::api::*;
use containerd_shim_protos::events::task::*;
use harness::*;
use serde_json::json;
use ttrpc::Code;

#[test]
fn f36_a_create_whose_client_leaves_is_finished() {
    let mut shim = Shim::start();
    let spec = held_up(&shim, "go");
    let bundle = shim.bundle("c1", spec);
    let request = shim.request("c1", &bundle);
    let soon = ttrpc::context::with_timeout(50_000_000);
    shim.client
        .create(soon, &request)
        .expect_err("its client gave up");
    assert_eq!(
        refused(shim.client.create(context(), &request)).0,
        Code::ALREADY_EXISTS
    );
    std::fs::write(shim.dir.path().join("go"), "").expect("written");
    shim.events.wait_for::<TaskCreate>("/tasks/create", 1);
    shim.start_container("c1").expect("started");
    assert_eq!(shim.wait("c1", "").expect("ended").exit_status, 0);
    shim.delete("c1", "").expect("deleted");
}

#[test]
fn f4_a_worker_that_is_killed_harms_nobody() {
    let mut shim = Shim::start();
    shim.create("other", config(&["sleep", "1000"]))
        .expect("created");
    let other = shim.start_container("other").expect("started").pid as i32;
    let spec = held_up(&shim, "never");
    let bundle = shim.bundle("c1", spec);
    let request = shim.request("c1", &bundle);
    let address = shim.address.clone();
    let create = std::thread::spawn(move || {
        let client = ttrpc::Client::connect(&address).expect("connected");
        containerd_shim_protos::shim_sync::TaskClient::new(client).create(context(), &request)
    });
    // The hook runs: the worker is its parent.
    let mut worker = 0;
    wait_until("the hook runs", || {
        let hook = |pid: i32| {
            let path = format!("/proc/{pid}/task/{pid}/children");
            !std::fs::read_to_string(path).unwrap_or_default().is_empty()
        };
        let found = shim
            .children()
            .into_iter()
            .find(|(pid, _)| *pid != other && hook(*pid));
        worker = found.map_or(0, |(pid, _)| pid);
        worker != 0
    });
    // SAFETY: sends a signal to the shim's worker.
    unsafe { libc::kill(worker, libc::SIGKILL) };
    let (_, why) = refused(create.join().expect("no panic"));
    assert!(why.contains("137"), "{why}");
    assert_eq!(refused(shim.state("c1", "")).0, Code::NOT_FOUND);
    wait_until("all is reaped", || shim.children().len() == 1);
    assert!(process_state(other).is_some_and(|state| state != 'Z'));
    assert!(
        shim.cgroups().iter().all(|path| path.ends_with("other")),
        "{:?}",
        shim.cgroups()
    );
    assert_eq!(shim.run_container("c2", config(&["true"])).0, 0);
}

#[test]
fn b49_garbage_on_the_socket_is_survived() {
    let mut shim = Shim::start();
    let path = shim.address.trim_start_matches("unix://").to_owned();
    let memory = |shim: &Shim| memory_of(shim.pid);
    let header = |length: u32, stream: u32, kind: u8| {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend(stream.to_be_bytes());
        bytes.extend([kind, 0]);
        bytes
    };
    let before = memory(&shim);
    for frame in [
        header(u32::MAX, 1, 1),
        header(4 << 20, 1, 1),
        header(10, 2, 1),
        header(3, 1, 77),
        [header(5, 1, 1), b"\xff\xff\xff\xff\xff".to_vec()].concat(),
        header(100, 1, 1)[..7].to_vec(),
        vec![0; 4096],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let mut stream = UnixStream::connect(&path).expect("it listens");
        stream.write_all(&frame).expect("sent");
        stream.set_nonblocking(true).expect("set");
        let _ = stream.read(&mut [0; 64]);
        drop(stream);
        shim.state("none", "").expect_err("it answers");
    }
    assert!(
        memory(&shim) < before + 8192,
        "{} KiB, then {}",
        before,
        memory(&shim)
    );
    assert_eq!(shim.run_container("c1", config(&["true"])).0, 0);
}

#[test]
fn b49_ten_thousand_requests_at_once() {
    const REQUESTS: u32 = 10_000;
    let mut shim = Shim::start();
    shim.create("c1", config(&["sleep", "1000"]))
        .expect("created");
    shim.start_container("c1").expect("started");
    let before = memory_of(shim.pid);
    let request = WaitRequest {
        id: "c1".into(),
        ..WaitRequest::default()
    };
    let path = shim.address.trim_start_matches("unix://");
    let mut stream = UnixStream::connect(path).expect("it listens");
    // Streams that clients open have odd numbers.
    for number in 0..REQUESTS {
        let frame = frame(2 * number + 1, "Wait", &request);
        stream.write_all(&frame).expect("sent");
    }
    shim.state("c1", "").expect("others are answered");
    shim.kill("c1", "", 9, false).expect("killed");
    for _ in 0..REQUESTS {
        let mut header = [0; 10];
        stream.read_exact(&mut header).expect("answered");
        let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body).expect("answered");
    }
    let after = memory_of(shim.pid);
    assert!(after < before + (128 << 10), "{before} KiB, then {after}");
    drop(stream);
    shim.delete("c1", "").expect("deleted");
}

#[test]
fn f33_many_lives_leave_nothing() {
    let mut shim = Shim::start();
    let output = shim.run_container("warm", config(&["true"]));
    assert_eq!(output.0, 0);
    shim.events.wait_for::<TaskDelete>("/tasks/delete", 1);
    let (fds, cgroups) = (shim.descriptors(), shim.cgroups().len());
    for round in 0..50 {
        let id = format!("c{round}");
        assert_eq!(shim.run_container(&id, config(&["true"])).0, 0);
    }
    assert_eq!((shim.descriptors(), shim.cgroups().len()), (fds, cgroups));
    wait_until("all is reaped", || shim.children().is_empty());
}

#[test]
fn containers_of_one_pod_start_at_once() {
    let mut shim = Shim::start();
    let requests: Vec<CreateTaskRequest> = (0..6)
        .map(|number| {
            let id = format!("c{number}");
            let bundle = shim.bundle(&id, config(&["sh", "-c", &format!("exit {number}")]));
            shim.request(&id, &bundle)
        })
        .collect();
    let address = shim.address.clone();
    let threads: Vec<_> = requests
        .into_iter()
        .map(|request| {
            let address = address.clone();
            std::thread::spawn(move || {
                let client = ttrpc::Client::connect(&address).expect("connected");
                let client = containerd_shim_protos::shim_sync::TaskClient::new(client);
                client.create(context(), &request).expect("created");
                let id = request.id;
                let start = StartRequest {
                    id: id.clone(),
                    ..Default::default()
                };
                client.start(context(), &start).expect("started");
                let wait = WaitRequest {
                    id: id.clone(),
                    ..Default::default()
                };
                client.wait(context(), &wait).expect("ended").exit_status
            })
        })
        .collect();
    let statuses: Vec<u32> = threads
        .into_iter()
        .map(|each| each.join().expect("no panic"))
        .collect();
    assert_eq!(statuses, [0, 1, 2, 3, 4, 5]);
    for number in 0..6 {
        shim.delete(&format!("c{number}"), "").expect("deleted");
    }
    wait_until("all is reaped", || shim.children().is_empty());
}

#[test]
fn c4_c6_an_image_with_links_in_dev_and_proc_changes_nothing_of_the_machines() {
    let mut shim = Shim::start();
    let pattern = std::fs::read("/proc/sys/kernel/core_pattern").expect("readable");
    let base = shim.dir.path().join("base");
    // Without a mount at /dev, devices are made in the image itself.
    let mut bare = config(&["true"]);
    let mounts = bare["mounts"].as_array_mut().expect("a list");
    mounts.retain(|mount| {
        !mount["destination"]
            .as_str()
            .expect("text")
            .starts_with("/dev")
    });
    symlink("/proc/sys/kernel/core_pattern", base.join("dev/null")).expect("linked");
    let _ = shim.create("c1", bare).map(|_| shim.delete("c1", ""));
    std::fs::remove_dir(base.join("proc")).expect("removed");
    symlink("/tmp", base.join("proc")).expect("linked");
    let why = refused(shim.create("c2", config(&["true"]))).1;
    assert!(!why.is_empty());
    assert_eq!(
        std::fs::read("/proc/sys/kernel/core_pattern").expect("readable"),
        pattern
    );
    assert!(shim.cgroups().is_empty());
}

#[test]
fn c5_a_terminal_is_never_bound_over_a_link() {
    let mut shim = Shim::start();
    let canary = shim.dir.path().join("canary");
    std::fs::write(&canary, "untouched").expect("written");
    let mut spec = config(&["sh", "-c", "tty; test -t 0"]);
    spec["process"]["terminal"] = json!(true);
    // An image's /dev/console is covered by the tmpfs at /dev; here there is none.
    let mounts = spec["mounts"].as_array_mut().expect("a list");
    mounts.retain(|mount| mount["destination"] != "/dev");
    symlink(&canary, shim.dir.path().join("base/dev/console")).expect("linked");
    let bundle = shim.bundle("c1", spec);
    let mut request = shim.request("c1", &bundle);
    request.terminal = true;
    if shim.client.create(context(), &request).is_ok() {
        shim.start_container("c1").expect("started");
        shim.wait("c1", "").expect("ended");
        shim.delete("c1", "").expect("deleted");
    }
    assert_eq!(
        std::fs::read_to_string(canary).expect("readable"),
        "untouched"
    );
    assert!(shim.cgroups().is_empty());
}
