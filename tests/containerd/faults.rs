//! SIGKILL of the shim, of its worker, of containerd, and of each two together, in each state of a container.

use containerd_client::tonic::Code;
use containerd_client::types::v1::Status;
use std::time::Duration;

use carob_tests::PATIENCE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::client::{Client, Streams, code};
use crate::daemon::Containerd;
use crate::left;

const SLEEP: [&str; 2] = ["sleep", "1000"];
/// The containers, named like their states.
const STATES: [(&str, Status); 4] = [
    ("created", Status::Created),
    ("running", Status::Running),
    ("paused", Status::Paused),
    ("stopped", Status::Stopped),
];

/// A containerd with a container in each state.
async fn every_state() -> (Containerd, Client) {
    let containerd = Containerd::start();
    let client = Client::new(&containerd).await;
    for (id, _) in STATES {
        let spec = client.spec(id, &SLEEP);
        let rootfs = client.add(id, &spec, None).await;
        client
            .create(id, &rootfs, Streams::default())
            .await
            .unwrap();
    }
    for id in ["running", "paused", "stopped"] {
        client.start(id, "").await.unwrap();
    }
    client.pause("paused").await.unwrap();
    client.kill("stopped", "", 9, false).await.unwrap();
    client.wait("stopped", "").await.unwrap();
    assert_eq!(left::shims(&containerd).len(), STATES.len());
    (containerd, client)
}

fn kill_shims(containerd: &Containerd) {
    for shim in left::shims(containerd) {
        kill(Pid::from_raw(shim), Signal::SIGKILL).unwrap();
    }
}

/// A new container takes the name of one that was lost, as soon as containerd has cleaned up.
async fn is_replaced(client: &Client, id: &str) {
    let rootfs = client.mounts(id).await;
    let create = || client.create(id, &rootfs, Streams::default());
    let deadline = Instant::now() + PATIENCE;
    let mut created = create().await;
    while code(&created) == Code::AlreadyExists && Instant::now() < deadline {
        sleep(Duration::from_millis(5)).await;
        created = create().await;
    }
    let pid = created.unwrap_or_else(|refused| panic!("{id}: {refused}"));
    assert_eq!(client.start(id, "").await.unwrap(), pid);
    assert_eq!(client.status(id).await, Status::Running);
    client.end(id).await;
}

#[tokio::test]
async fn f03_what_a_killed_shim_leaves_is_cleaned_up() {
    let (containerd, client) = every_state().await;
    kill_shims(&containerd);
    for (id, _) in STATES {
        is_replaced(&client, id).await;
    }
}

#[tokio::test]
async fn f05_a_killed_containerd_finds_all_again() {
    let (mut containerd, client) = every_state().await;
    let ended_meanwhile = client.get("running", "").await.unwrap().pid;
    let shims = left::shims(&containerd);
    containerd.stop(Signal::SIGKILL);
    kill(Pid::from_raw(ended_meanwhile as i32), Signal::SIGTERM).unwrap();
    kill(Pid::from_raw(ended_meanwhile as i32), Signal::SIGKILL).unwrap();
    containerd.restart();
    let client = Client::new(&containerd).await;
    assert_eq!(left::shims(&containerd), shims);
    assert_eq!(client.wait("running", "").await.unwrap(), 137);
    for (id, status) in STATES {
        if id != "running" {
            assert_eq!(client.status(id).await, status, "{id}");
        }
    }
    client.resume("paused").await.unwrap();
    assert_eq!(client.status("paused").await, Status::Running);
    client.start("created", "").await.unwrap();
    for id in ["created", "paused"] {
        client.end(id).await;
    }
    for id in ["running", "stopped"] {
        assert_eq!(client.delete(id).await.unwrap(), 137);
        client.remove(id).await;
    }
}

#[tokio::test]
async fn what_containerd_and_shims_leave_when_both_are_killed_is_cleaned_up() {
    let (mut containerd, _) = every_state().await;
    containerd.stop(Signal::SIGKILL);
    kill_shims(&containerd);
    containerd.restart();
    let client = Client::new(&containerd).await;
    for (id, _) in STATES {
        is_replaced(&client, id).await;
    }
}

/// A container whose creation stands still: its hook says that it is there, and then does nothing.
struct Halfway {
    containerd: Containerd,
    client: Client,
    create: tokio::task::JoinHandle<Code>,
}

