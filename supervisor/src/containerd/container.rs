//! containerd's record of a container: what it is, whose it is, and its removal with its task.

use std::collections::HashMap;

use anyhow::Context;
use containerd_client::services::v1::container::Runtime;
use containerd_client::services::v1::{
    Container, CreateContainerRequest, DeleteContainerRequest, DeleteTaskRequest, KillRequest,
    ListContainersRequest, UpdateContainerRequest, WaitRequest,
};
use containerd_client::tonic::{Code, Status};
use prost_types::Any;

use super::client::{Client, QUICK, SLOW};
use crate::runtime::{CreateTask, PodName};

/// What containerd's clients call an OCI configuration.
const SPEC_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";

/// The labels by which a Pod's containers are found, as of the kubelet's (`pkg/kubelet/types/labels.go`).
const UID: &str = "io.kubernetes.pod.uid";
const NAMESPACE: &str = "io.kubernetes.pod.namespace";
const NAME: &str = "io.kubernetes.pod.name";
const CONTAINER: &str = "io.kubernetes.container.name";
/// Which instance of the container.
const ATTEMPT: &str = "carob/attempt";

/// Records a container, or replaces what an earlier try recorded.
pub async fn record(
    client: &Client,
    pod: &PodName,
    runtime: &str,
    task: &CreateTask,
) -> Result<(), Status> {
    let labels = [
        (UID, &pod.uid),
        (NAMESPACE, &pod.namespace),
        (NAME, &pod.name),
        (CONTAINER, &task.name),
        (ATTEMPT, &task.attempt.to_string()),
    ];
    let snapshot = task.rootfs.snapshot.clone();
    let (snapshotter, snapshot_key) = snapshot.map(|s| (s.snapshotter, s.key)).unwrap_or_default();
    let container = Container {
        id: task.id.clone(),
        labels: HashMap::from(labels.map(|(name, value)| (name.to_owned(), value.clone()))),
        image: task.image.clone(),
        runtime: Some(Runtime {
            name: runtime.to_owned(),
            options: None,
        }),
        spec: Some(Any {
            type_url: SPEC_TYPE.to_owned(),
            value: task.config.clone(),
        }),
        snapshotter,
        snapshot_key,
        ..Container::default()
    };
    let message = CreateContainerRequest {
        container: Some(container.clone()),
    };
    let created = client.ask(QUICK, message, |services, request| async move {
        services.containers().create(request).await
    });
    match created.await {
        Err(status) if status.code() == Code::AlreadyExists => {}
        created => return created.map(drop),
    }
    let message = UpdateContainerRequest {
        container: Some(container),
        update_mask: None,
    };
    let updated = client.ask(QUICK, message, |services, request| async move {
        services.containers().update(request).await
    });
    updated.await.map(drop)
}

/// Removes the record of a container that has no task.
pub async fn forget(client: &Client, id: &str) -> Result<(), Status> {
    let message = DeleteContainerRequest { id: id.to_owned() };
    let deleted = client.ask(QUICK, message, |services, request| async move {
        services.containers().delete(request).await
    });
    absent_is_fine(deleted.await.map(drop))
}

/// Ends a container, whatever state it is in, and removes all of it.
///
/// # Errors
/// containerd's own words when something of it stays.
pub async fn remove(client: &Client, id: &str) -> anyhow::Result<()> {
    let message = KillRequest {
        container_id: id.to_owned(),
        signal: nix::libc::SIGKILL.unsigned_abs(),
        all: true,
        ..KillRequest::default()
    };
    let killed = client.ask(QUICK, message, |services, request| async move {
        services.tasks().kill(request).await
    });
    if killed.await.is_ok() {
        let message = WaitRequest {
            container_id: id.to_owned(),
            exec_id: String::new(),
        };
        let ended = client.ask(QUICK, message, |services, request| async move {
            services.tasks().wait(request).await
        });
        // Whether it has is told by its removal.
        let _ = ended.await;
    }
    absent_is_fine(delete_task(client, id).await)
        .map_err(words)
        .with_context(|| format!("containerd does not remove the task {id}"))?;
    forget(client, id)
        .await
        .map_err(words)
        .with_context(|| format!("containerd does not remove the container {id}"))
}

/// Ends all containers of a Pod, and removes all of them.
///
/// # Errors
/// containerd's own words when something of them stays.
pub async fn remove_all(client: &Client, uid: &str) -> anyhow::Result<()> {
    let message = ListContainersRequest {
        filters: vec![format!("labels.{UID:?}=={uid:?}")],
    };
    let listed = client.ask(QUICK, message, |services, request| async move {
        services.containers().list(request).await
    });
    let listed = listed.await.map_err(words);
    let mut containers = listed
        .context("containerd does not list its containers")?
        .containers;
    // Those that joined the sandbox's namespaces first.
    containers.sort_by_key(|container| std::cmp::Reverse(created(container)));
    for container in containers {
        remove(client, &container.id).await?;
    }
    Ok(())
}

fn created(container: &Container) -> (i64, i32) {
    container
        .created_at
        .map_or((0, 0), |at| (at.seconds, at.nanos))
}

fn words(status: Status) -> anyhow::Error {
    anyhow::anyhow!("{}", status.message())
}

/// Removes a task that has ended.
pub async fn delete_task(client: &Client, id: &str) -> Result<(), Status> {
    let message = DeleteTaskRequest {
        container_id: id.to_owned(),
    };
    let deleted = client.ask(SLOW, message, |services, request| async move {
        services.tasks().delete(request).await
    });
    deleted.await.map(drop)
}

fn absent_is_fine(done: Result<(), Status>) -> Result<(), Status> {
    match done {
        Err(status) if status.code() == Code::NotFound => Ok(()),
        done => done,
    }
}
