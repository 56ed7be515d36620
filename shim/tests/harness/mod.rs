//! A client of the shim for tests: bundles, requests and events, without containerd.
//!
//! Needs root and Debian's busybox-static. Everything is in a temporary directory and a cgroup of
//! the test's own, and goes with the value.

#![allow(dead_code, unused_imports, reason = "each test uses another part")]

mod config;
mod events;
mod machine;
mod requests;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use containerd_shim_protos::api::*;
use containerd_shim_protos::shim_sync::{Client, TaskClient};
use serde_json::{Value, json};
use ttrpc::context::Context;
use ttrpc::{Code, Server};

pub use config::{base_rootfs, config, held_up, push};
pub use events::EventLog;
pub use machine::{host_mounts, memory_of, process_state, wait_until};
pub use requests::frame;

use events::{events_address, serve_events};
use machine::slow;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(120);

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

    /// Starts another shim for the group, after the first has ended.
    pub fn start_again(&mut self) {
        let bundle = self.dir.path().join("first");
        let events = events_address(self.dir.path());
        let output = run(&bundle, &events, &start_args(&self.namespace, "first"));
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{why}");
        self.connect();
    }

    /// Connects to whoever serves the group now.
    fn connect(&mut self) {
        self.client = TaskClient::new(Client::connect(&self.address).expect("the shim listens"));
        let connected = self.client.connect(context(), &ConnectRequest::default());
        self.pid = connected.expect("the shim answers").shim_pid as i32;
    }

    /// Leaves the containers out of the clean-up: they are gone already.
    pub fn forget(&mut self) {
        self.containers.clear();
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
