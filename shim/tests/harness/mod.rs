//! A client of the shim for tests: bundles, requests and events, without containerd.
//!
//! Needs root and Debian's busybox-static. Everything is in a temporary directory and a cgroup of
//! the test's own, and goes with the value.

#![allow(dead_code, reason = "each test uses another part")]

use std::collections::HashMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use containerd_shim_protos::api::*;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{Message, MessageField};
use containerd_shim_protos::shim_sync::{Client, Events, TaskClient, create_events};
use serde_json::{Value, json};
use ttrpc::context::Context;
use ttrpc::{Code, Server, TtrpcContext};

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);

const APPLETS: &[&str] = &[
    "sh", "true", "false", "echo", "sleep", "cat", "ls", "id", "env", "kill", "mkdir", "mount",
    "stty", "head", "yes", "dd", "seq", "rm", "test", "readlink", "grep", "tr", "wc", "nohup",
    "hostname", "touch", "ps", "setsid", "usleep",
];

/// A shim started for one group of containers.
pub struct Shim {
    pub dir: tempfile::TempDir,
    pub address: String,
    pub pid: i32,
    pub client: TaskClient,
    pub events: Arc<EventLog>,
    pub namespace: String,
    events_server: Option<Server>,
    cgroup: String,
    containers: Vec<String>,
}

/// The events that the shim published.
#[derive(Default)]
pub struct EventLog {
    seen: Mutex<Vec<(String, Any)>>,
    more: Condvar,
}

impl Events for EventLog {
    fn forward(&self, _: &TtrpcContext, request: ForwardRequest) -> ttrpc::Result<Empty> {
        let envelope = request.envelope.into_option().expect("an envelope");
        assert!(envelope.timestamp.is_some());
        let event = envelope.event.into_option().expect("an event");
        self.seen
            .lock()
            .expect("no panic")
            .push((envelope.topic, event));
        self.more.notify_all();
        Ok(Empty::new())
    }
}

struct Forward(Arc<EventLog>);

impl Events for Forward {
    fn forward(&self, context: &TtrpcContext, request: ForwardRequest) -> ttrpc::Result<Empty> {
        self.0.forward(context, request)
    }
}

impl EventLog {
    /// The topics so far, of events about `id`: its own and its execs'.
    pub fn topics(&self) -> Vec<String> {
        self.seen
            .lock()
            .expect("no panic")
            .iter()
            .map(|(topic, _)| topic.clone())
            .collect()
    }

    /// Waits for `count` events of `topic`; returns them all.
    pub fn wait_for<M: Message>(&self, topic: &str, count: usize) -> Vec<M> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.seen.lock().expect("no panic");
        loop {
            let found: Vec<M> = seen
                .iter()
                .filter(|(seen, _)| seen == topic)
                .map(|(_, event)| M::parse_from_bytes(&event.value).expect("decodes"))
                .collect();
            if found.len() >= count {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "waited for {count} of {topic}; seen: {:?}",
                topics_of(&seen)
            );
            seen = self.more.wait_timeout(seen, left).expect("no panic").0;
        }
    }
}

fn topics_of(seen: &[(String, Any)]) -> Vec<&str> {
    seen.iter().map(|(topic, _)| topic.as_str()).collect()
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A name that no other test uses.
pub fn unique(prefix: &str) -> String {
    format!(
        "{prefix}-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// The shim's program.
pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_containerd-shim-carob-v1"))
}

/// Runs the shim's program in `bundle`.
pub fn run(bundle: &Path, events: &str, args: &[&str]) -> Output {
    Command::new(program())
        .args(args)
        .current_dir(bundle)
        .env("TTRPC_ADDRESS", events)
        .output()
        .expect("the shim's program runs")
}

/// A root file system with busybox.
pub fn base_rootfs(dir: &Path) -> PathBuf {
    let base = dir.join("base");
    for sub in ["bin", "proc", "sys", "dev", "tmp", "etc", "root", "data"] {
        std::fs::create_dir_all(base.join(sub)).expect("made");
    }
    std::fs::copy("/bin/busybox", base.join("bin/busybox")).expect("busybox-static is installed");
    for applet in APPLETS {
        symlink("busybox", base.join("bin").join(applet)).expect("linked");
    }
    std::fs::write(base.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").expect("written");
    base
}

/// A configuration such as containerd makes, running `args`.
pub fn config(args: &[&str]) -> Value {
    let capabilities = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETFCAP",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
        "CAP_KILL",
        "CAP_AUDIT_WRITE",
    ];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": ["PATH=/bin:/usr/bin"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs" },
        "hostname": "test",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc",
              "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs",
              "options": ["nosuid", "noexec", "nodev", "ro"] },
        ],
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
                { "type": "network" },
            ],
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"],
        },
    })
}

