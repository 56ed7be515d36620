//! containerd's API: containers of busybox's image, their tasks and what becomes of them.

use std::fs;
use std::future::Future;

use carob_tests::{PATIENCE, images};
use containerd_client::Client as Services;
use containerd_client::services::v1::snapshots::{
    MountsRequest, PrepareSnapshotRequest, RemoveSnapshotRequest,
};
use containerd_client::services::v1::*;
use containerd_client::tonic::{Code, Request, Response, Status};
use containerd_client::types::Mount;
use containerd_client::types::v1::{Process, Status as TaskStatus};
use prost_types::Any;
use serde_json::{Value, json};

use crate::daemon::{Containerd, RUNTIME};

const SNAPSHOTTER: &str = "overlayfs";

/// containerd as a client sees it.
#[derive(Clone)]
pub struct Client {
    services: std::sync::Arc<Services>,
    namespace: String,
    /// The configuration that containers begin with: containerd's own default.
    spec: Value,
    /// The name of the image's root file system.
    image: String,
    /// What runs the containers.
    pub runtime: &'static str,
}

/// The standard streams of a process; all are `/dev/null` by default.
#[derive(Clone, Default)]
pub struct Streams {
    pub stdin: String,
    pub stdout: String,
    pub stderr: String,
    pub terminal: bool,
}

/// An answer, or why there is none.
pub type Answer<T> = Result<T, Status>;

/// The answer's error code; `Ok` when there is no error.
pub fn code<T>(answer: &Answer<T>) -> Code {
    answer.as_ref().map_or_else(Status::code, |_| Code::Ok)
}

impl Client {
    /// Connects.
    pub async fn new(daemon: &Containerd) -> Self {
        let spec = daemon.ctr(&["oci", "spec"]).expect(0).stdout;
        Self {
            services: Services::from_path(daemon.socket()).await.unwrap().into(),
            namespace: daemon.namespace(),
            spec: serde_json::from_slice(&spec).unwrap(),
            image: only_layer(),
            runtime: RUNTIME,
        }
    }

    /// A configuration of a container that runs this command.
    pub fn spec(&self, id: &str, command: &[&str]) -> Value {
        let mut spec = self.spec.clone();
        spec["process"]["args"] = json!(command);
        spec["process"]["env"] = json!(["PATH=/bin:/sbin"]);
        spec["linux"]["cgroupsPath"] = json!(format!("/{}/{id}", self.namespace));
        spec
    }

    pub fn services(&self) -> &Services {
        &self.services
    }

