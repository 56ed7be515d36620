//! Facts: what the runtime told of the sandbox, the images and the containers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::pod::Pod;

/// All facts about a Pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The machine's addresses.
    pub host_ips: Vec<IpAddr>,
    /// The runtime's name.
    pub runtime: String,
    /// The sandbox that exists, is being made, or has to be removed.
    pub sandbox: Option<SandboxRecord>,
    /// There may be volumes: they are made with the first sandbox and outlive it.
    #[serde(default)]
    pub volumes: bool,
    /// Addresses of the last sandbox; the machine's with `hostNetwork`.
    pub pod_ips: Vec<IpAddr>,
    /// Every container of the Pod, by name.
    pub containers: BTreeMap<String, ContainerRecord>,
}

/// A sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxRecord {
    /// Its number, from 0.
    pub attempt: u32,
    /// The runtime's name for it, once known.
    pub id: Option<String>,
    /// The pause program's process ID, once known.
    pub pid: Option<i32>,
    /// How far it is.
    pub stage: SandboxStage,
}

/// ```text
/// Creating ──► Ready ──► Exited ──► (removed)
///     └──────► Failed ────────────────▲
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxStage {
    /// Ordered.
    Creating,
    /// Containers can be made in it.
    Ready,
    /// Could not be made; what there is of it has to be removed.
    Failed,
    /// The pause program ended.
    Exited,
}

/// A container through all its instances.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// The instance that exists, is being made, or has to be removed.
    pub instance: Option<Instance>,
    /// The image that was made ready last.
    pub image: Option<ImageRecord>,
    /// The number of the next instance.
    pub next: u32,
    /// How the last instance that ended did.
    pub ended: Option<Ended>,
    /// The same of the one before.
    pub ended_before: Option<Ended>,
}

/// One instance of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its number, from 0: the restart count.
    pub attempt: u32,
    /// The sandbox that it is in.
    pub sandbox: u32,
    /// The runtime's name for it, once known.
    pub id: Option<String>,
    /// The kernel killed one of its processes for memory.
    pub oom: bool,
    /// How far it is.
    pub stage: Stage,
}

/// ```text
/// Creating ──► Created ──► Running ──► Exited ──► (removed)
///     ▼            └───start failed──────▲
///  (gone)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Ordered.
    Creating,
    /// There, not started.
    Created,
    /// Started.
    Running {
        /// Its init's process ID.
        pid: i32,
        /// Since when.
        at: Timestamp,
    },
    /// Ended; has to be removed.
    Exited,
}

/// An image that was made ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Digest of its configuration.
    pub id: String,
    /// The normalised reference.
    pub name: String,
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its number.
    pub attempt: u32,
    /// The sandbox that it was in.
    pub sandbox: u32,
    /// The runtime's name for it.
    pub id: Option<String>,
    /// Exit code.
    pub exit_code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, …
    pub reason: String,
    /// The termination message.
    pub message: Option<String>,
    /// Absent when it never started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// When the supervisor learnt of it: what back-offs count from.
    pub seen: crate::time::Mono,
    /// What ended it, where that decides on what follows.
    #[serde(default)]
    pub cause: EndCause,
}

/// What ended an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum EndCause {
    /// Nothing that matters for what follows.
    #[default]
    Other,
    /// A probe that failed: restarted unless the policy is `Never`, whatever the exit code and the rules.
    Probe,
    /// All containers are restarted: this one too, without a back-off.
    RestartAll,
}

impl Observed {
    pub(super) fn new(pod: &Pod) -> Self {
        Self {
            host_ips: Vec::new(),
            runtime: "carob".to_owned(),
            sandbox: None,
            volumes: false,
            pod_ips: Vec::new(),
            containers: pod
                .spec
                .all_containers()
                .map(|c| (c.name.clone(), ContainerRecord::default()))
                .collect(),
        }
    }

    /// The sandbox that containers can be made in.
    pub fn ready_sandbox(&self) -> Option<&SandboxRecord> {
        self.sandbox
            .as_ref()
            .filter(|s| s.stage == SandboxStage::Ready)
    }
}

impl ContainerRecord {
    /// The instance's stage.
    pub fn stage(&self) -> Option<Stage> {
        self.instance.as_ref().map(|i| i.stage)
    }

    /// True while its program runs.
    pub fn is_running(&self) -> bool {
        matches!(self.stage(), Some(Stage::Running { .. }))
    }

    /// True once an instance has been in the runtime.
    pub fn existed(&self) -> bool {
        self.ended.is_some() || self.stage().is_some_and(|s| s != Stage::Creating)
    }
}
