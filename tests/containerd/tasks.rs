//! The Task service as containerd's clients use it: each call, in order and out of order.

use std::process::Command;

use carob_tests::Program;
use containerd_client::tonic::Code;
use containerd_client::types::v1::Status;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use prost_types::Any;
use serde_json::json;

use crate::client::{Answer, Client, Streams, code};
use crate::daemon::{Containerd, RUNTIME};
use crate::events::{Events, kinds};

const SLEEP: [&str; 2] = ["sleep", "1000"];

#[tokio::test]
async fn a_life_with_every_call() {
    let containerd = Containerd::start();
    let client = Client::new(&containerd).await;
    let mut events = Events::of(&client).await;
    let output = containerd.path().join("out").display().to_string();
    let streams = || Streams {
        stdout: format!("file://{output}"),
        ..Streams::default()
    };

    let spec = client.spec(
        "c1",
        &["sh", "-c", "trap 'exit 5' TERM; echo up; sleep 1000 & wait"],
    );
    let rootfs = client.add("c1", &spec, None).await;
    let pid = client.create("c1", &rootfs, streams()).await.unwrap();
    assert_eq!(client.status("c1").await, Status::Created);
    assert_eq!(client.start("c1", "").await.unwrap(), pid);
    assert_eq!(client.status("c1").await, Status::Running);
    crate::daemon::wait_until("up", || std::fs::read(&output).is_ok_and(|o| o == b"up\n"));
    assert_eq!(client.pids("c1").await.unwrap().len(), 2);

    client
        .exec("c1", "e1", &["sh", "-c", "exit 3"], Streams::default())
        .await
        .unwrap();
    client.start("c1", "e1").await.unwrap();
    assert_eq!(client.wait("c1", "e1").await.unwrap(), 3);
    assert_eq!(client.delete_exec("c1", "e1").await.unwrap(), 3);

    client
        .exec("c1", "e2", &SLEEP, Streams::default())
        .await
        .unwrap();
    let exec = client.start("c1", "e2").await.unwrap();
    assert!(client.pids("c1").await.unwrap().contains(&exec));
    client.kill("c1", "e2", 9, false).await.unwrap();
    assert_eq!(client.wait("c1", "e2").await.unwrap(), 137);
    assert_eq!(client.delete_exec("c1", "e2").await.unwrap(), 137);

    client.pause("c1").await.unwrap();
    assert_eq!(client.status("c1").await, Status::Paused);
    client.resume("c1").await.unwrap();
    client
        .update("c1", &json!({"pids": {"limit": 77}}))
        .await
        .unwrap();
    let limit = containerd.cgroup_file("c1", &["pids.max"]);
    assert_eq!(limit.trim(), "77");
    let kind = client.metrics("c1").await.unwrap();
    assert!(kind[0].starts_with("io.containerd.cgroups."), "{kind:?}");
    assert_eq!(code(&client.checkpoint("c1").await), Code::Unimplemented);

    client.kill("c1", "", 15, false).await.unwrap();
    assert_eq!(client.wait("c1", "").await.unwrap(), 5);
    assert_eq!(client.status("c1").await, Status::Stopped);
    assert_eq!(client.delete("c1").await.unwrap(), 5);
    client.remove("c1").await;

    let seen = events
        .until(|event| event.kind == "delete" && event.exec.is_empty())
        .await;
    let wanted = ["create", "start", "paused", "resumed", "exit", "delete"];
    assert_eq!(kinds(&seen, "c1", ""), wanted, "{seen:?}");
    for exec in ["e1", "e2"] {
        let wanted = ["exec-added", "exec-started", "exit", "delete"];
        assert_eq!(kinds(&seen, "c1", exec)[..3], wanted[..3], "{seen:?}");
    }
    let exit = seen
        .iter()
        .find(|e| e.kind == "exit" && e.exec.is_empty())
        .unwrap();
    assert_eq!((exit.pid, exit.status), (pid, 5));
}

