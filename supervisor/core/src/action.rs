//! What to do for a Pod. Every action is idempotent; a target has at most one in flight.
//!
//! Each is answered by exactly one event, named below, except [`Action::Signal`]. After a restart of the
//! supervisor an action whose answer was not recorded is issued again: its executor then finds what is
//! there and answers as if it had just done it. An executor gives up after some time, with the failing answer:
//! a Pod can't be torn down around an action that never ends.

use serde::{Deserialize, Serialize};

/// Something to do.
///
/// Probes and hooks belong to their instance: once it has ended, nobody waits for their answers any more. Their
/// executor then stops what it is doing for them; an answer does no harm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Make namespaces, network and volumes. `SandboxCreated`,
    /// `SandboxFailed` or `VolumesFailed`.
    CreateSandbox {
        /// Which sandbox.
        attempt: u32,
    },
    /// Have the container's image here, pulled if its policy says so. `ImageReady` or `ImageFailed`.
    /// It and a signal are the only actions that may still be in flight when a Pod is done: drop them then.
    EnsureImage {
        /// The container's name.
        container: String,
    },
    /// Create, from the image made ready before, in the current sandbox. `ContainerCreated` or
    /// `ContainerFailed`, after which nothing of it may be left.
    CreateContainer {
        /// The container's name.
        container: String,
        /// Which instance; also its restart count.
        attempt: u32,
    },
    /// Start. `ContainerStarted` or `ContainerFailed`; `ContainerStarted` also when it ended meanwhile.
    StartContainer {
        /// The container's name.
        container: String,
        /// Which instance.
        attempt: u32,
    },
    /// Ask the container once, as [`Container`](crate::pod::Container) says for this kind of probe. `Probed`,
    /// after the probe's `timeout_seconds` at the latest, counted from when the executor begins. Probes of
    /// different kinds are under way at the same time.
    Probe {
        /// The container's name.
        container: String,
        /// Which instance.
        attempt: u32,
        /// Which of its probes.
        kind: ProbeKind,
    },
    /// Do the container's `lifecycle.post_start`, which has no time limit. `PostStartDone`.
    PostStart {
        /// The container's name.
        container: String,
        /// Which instance.
        attempt: u32,
    },
    /// Do the container's `lifecycle.pre_stop`. `PreStopDone`, after `within_ms` at the latest. A `PostStart` under
    /// way is given up: no answer to it is waited for.
    PreStop {
        /// The container's name.
        container: String,
        /// Which instance.
        attempt: u32,
        /// Milliseconds that are left of the grace period. A hook that takes longer has failed.
        within_ms: u64,
    },
    /// Send a signal to a running container. No answer, or `SignalFailed`; a SIGKILL may be asked for
    /// while the stop signal has not been delivered yet. A hook under way is given up: no answer to it is
    /// waited for.
    Signal {
        /// The container's name.
        container: String,
        /// Which instance.
        attempt: u32,
        /// Which signal.
        signal: Signal,
    },
    /// Delete the ended container and its writable layer; keep its log. `ContainerRemoved` or
    /// `ContainerRemoveFailed`. Nothing to delete is success.
    RemoveContainer {
        /// The container's name.
        container: String,
        /// Which instance.
        attempt: u32,
    },
    /// Stop the pause program; remove the network. `SandboxRemoved` or `SandboxRemoveFailed`.
    /// Nothing to remove is success.
    RemoveSandbox {
        /// Which sandbox.
        attempt: u32,
        /// The Pod ends: remove its volumes and all else that it has too. They outlive a sandbox that is replaced, as
        /// a kubelet unmounts them from a Pod that has terminated only.
        #[serde(default)]
        last: bool,
    },
}

/// Which signal to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// The container's stop signal: `lifecycle.stop_signal`, else the image's, else SIGTERM.
    StopSignal,
    /// SIGKILL, to every process of the container.
    Kill,
}

/// Which of a container's probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ProbeKind {
    /// `startupProbe`.
    Startup,
    /// `livenessProbe`.
    Liveness,
    /// `readinessProbe`.
    Readiness,
}

impl ProbeKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// Its name in events and metrics: `Startup`, `Liveness`, `Readiness`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// What an action works on; at most one action per target is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target<'a> {
    /// The Pod's sandbox.
    Sandbox,
    /// A container's image.
    Image(&'a str),
    /// A container.
    Container(&'a str),
    /// A container's probe of one kind.
    Probe(&'a str, ProbeKind),
    /// A container's postStart hook.
    PostStart(&'a str),
    /// A container's preStop hook.
    PreStop(&'a str),
}

impl Action {
    /// What the action works on. None for a signal, which has no answer to wait for.
    pub fn target(&self) -> Option<Target<'_>> {
        match self {
            Self::CreateSandbox { .. } | Self::RemoveSandbox { .. } => Some(Target::Sandbox),
            Self::EnsureImage { container } => Some(Target::Image(container)),
            Self::CreateContainer { container, .. }
            | Self::StartContainer { container, .. }
            | Self::RemoveContainer { container, .. } => Some(Target::Container(container)),
            Self::Probe {
                container, kind, ..
            } => Some(Target::Probe(container, *kind)),
            Self::PostStart { container, .. } => Some(Target::PostStart(container)),
            Self::PreStop { container, .. } => Some(Target::PreStop(container)),
            Self::Signal { .. } => None,
        }
    }
}
