//! A machine that systemd runs: containers' cgroups are scopes that it is asked for.
//!
//! Here systemd is a thread of the test, which listens where systemd does and puts processes where it would.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use carob_tests::PATIENCE;
use containerd_client::types::v1::Status;
use serde_json::json;

use crate::client::{Client, Streams, code};
use crate::daemon::{Containerd, RUNTIME};
use containerd_client::tonic::Code;
use prost_types::Any;

/// What systemd is asked: the whole message, in which names and texts are as they are.
struct Call(Vec<u8>);

impl Call {
    fn find(&self, text: &str) -> Option<usize> {
        let found = self.0.windows(text.len());
        let mut found = found
            .enumerate()
            .filter(|(_, bytes)| *bytes == text.as_bytes());
        found.next().map(|(at, _)| at + text.len())
    }

    fn has(&self, text: &str) -> bool {
        self.find(text).is_some()
    }

    /// The number of a property: behind its name's end, its type `t` and what makes it even.
    fn number(&self, property: &str) -> Option<u64> {
        let at = self
            .find(&format!("{property}\0\u{1}t\0"))?
            .next_multiple_of(8);
        Some(u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap()))
    }

    /// The only process of the scope: behind the array's type and its length.
    fn pid(&self) -> u32 {
        let at = self.find("PIDs\0\u{2}au\0").unwrap().next_multiple_of(4);
        assert_eq!(self.0[at..at + 4], 4_u32.to_le_bytes());
        u32::from_le_bytes(self.0[at + 4..at + 8].try_into().unwrap())
    }
}

/// A systemd that puts the processes of each scope into this cgroup.
fn systemd(containerd: &Containerd, scope: &str, refuses: Option<&'static str>) -> Receiver<Call> {
    let run = containerd.path().join("run/systemd");
    fs::create_dir_all(run.join("system")).unwrap();
    let listener = UnixListener::bind(run.join("private")).unwrap();
    let (calls, heard) = channel();
    let cgroups = cgroups(scope);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let gone = serve(stream.unwrap(), &cgroups, refuses, &calls);
            if gone.is_none() {
                return;
            }
        }
    });
    heard
}

/// Where systemd has it: in the unified hierarchy, or in one of its own.
fn cgroups(scope: &str) -> Vec<PathBuf> {
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd"].map(PathBuf::from);
    let own = |root: &PathBuf| {
        root.join("cgroup.procs").exists() && root.join("cgroup.procs").parent() == Some(root)
    };
    let roots = roots.into_iter().filter(own);
    roots.map(|root| root.join(scope)).collect()
}

/// Serves one client until it goes. `None` when nobody listens any more.
fn serve(
    stream: UnixStream,
    cgroups: &[PathBuf],
    refuses: Option<&str>,
    calls: &Sender<Call>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert_eq!(line, "\0AUTH EXTERNAL 30\r\n");
    stream
        .get_mut()
        .write_all(b"OK 0123456789abcdef\r\n")
        .unwrap();
    line.clear();
    stream.read_line(&mut line).unwrap();
    assert_eq!(line, "BEGIN\r\n");
    let mut head = [0; 16];
    while stream.read_exact(&mut head).is_ok() {
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        let (body, serial, fields) = (number(4), number(8), number(12));
        let mut rest = vec![0; (fields.next_multiple_of(8) + body) as usize];
        stream.read_exact(&mut rest).unwrap();
        // Whole, as padding counts from its beginning.
        let call = Call([&head[..], &rest].concat());
        // A signal that nobody asked for comes first.
        stream.get_mut().write_all(&message(4, serial, "")).unwrap();
        if let Some(why) = refuses {
            stream
                .get_mut()
                .write_all(&message(3, serial, why))
                .unwrap();
        } else {
            stream.get_mut().write_all(&message(2, serial, "")).unwrap();
            // It does so in its own time.
            if call.has("StartTransientUnit") {
                for cgroup in cgroups {
                    fs::create_dir_all(cgroup).unwrap();
                    fs::write(cgroup.join("cgroup.procs"), call.pid().to_string()).unwrap();
                }
            }
        }
        calls.send(call).ok()?;
    }
    Some(())
}