impl Shim {
    /// Starts a shim, with somebody who takes its events.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        base_rootfs(dir.path());
        let events = Arc::new(EventLog::default());
        let events_server = serve_events(&events_address(dir.path()), &events);
        let mut shim = Self::start_in(dir, events);
        shim.events_server = Some(events_server);
        shim
    }

    /// Starts a shim while nobody takes its events.
    pub fn start_unheard() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        base_rootfs(dir.path());
        Self::start_in(dir, Arc::new(EventLog::default()))
    }

    fn start_in(dir: tempfile::TempDir, events: Arc<EventLog>) -> Self {
        let namespace = unique("ns");
        let bundle = dir.path().join("first");
        std::fs::create_dir(&bundle).expect("made");
        std::fs::write(bundle.join("config.json"), config(&["true"]).to_string()).expect("written");
        let address = events_address(dir.path());
        let output = run(&bundle, &address, &start_args(&namespace, "first"));
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let address = String::from_utf8(output.stdout).expect("an address");
        let client = TaskClient::new(Client::connect(&address).expect("the shim listens"));
        let connected = client
            .connect(context(), &ConnectRequest::default())
            .expect("the shim answers");
        let cgroup = format!("/carob/{namespace}");
        Self {
            dir,
            address,
            pid: connected.shim_pid as i32,
            client,
            events,
            namespace,
            events_server: None,
            cgroup,
            containers: vec!["first".into()],
        }
    }

    /// From now on somebody takes the events.
    pub fn hear(&mut self) {
        self.events_server = Some(serve_events(&events_address(self.dir.path()), &self.events));
    }

    /// Nobody takes events any more.
    pub fn unhear(&mut self) {
        if let Some(server) = self.events_server.take() {
            server.shutdown();
        }
    }

    /// Makes a bundle from `config`, in a cgroup of its own.
    pub fn bundle(&mut self, id: &str, mut config: Value) -> PathBuf {
        let bundle = self.dir.path().join(id);
        std::fs::create_dir_all(&bundle).expect("made");
        if config["linux"].is_object() && config["linux"]["cgroupsPath"].is_null() {
            config["linux"]["cgroupsPath"] = json!(format!("{}/{id}", self.cgroup));
        }
        std::fs::write(bundle.join("config.json"), config.to_string()).expect("written");
        self.containers.push(id.to_owned());
        bundle
    }

    /// A request for a container in `bundle` with the usual root file system.
    pub fn request(&self, id: &str, bundle: &Path) -> CreateTaskRequest {
        let (upper, work) = (bundle.join("upper"), bundle.join("work"));
        std::fs::create_dir_all(&upper).expect("made");
        std::fs::create_dir_all(&work).expect("made");
        let options = vec![
            format!("lowerdir={}", self.dir.path().join("base").display()),
            format!("upperdir={}", upper.display()),
            format!("workdir={}", work.display()),
        ];
        CreateTaskRequest {
            id: id.to_owned(),
            bundle: bundle.display().to_string(),
            rootfs: vec![Mount {
                type_: "overlay".into(),
                source: "overlay".into(),
                options,
                ..Mount::default()
            }],
            ..CreateTaskRequest::default()
        }
    }

    /// Creates a container from `config`.
    pub fn create(&mut self, id: &str, config: Value) -> ttrpc::Result<CreateTaskResponse> {
        let bundle = self.bundle(id, config);
        self.client.create(context(), &self.request(id, &bundle))
    }

    /// Creates a container whose outputs go to files; they are returned.
    pub fn create_with_output(&mut self, id: &str, config: Value) -> ttrpc::Result<PathBuf> {
        let bundle = self.bundle(id, config);
        let mut request = self.request(id, &bundle);
        let output = bundle.join("output");
        request.stdout = format!("file://{}", output.display());
        request.stderr = request.stdout.clone();
        self.client.create(context(), &request)?;
        Ok(output)
    }

    pub fn start_container(&self, id: &str) -> ttrpc::Result<StartResponse> {
        self.start_process(id, "")
    }

    pub fn start_process(&self, id: &str, exec_id: &str) -> ttrpc::Result<StartResponse> {
        let request = StartRequest {
            id: id.into(),
            exec_id: exec_id.into(),
            ..StartRequest::default()
        };
        self.client.start(context(), &request)
    }

    pub fn wait(&self, id: &str, exec_id: &str) -> ttrpc::Result<WaitResponse> {
        let request = WaitRequest {
            id: id.into(),
            exec_id: exec_id.into(),
            ..WaitRequest::default()
        };
        self.client.wait(context(), &request)
    }

    pub fn state(&self, id: &str, exec_id: &str) -> ttrpc::Result<StateResponse> {
        let request = StateRequest {
            id: id.into(),
            exec_id: exec_id.into(),
            ..StateRequest::default()
        };
        self.client.state(context(), &request)
    }

    pub fn kill(&self, id: &str, exec_id: &str, signal: u32, all: bool) -> ttrpc::Result<Empty> {
        let request = KillRequest {
            id: id.into(),
            exec_id: exec_id.into(),
            signal,
            all,
            ..KillRequest::default()
        };
        self.client.kill(context(), &request)
    }

    pub fn delete(&self, id: &str, exec_id: &str) -> ttrpc::Result<DeleteResponse> {
        let request = DeleteRequest {
            id: id.into(),
            exec_id: exec_id.into(),
            ..DeleteRequest::default()
        };
        self.client.delete(context(), &request)
    }

    /// Adds an exec of `process`, an OCI process.
    pub fn exec(
        &self,
        id: &str,
        exec_id: &str,
        process: &Value,
        stdout: &str,
    ) -> ttrpc::Result<Empty> {
        let request = ExecProcessRequest {
            id: id.into(),
            exec_id: exec_id.into(),
            stdout: stdout.into(),
            stderr: stdout.into(),
            terminal: process["terminal"].as_bool().unwrap_or(false),
            spec: MessageField::some(Any {
                type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".into(),
                value: process.to_string().into_bytes(),
                ..Any::default()
            }),
            ..ExecProcessRequest::default()
        };
        self.client.exec(context(), &request)
    }

    /// Runs a container to its end: (exit status, output).
    pub fn run_container(&mut self, id: &str, config: Value) -> (u32, String) {
        let output = self.create_with_output(id, config).expect("created");
        self.start_container(id).expect("started");
        let status = self.wait(id, "").expect("ended").exit_status;
        self.delete(id, "").expect("deleted");
        (status, std::fs::read_to_string(output).unwrap_or_default())
    }

    /// Runs an exec to its end: (exit status, output).
    pub fn run_exec(&self, id: &str, exec_id: &str, process: &Value) -> (u32, String) {
        let output = self.dir.path().join(format!("{id}-{exec_id}.out"));
        let url = format!("file://{}", output.display());
        self.exec(id, exec_id, process, &url).expect("added");
        self.start_process(id, exec_id).expect("started");
        let status = self.wait(id, exec_id).expect("ended").exit_status;
        self.delete(id, exec_id).expect("deleted");
        (status, std::fs::read_to_string(output).unwrap_or_default())
    }

    /// The directories of the test's cgroup that exist, over all hierarchies.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let mut roots = vec![PathBuf::from("/sys/fs/cgroup")];
        roots.extend(
            std::fs::read_dir("/sys/fs/cgroup")
                .expect("cgroups are mounted")
                .map(|entry| entry.expect("listed").path()),
        );
        roots
            .into_iter()
            .map(|root| root.join(self.cgroup.trim_start_matches('/')))
            .filter(|path| path.is_dir())
            .flat_map(|path| {
                let children = std::fs::read_dir(&path).expect("listed");
                children
                    .map(|entry| entry.expect("listed").path())
                    .collect::<Vec<_>>()
            })
            .filter(|path| path.is_dir())
            .collect()
    }

    /// Open descriptors of the shim.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid))
            .expect("it runs")
            .count()
    }

    /// Children of the shim: (process id, state).
    pub fn children(&self) -> Vec<(i32, char)> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid);
        let children = std::fs::read_to_string(path).unwrap_or_default();
        children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .filter_map(|pid: i32| Some((pid, process_state(pid)?)))
            .collect()
    }

    /// Asks the shim to end, and waits until it has.
    pub fn shutdown(&self) {
        self.client
            .shutdown(context(), &ShutdownRequest::default())
            .expect("it answers");
        wait_until("the shim ends", || {
            process_state(self.pid).is_none_or(|state| state == 'Z')
        });
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        for id in std::mem::take(&mut self.containers) {
            let bundle = self.dir.path().join(&id);
            if bundle.is_dir() {
                let output = slow("delete", || {
                    run(&bundle, "", &delete_args(&self.namespace, &id))
                });
                if !output.status.success() {
                    eprintln!("delete {id}: {}", String::from_utf8_lossy(&output.stderr));
                }
            }
        }
        // SAFETY: sends a signal; the shim was started by this test.
        unsafe { libc::kill(self.pid, libc::SIGTERM) };
        let deadline = Instant::now() + PATIENCE;
        slow("the shim's end", || {
            while process_state(self.pid).is_some_and(|state| state != 'Z')
                && Instant::now() < deadline
            {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        slow("the end of the events' server", || self.unhear());
    }
}

/// Says what took unusually long.
fn slow<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = act();
    if started.elapsed() > Duration::from_secs(3) {
        eprintln!("{what} took {:?}", started.elapsed());
    }
    done
}

fn events_address(dir: &Path) -> String {
    dir.join("events.sock").display().to_string()
}

fn serve_events(address: &str, log: &Arc<EventLog>) -> Server {
    let _ = std::fs::remove_file(address);
    let mut server = Server::new()
        .bind(&format!("unix://{address}"))
        .expect("bound")
        .register_service(create_events(Arc::new(Forward(log.clone()))));
    server.start().expect("started");
    server
}

/// The flags of `start`.
pub fn start_args<'a>(namespace: &'a str, id: &'a str) -> Vec<&'a str> {
    vec![
        "-namespace",
        namespace,
        "-id",
        id,
        "-address",
        "/nowhere",
        "-publish-binary",
        "x",
        "start",
    ]
}

/// The flags of `delete`.
pub fn delete_args<'a>(namespace: &'a str, id: &'a str) -> Vec<&'a str> {
    vec![
        "-namespace",
        namespace,
        "-id",
        id,
        "-address",
        "/nowhere",
        "delete",
    ]
}

/// A context with a limit, so that a hung shim fails the test.
pub fn context() -> Context {
    ttrpc::context::with_duration(PATIENCE)
}

/// The error's code and text.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: ttrpc::Result<T>) -> (Code, String) {
    match result.expect_err("it is refused") {
        ttrpc::Error::RpcStatus(status) => (status.code(), status.message().to_owned()),
        other => panic!("not an answer of the shim: {other}"),
    }
}

/// A process' state letter in `/proc`.
pub fn process_state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Waits for a condition that has no event to wait for.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The host's mounts.
pub fn host_mounts() -> HashMap<String, String> {
    std::fs::read_to_string("/proc/self/mountinfo")
        .expect("readable")
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            (fields[4].to_owned(), line.to_owned())
        })
        .collect()
}