/// Calls in a wrong order, and the answers' codes.
async fn wrong_sequences(client: &Client) -> Vec<(&'static str, Code)> {
    fn note<T>(of: &mut Vec<(&'static str, Code)>, what: &'static str, answer: Answer<T>) {
        of.push((what, code(&answer)));
    }
    let mut codes = Vec::new();
    let none = Streams::default;
    note(&mut codes, "state of nothing", client.get("c1", "").await);
    note(&mut codes, "delete of nothing", client.delete("c1").await);
    let rootfs = client.add("c1", &client.spec("c1", &SLEEP), None).await;
    client.create("c1", &rootfs, none()).await.unwrap();
    note(
        &mut codes,
        "create twice",
        client.create("c1", &rootfs, none()).await,
    );
    note(
        &mut codes,
        "start an unknown exec",
        client.start("c1", "e1").await,
    );
    note(&mut codes, "resume a created", client.resume("c1").await);
    client.start("c1", "").await.unwrap();
    note(&mut codes, "start twice", client.start("c1", "").await);
    note(&mut codes, "delete a running", client.delete("c1").await);
    note(&mut codes, "state of no exec", client.get("c1", "e1").await);
    note(
        &mut codes,
        "kill no exec",
        client.kill("c1", "e1", 9, false).await,
    );
    client.exec("c1", "e1", &SLEEP, none()).await.unwrap();
    note(
        &mut codes,
        "exec with a used ID",
        client.exec("c1", "e1", &SLEEP, none()).await,
    );
    client.start("c1", "e1").await.unwrap();
    // Since containerd 1.7 runc's shim dies of it, later on.
    if client.runtime == RUNTIME {
        let twice = client.start("c1", "e1").await;
        assert_eq!(code(&twice), Code::FailedPrecondition);
    }
    note(
        &mut codes,
        "delete a running exec",
        client.delete_exec("c1", "e1").await,
    );
    client.kill("c1", "e1", 9, false).await.unwrap();
    client.wait("c1", "e1").await.unwrap();
    note(
        &mut codes,
        "kill an ended exec",
        client.kill("c1", "e1", 9, false).await,
    );
    client.delete_exec("c1", "e1").await.unwrap();
    client.pause("c1").await.unwrap();
    note(
        &mut codes,
        "exec in a paused",
        client.exec("c1", "e2", &SLEEP, none()).await,
    );
    note(&mut codes, "pause twice", client.pause("c1").await);
    client.resume("c1").await.unwrap();
    client.kill("c1", "", 9, false).await.unwrap();
    client.wait("c1", "").await.unwrap();
    note(
        &mut codes,
        "kill an ended",
        client.kill("c1", "", 9, false).await,
    );
    note(&mut codes, "start an ended", client.start("c1", "").await);
    note(&mut codes, "pause an ended", client.pause("c1").await);
    note(
        &mut codes,
        "exec in an ended",
        client.exec("c1", "e3", &SLEEP, none()).await,
    );
    client.delete("c1").await.unwrap();
    client.remove("c1").await;
    codes
}

#[tokio::test]
async fn b48_wrong_sequences_get_containerds_codes() {
    let containerd = Containerd::start();
    let mut client = Client::new(&containerd).await;
    let ours = wrong_sequences(&client).await;
    client.runtime = "io.containerd.runc.v2";
    let runcs = wrong_sequences(&client).await;
    for (our, runc) in ours.iter().zip(&runcs) {
        // Where runc's shim only has a text, ours has the code for it.
        let precise = our.1 == Code::FailedPrecondition && runc.1 == Code::Unknown;
        assert!(our == runc || precise, "{our:?}, runc's shim: {runc:?}");
    }
}

#[tokio::test]
async fn terminals_are_resized_and_inputs_closed() {
    let containerd = Containerd::start();
    let client = Client::new(&containerd).await;
    client.run("c1", &SLEEP).await;
    assert_eq!(
        code(&client.resize("c1", "", 80, 24).await),
        Code::FailedPrecondition
    );
    let fifo = |name: &str| {
        let path = containerd.path().join(name);
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        path.display().to_string()
    };
    let streams = Streams {
        stdin: fifo("in"),
        stdout: fifo("out"),
        stderr: String::new(),
        terminal: true,
    };
    let output = read(&streams.stdout);
    let asks = ["sh", "-c", "echo ready; read x; stty size"];
    client
        .exec("c1", "e1", &asks, streams.clone())
        .await
        .unwrap();
    client.start("c1", "e1").await.unwrap();
    output.wait_for("ready");
    client.resize("c1", "e1", 123, 45).await.unwrap();
    std::fs::write(&streams.stdin, "\n").unwrap();
    assert_eq!(client.wait("c1", "e1").await.unwrap(), 0);
    client.delete_exec("c1", "e1").await.unwrap();
    output.wait_for("45 123");

    let streams = Streams {
        stdin: streams.stdin,
        stdout: streams.stdout,
        ..Streams::default()
    };
    let output = read(&streams.stdout);
    client
        .exec("c1", "e2", &["cat"], streams.clone())
        .await
        .unwrap();
    client.start("c1", "e2").await.unwrap();
    std::fs::write(&streams.stdin, "said\n").unwrap();
    output.wait_for("said");
    client.close_stdin("c1", "e2").await.unwrap();
    assert_eq!(client.wait("c1", "e2").await.unwrap(), 0);
    client.delete_exec("c1", "e2").await.unwrap();
    client.end("c1").await;
}

#[tokio::test]
async fn f14_an_oom_is_told_before_the_exit_that_it_explains() {
    let containerd = Containerd::start();
    let client = Client::new(&containerd).await;
    let mut events = Events::of(&client).await;
    let mut spec = client.spec("c1", &["tail", "/dev/zero"]);
    spec["linux"]["resources"]["memory"] = json!({"limit": 16 << 20, "swap": 16 << 20});
    let rootfs = client.add("c1", &spec, None).await;
    client
        .create("c1", &rootfs, Streams::default())
        .await
        .unwrap();
    client.start("c1", "").await.unwrap();
    assert_eq!(client.wait("c1", "").await.unwrap(), 137);
    client.delete("c1").await.unwrap();
    client.remove("c1").await;
    let seen = events.until(|event| event.kind == "delete").await;
    let mut kinds = kinds(&seen, "c1", "");
    // The kernel may tell of several.
    kinds.dedup();
    assert_eq!(
        kinds,
        ["create", "start", "oom", "exit", "delete"],
        "{seen:?}"
    );
}

/// containerd's options for runc with one field set: its number and wire type, and its value.
fn runc_options(tag: u8, value: &[u8]) -> Option<Any> {
    Some(Any {
        type_url: "containerd.runc.v1.Options".to_owned(),
        value: [&[tag], value].concat(),
    })
}

#[tokio::test]
async fn runcs_options_are_honoured_or_refused_by_name() {
    let containerd = Containerd::start();
    let client = Client::new(&containerd).await;
    let create = async |id: &str, spec: &serde_json::Value, options| {
        let rootfs = client.add(id, spec, options).await;
        client.create(id, &rootfs, Streams::default()).await
    };
    // `BinaryName`, the sixth, as a string.
    let binary = runc_options(6 << 3 | 2, b"\x04runc");
    let refused = create("c1", &client.spec("c1", &SLEEP), binary)
        .await
        .unwrap_err();
    assert!(refused.message().contains("BinaryName"), "{refused}");
    client.remove("c1").await;
    // `SystemdCgroup`, the ninth, with a name in systemd's form.
    let mut spec = client.spec("c2", &SLEEP);
    let slice = containerd.slice();
    spec["linux"]["cgroupsPath"] = json!(format!("{slice}:test:c2"));
    let systemd = runc_options(9 << 3, &[1]);
    let pid = create("c2", &spec, systemd).await.unwrap();
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let wanted = format!("/{slice}/test-c2.scope\n");
    assert!(cgroup.ends_with(&wanted), "{cgroup}");
    client.kill("c2", "", 9, false).await.unwrap();
    client.wait("c2", "").await.unwrap();
    client.delete("c2").await.unwrap();
    client.remove("c2").await;
}

/// Reads a FIFO while a test goes on.
fn read(fifo: &str) -> Program {
    Program::start(Command::new("cat").arg(fifo), b"")
}