impl Halfway {
    async fn new() -> Self {
        let containerd = Containerd::start();
        let client = Client::new(&containerd).await;
        let there = containerd.path().join("there");
        let mut spec = client.spec("c1", &SLEEP);
        let script = "touch \"$0\"; until [ -e \"$0.go\" ]; do sleep 0.01; done";
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script, there]});
        spec["hooks"] = json!({"createRuntime": [hook]});
        let rootfs = client.add("c1", &spec, None).await;
        let creator = client.clone();
        let create =
            tokio::spawn(
                async move { code(&creator.create("c1", &rootfs, Streams::default()).await) },
            );
        let deadline = Instant::now() + PATIENCE;
        while !there.exists() {
            assert!(Instant::now() < deadline, "no hook is run");
            sleep(Duration::from_millis(5)).await;
        }
        Self {
            containerd,
            client,
            create,
        }
    }

    /// The shim and its worker.
    fn pids(&self) -> (i32, i32) {
        let shim = left::shims(&self.containerd);
        let [shim] = shim[..] else {
            panic!("the shims are {shim:?}")
        };
        let children = format!("/proc/{shim}/task/{shim}/children");
        let children = std::fs::read_to_string(children).unwrap();
        let worker = children.split_whitespace().next().unwrap();
        (shim, worker.parse().unwrap())
    }

    /// Nothing is there of it, and another container takes its name.
    async fn is_cleaned(&self) {
        self.client.remove("c1").await;
        self.client.run("c1", &SLEEP).await;
        self.client.end("c1").await;
    }
}

fn kill_all<const N: usize>(pids: [i32; N]) {
    for pid in pids {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
}

#[tokio::test]
async fn f04_a_killed_worker_fails_its_creation_alone() {
    let mut halfway = Halfway::new().await;
    let (_, worker) = halfway.pids();
    kill_all([worker]);
    assert_ne!((&mut halfway.create).await.unwrap(), Code::Ok);
    halfway.is_cleaned().await;
}

#[tokio::test]
async fn f04_a_shim_killed_with_its_worker_is_cleaned_up() {
    let mut halfway = Halfway::new().await;
    let (shim, worker) = halfway.pids();
    kill_all([shim, worker]);
    assert_ne!((&mut halfway.create).await.unwrap(), Code::Ok);
    halfway.is_cleaned().await;
}

#[tokio::test]
async fn f03_a_shim_killed_while_it_creates_is_cleaned_up() {
    let mut halfway = Halfway::new().await;
    let (shim, _) = halfway.pids();
    kill_all([shim]);
    assert_ne!((&mut halfway.create).await.unwrap(), Code::Ok);
    halfway.is_cleaned().await;
}

#[tokio::test]
async fn f36_a_creation_ends_well_without_its_containerd() {
    let mut halfway = Halfway::new().await;
    halfway.containerd.stop(Signal::SIGKILL);
    assert_ne!((&mut halfway.create).await.unwrap(), Code::Ok);
    halfway.containerd.restart();
    halfway.client = Client::new(&halfway.containerd).await;
    let client = &halfway.client;
    // Since 1.7 it deletes a task that has no process yet; the hook waits still.
    if code(&client.get("c1", "").await) == Code::NotFound {
        return halfway.is_cleaned().await;
    }
    std::fs::write(halfway.containerd.path().join("there.go"), "").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while client.get("c1", "").await.is_ok_and(|task| task.pid == 0) {
        assert!(Instant::now() < deadline, "the container is not made");
        sleep(Duration::from_millis(5)).await;
    }
    client.start("c1", "").await.unwrap();
    assert_eq!(client.status("c1").await, Status::Running);
    client.end("c1").await;
}

#[tokio::test]
async fn f04_a_worker_killed_with_containerd_leaves_nothing() {
    let mut halfway = Halfway::new().await;
    let (_, worker) = halfway.pids();
    halfway.containerd.stop(Signal::SIGKILL);
    kill_all([worker]);
    assert_ne!((&mut halfway.create).await.unwrap(), Code::Ok);
    halfway.containerd.restart();
    halfway.client = Client::new(&halfway.containerd).await;
    // What containerd still knows of it, it deletes.
    let deleted = halfway.client.delete("c1").await;
    assert_eq!(code(&deleted), Code::NotFound);
    halfway.is_cleaned().await;
}