    /// A request in the test's namespace.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let namespace = self.namespace.parse().unwrap();
        request
            .metadata_mut()
            .insert("containerd-namespace", namespace);
        request
    }

    /// Makes a container, and its root file system.
    pub async fn add(&self, id: &str, spec: &Value, options: Option<Any>) -> Vec<Mount> {
        let container = Container {
            id: id.to_owned(),
            runtime: Some(container::Runtime {
                name: self.runtime.to_owned(),
                options,
            }),
            spec: Some(Any {
                type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec".to_owned(),
                value: spec.to_string().into_bytes(),
            }),
            snapshotter: SNAPSHOTTER.to_owned(),
            snapshot_key: id.to_owned(),
            ..Container::default()
        };
        let message = CreateContainerRequest {
            container: Some(container),
        };
        answer(self.services.containers().create(self.request(message)))
            .await
            .unwrap();
        let message = PrepareSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            key: id.to_owned(),
            parent: self.image.clone(),
            ..PrepareSnapshotRequest::default()
        };
        let prepared = answer(self.services.snapshots().prepare(self.request(message))).await;
        prepared.unwrap().mounts
    }

    /// What a container's root file system is mounted from.
    pub async fn mounts(&self, id: &str) -> Vec<Mount> {
        let message = MountsRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            key: id.to_owned(),
        };
        let mounts = answer(self.services.snapshots().mounts(self.request(message))).await;
        mounts.unwrap().mounts
    }

    /// Removes a container, and its root file system.
    pub async fn remove(&self, id: &str) {
        // In this order: without its container the snapshot is garbage.
        let message = RemoveSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            key: id.to_owned(),
        };
        answer(self.services.snapshots().remove(self.request(message)))
            .await
            .unwrap();
        let message = DeleteContainerRequest { id: id.to_owned() };
        answer(self.services.containers().delete(self.request(message)))
            .await
            .unwrap();
    }

    /// Makes a task of a container. Returns its process ID.
    pub async fn create(&self, id: &str, rootfs: &[Mount], streams: Streams) -> Answer<u32> {
        let message = CreateTaskRequest {
            container_id: id.to_owned(),
            rootfs: rootfs.to_vec(),
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
            terminal: streams.terminal,
            ..CreateTaskRequest::default()
        };
        let created = answer(self.services.tasks().create(self.request(message))).await?;
        Ok(created.pid)
    }

    /// A container with its task, running a command. Returns its process ID.
    pub async fn run(&self, id: &str, command: &[&str]) -> u32 {
        let rootfs = self.add(id, &self.spec(id, command), None).await;
        let pid = self.create(id, &rootfs, Streams::default()).await.unwrap();
        assert_eq!(self.start(id, "").await.unwrap(), pid);
        pid
    }

    /// Starts a task or, with an ID, an exec. Returns its process ID.
    pub async fn start(&self, id: &str, exec: &str) -> Answer<u32> {
        let message = StartRequest {
            container_id: id.to_owned(),
            exec_id: exec.to_owned(),
        };
        let started = answer(self.services.tasks().start(self.request(message))).await?;
        Ok(started.pid)
    }

    /// Waits for the end of a task or an exec. Returns its exit code.
    pub async fn wait(&self, id: &str, exec: &str) -> Answer<u32> {
        let message = WaitRequest {
            container_id: id.to_owned(),
            exec_id: exec.to_owned(),
        };
        let ended = answer(self.services.tasks().wait(self.request(message))).await?;
        Ok(ended.exit_status)
    }

    /// Sends a signal.
    pub async fn kill(&self, id: &str, exec: &str, signal: u32, all: bool) -> Answer<()> {
        let message = KillRequest {
            container_id: id.to_owned(),
            exec_id: exec.to_owned(),
            signal,
            all,
        };
        answer(self.services.tasks().kill(self.request(message))).await
    }

    /// Deletes a task. Returns its exit code.
    pub async fn delete(&self, id: &str) -> Answer<u32> {
        let message = DeleteTaskRequest {
            container_id: id.to_owned(),
        };
        let deleted = answer(self.services.tasks().delete(self.request(message))).await?;
        Ok(deleted.exit_status)
    }

    /// Kills a task that runs and removes all of it.
    pub async fn end(&self, id: &str) {
        self.kill(id, "", 9, true).await.unwrap();
        self.wait(id, "").await.unwrap();
        self.delete(id).await.unwrap();
        self.remove(id).await;
    }

    /// Makes an exec of a command.
    pub async fn exec(
        &self,
        id: &str,
        exec: &str,
        command: &[&str],
        streams: Streams,
    ) -> Answer<()> {
        let mut process = self.spec(id, command)["process"].clone();
        process["terminal"] = json!(streams.terminal);
        let message = ExecProcessRequest {
            container_id: id.to_owned(),
            exec_id: exec.to_owned(),
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
            terminal: streams.terminal,
            spec: Some(Any {
                type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned(),
                value: process.to_string().into_bytes(),
            }),
        };
        answer(self.services.tasks().exec(self.request(message))).await
    }

    /// Deletes an exec. Returns its exit code.
    pub async fn delete_exec(&self, id: &str, exec: &str) -> Answer<u32> {
        let message = DeleteProcessRequest {
            container_id: id.to_owned(),
            exec_id: exec.to_owned(),
        };
        let deleted = answer(self.services.tasks().delete_process(self.request(message))).await?;
        Ok(deleted.exit_status)
    }

    /// What is known of a task or an exec.
    pub async fn get(&self, id: &str, exec: &str) -> Answer<Process> {
        let message = GetRequest {
            container_id: id.to_owned(),
            exec_id: exec.to_owned(),
        };
        let known = answer(self.services.tasks().get(self.request(message))).await?;
        Ok(known.process.unwrap())
    }

    /// The status of a task.
    pub async fn status(&self, id: &str) -> TaskStatus {
        self.get(id, "").await.unwrap().status()
    }

    /// Freezes a task.
    pub async fn pause(&self, id: &str) -> Answer<()> {
        let message = PauseTaskRequest {
            container_id: id.to_owned(),
        };
        answer(self.services.tasks().pause(self.request(message))).await
    }

    /// Lets it go on.
    pub async fn resume(&self, id: &str) -> Answer<()> {
        let message = ResumeTaskRequest {
            container_id: id.to_owned(),
        };
        answer(self.services.tasks().resume(self.request(message))).await
    }

    /// Its processes' IDs.
    pub async fn pids(&self, id: &str) -> Answer<Vec<u32>> {
        let message = ListPidsRequest {
            container_id: id.to_owned(),
        };
        let listed = answer(self.services.tasks().list_pids(self.request(message))).await?;
        Ok(listed.processes.iter().map(|process| process.pid).collect())
    }

    /// Changes its limits: an OCI `LinuxResources`.
    pub async fn update(&self, id: &str, resources: &Value) -> Answer<()> {
        let message = UpdateTaskRequest {
            container_id: id.to_owned(),
            resources: Some(Any {
                type_url: "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"
                    .to_owned(),
                value: resources.to_string().into_bytes(),
            }),
            ..UpdateTaskRequest::default()
        };
        answer(self.services.tasks().update(self.request(message))).await
    }

    /// Changes its terminal's size.
    pub async fn resize(&self, id: &str, exec: &str, width: u32, height: u32) -> Answer<()> {
        let message = ResizePtyRequest {
            container_id: id.to_owned(),
            exec_id: exec.to_owned(),
            width,
            height,
        };
        answer(self.services.tasks().resize_pty(self.request(message))).await
    }

    /// Closes its standard input.
    pub async fn close_stdin(&self, id: &str, exec: &str) -> Answer<()> {
        let message = CloseIoRequest {
            container_id: id.to_owned(),
            exec_id: exec.to_owned(),
            stdin: true,
        };
        answer(self.services.tasks().close_io(self.request(message))).await
    }

    /// Asks for a checkpoint.
    pub async fn checkpoint(&self, id: &str) -> Answer<()> {
        let message = CheckpointTaskRequest {
            container_id: id.to_owned(),
            ..CheckpointTaskRequest::default()
        };
        let made = answer(self.services.tasks().checkpoint(self.request(message))).await;
        made.map(drop)
    }

    /// Its usage: the type of containerd's message.
    pub async fn metrics(&self, id: &str) -> Answer<Vec<String>> {
        let message = MetricsRequest {
            filters: vec![format!("id=={id}")],
        };
        let metrics = answer(self.services.tasks().metrics(self.request(message))).await?;
        let kinds = metrics.metrics.into_iter().filter_map(|metric| metric.data);
        Ok(kinds.map(|data| data.type_url).collect())
    }
}

/// A call that is never answered is a failure.
pub async fn answer<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Answer<T> {
    let answered = tokio::time::timeout(PATIENCE, call).await;
    answered
        .expect("containerd answers")
        .map(Response::into_inner)
}

/// The identity of busybox's root file system: it is one layer.
fn only_layer() -> String {
    let layout = images().join("busybox");
    let parse = |file: std::path::PathBuf| -> Value {
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
    };
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap().replace(':', "/");
        parse(layout.join("blobs").join(digest))
    };
    let index = parse(layout.join("index.json"));
    let config = blob(&blob(&index["manifests"][0])["config"]);
    let layers = config["rootfs"]["diff_ids"].as_array().unwrap();
    assert_eq!(layers.len(), 1);
    layers[0].as_str().unwrap().to_owned()
}