/// An answer of this kind to a call, with a text as its body.
fn message(kind: u8, to: u32, text: &str) -> Vec<u8> {
    let mut body = Vec::new();
    if !text.is_empty() {
        body.extend((text.len() as u32).to_le_bytes());
        body.extend(text.bytes());
        body.push(0);
    }
    let mut message = vec![b'l', kind, 0, 1];
    message.extend((body.len() as u32).to_le_bytes());
    message.extend(1_u32.to_le_bytes());
    // One field: which call it answers.
    message.extend(8_u32.to_le_bytes());
    message.extend([5, 1, b'u', 0]);
    message.extend(to.to_le_bytes());
    message.extend(body);
    message
}

/// containerd's options for runc with `SystemdCgroup`.
fn options() -> Option<Any> {
    Some(Any {
        type_url: "containerd.runc.v1.Options".to_owned(),
        value: vec![9 << 3, 1],
    })
}

#[tokio::test]
async fn systemd_makes_the_scope_and_knows_its_limits() {
    let containerd = Containerd::start();
    let slice = containerd.slice();
    let calls = systemd(&containerd, &format!("{slice}/test-c1.scope"), None);
    let client = Client::new(&containerd).await;
    assert_eq!(client.runtime, RUNTIME);
    let mut spec = client.spec("c1", &["sleep", "1000000"]);
    spec["linux"]["cgroupsPath"] = json!(format!("{slice}:test:c1"));
    spec["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20 });
    spec["linux"]["resources"]["pids"] = json!({ "limit": 99 });
    let rootfs = client.add("c1", &spec, options()).await;
    let pid = client.create("c1", &rootfs, Streams::default()).await;
    let pid = pid.unwrap();

    let start = calls.recv_timeout(PATIENCE).unwrap();
    for word in ["StartTransientUnit", "test-c1.scope", &slice, "Delegate"] {
        assert!(start.has(word), "{word}");
    }
    // It has another name for it in v1.
    let memory = start
        .number("MemoryMax")
        .or_else(|| start.number("MemoryLimit"));
    assert_eq!(
        (memory, start.number("TasksMax")),
        (Some(64 << 20), Some(99))
    );
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let wanted = format!(":/{slice}/test-c1.scope");
    // In every hierarchy but those of the named kind that are not systemd's.
    assert!(
        cgroup.lines().all(|line| line.ends_with(&wanted)),
        "{cgroup}"
    );
    let names = ["memory.max", "memory.limit_in_bytes"];
    let limit = containerd.cgroup_file("test-c1.scope", &names);
    assert_eq!(limit.trim(), (64 << 20).to_string());

    client.start("c1", "").await.unwrap();
    assert_eq!(client.status("c1").await, Status::Running);
    let limits = json!({ "memory": { "limit": 48 << 20 } });
    client.update("c1", &limits).await.unwrap();
    let update = calls.recv_timeout(PATIENCE).unwrap();
    assert!(update.has("SetUnitProperties") && update.has("test-c1.scope"));
    let memory = update
        .number("MemoryMax")
        .or_else(|| update.number("MemoryLimit"));
    assert_eq!(memory, Some(48 << 20));
    let limit = containerd.cgroup_file("test-c1.scope", &names);
    assert_eq!(limit.trim(), (48 << 20).to_string());
    client.end("c1").await;
}

#[tokio::test]
async fn what_systemd_refuses_is_told_and_leaves_nothing() {
    let containerd = Containerd::start();
    let slice = containerd.slice();
    let why = "Slice is not what it should be.";
    let _calls = systemd(&containerd, "unused", Some(why));
    let client = Client::new(&containerd).await;
    let mut spec = client.spec("c1", &["sleep", "1000000"]);
    spec["linux"]["cgroupsPath"] = json!(format!("{slice}:test:c1"));
    let rootfs = client.add("c1", &spec, options()).await;
    let refused = client.create("c1", &rootfs, Streams::default()).await;
    assert_ne!(code(&refused), Code::Ok);
    let told = refused.unwrap_err();
    assert!(told.message().contains(why), "{told}");
    assert!(told.message().contains("test-c1.scope"), "{told}");
    client.remove("c1").await;
}
