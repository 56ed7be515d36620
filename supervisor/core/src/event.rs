//! What happened to a Pod: the results of actions, what its containers did by themselves, and requests.
//!
//! Events may come late, twice, or for an instance that is gone: folding them is harmless then.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::action::ProbeKind;

/// Something that happened. `attempt` names an instance: the sandbox's or container's number, from 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// What the status tells of the machine; sent once at the start and when it changes.
    Node {
        /// Its addresses, the main one first.
        host_ips: Vec<IpAddr>,
        /// The runtime's name, the scheme of `containerID` (`carob`, `containerd`).
        runtime: String,
    },
    /// Someone wants the Pod gone. Of several requests the one that ends earliest wins.
    DeleteRequested {
        /// Seconds between the stop signal and SIGKILL; the Pod's own grace period when absent.
        /// 0 is force: SIGKILL at once.
        grace_seconds: Option<u64>,
    },

    /// The machine can't keep the Pod. It fails with the reason `Evicted`; that it is being deleted already only gets
    /// shorter by it.
    Evict {
        /// For the status and the event.
        message: String,
        /// Seconds between the stop signal and SIGKILL, at least 1.
        grace_seconds: u64,
        /// It goes for others' sake: it gets the condition `DisruptionTarget`.
        disruption: bool,
        /// It was not let in at all (`rejectPod`, pkg/kubelet/kubelet.go).
        rejected: bool,
    },

    /// Answers `CreateSandbox`: namespaces, network and volumes are there.
    SandboxCreated {
        /// Which sandbox.
        attempt: u32,
        /// The runtime's name for it.
        id: String,
        /// The pause program, in the machine's PID namespace.
        pid: i32,
        /// The Pod's addresses, the main one first; none with `hostNetwork`.
        ips: Vec<IpAddr>,
    },
    /// Answers `CreateSandbox`: it could not be made.
    SandboxFailed {
        /// Which sandbox.
        attempt: u32,
        /// Why.
        message: String,
    },
    /// Answers `CreateSandbox`: a volume is not there yet.
    VolumesFailed {
        /// Which sandbox.
        attempt: u32,
        /// Why.
        message: String,
    },
    /// The pause program ended without being asked to.
    SandboxExited {
        /// Which sandbox.
        attempt: u32,
    },
    /// Answers `RemoveSandbox`: nothing of it is left.
    SandboxRemoved {
        /// Which sandbox.
        attempt: u32,
        /// As it was asked for: with the volumes.
        last: bool,
    },
    /// Answers `RemoveSandbox`: something is left.
    SandboxRemoveFailed {
        /// Which sandbox.
        attempt: u32,
        /// As it was asked for: with the volumes.
        last: bool,
        /// What and why.
        message: String,
    },

    /// An `EnsureImage` found that it must pull.
    PullStarted {
        /// The container's name.
        container: String,
    },
    /// Answers `EnsureImage`: the image is there, unpacked.
    ImageReady {
        /// The container's name.
        container: String,
        /// Digest of the image's configuration.
        image_id: String,
        /// The normalised reference.
        image: String,
        /// How the pull went; absent when the image was present.
        pulled: Option<Pulled>,
    },
    /// Answers `EnsureImage`: there is no image to use.
    ImageFailed {
        /// The container's name.
        container: String,
        /// Which kind of failure.
        reason: ImageFailure,
        /// Why.
        message: String,
    },

    /// Answers `CreateContainer`.
    ContainerCreated {
        /// The container's name.
        container: String,
        /// Which instance.
        attempt: u32,
        /// The runtime's name for it.
        id: String,
    },
    /// Answers `StartContainer`: the program runs, or ran: its exit may have been told before.
    ContainerStarted {
        /// The container's name.
        container: String,
        /// Which instance.
        attempt: u32,
        /// Its init, in the machine's PID namespace.
        pid: i32,
        /// When.
        at: Timestamp,
    },
    /// Answers `CreateContainer` (nothing is left of it then) or `StartContainer` (it is to be removed).
    ContainerFailed {
        /// The container's name.
        container: String,
        /// Which instance.
        attempt: u32,
        /// Which kind of failure.
        reason: StartFailure,
        /// Why.
        message: String,
    },
    /// Answers `Probe`.
    Probed {
        /// The container's name.
        container: String,
        /// Which instance.
        attempt: u32,
        /// Which of its probes.
        kind: ProbeKind,
        /// How it went.
        result: ProbeResult,
        /// What a kubelet writes into the event: the command's output, `HTTP probe failed with statuscode: 500`,
        /// the error. At most 10 KiB; empty when there is nothing to say.
        output: String,
    },
    /// Answers `PostStart`.
    PostStartDone {
        /// The container's name.
        container: String,
        /// Which instance.
        attempt: u32,
        /// Why it failed; none when it did not.
        failure: Option<String>,
    },
    /// Answers `PreStop`.
    PreStopDone {
        /// The container's name.
        container: String,
        /// Which instance.
        attempt: u32,
        /// Why it failed; none when it did not.
        failure: Option<String>,
    },
    /// An HTTPS hook was answered in plain HTTP and then done so (`runHTTPHandler`,
    /// pkg/kubelet/lifecycle/handlers.go). The hook's answer follows.
    HookFellBack {
        /// The container's name.
        container: String,
        /// Which instance.
        attempt: u32,
        /// Host and port that were asked.
        host: String,
    },
    /// The kernel killed a process of the container because its memory was used up.
    ContainerOom {
        /// The container's name.
        container: String,
        /// Which instance.
        attempt: u32,
    },
    /// The container's init ended.
    ContainerExited {
        /// The container's name.
        container: String,
        /// Which instance.
        attempt: u32,
        /// 0–255; 128 + signal when a signal ended it.
        exit_code: i32,
        /// The signal that ended it.
        signal: Option<i32>,
        /// When.
        at: Timestamp,
        /// The termination message.
        message: Option<String>,
    },
    /// The container is gone and nobody knows how it ended (its shim died).
    ContainerLost {
        /// The container's name.
        container: String,
        /// Which instance.
        attempt: u32,
        /// When that was found.
        at: Timestamp,
        /// What is known of it.
        message: String,
    },
    /// Answers `RemoveContainer`.
    ContainerRemoved {
        /// The container's name.
        container: String,
        /// Which instance.
        attempt: u32,
    },
    /// Answers `RemoveContainer`: something is left.
    ContainerRemoveFailed {
        /// The container's name.
        container: String,
        /// Which instance.
        attempt: u32,
        /// What and why.
        message: String,
    },
    /// A `Signal` could not be delivered. One that was has no answer of its own.
    SignalFailed {
        /// The container's name.
        container: String,
        /// Which instance.
        attempt: u32,
        /// Why.
        message: String,
    },
}

/// How a probe went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeResult {
    /// Good.
    Success,
    /// Good, but someone should know: a redirect to another host.
    Warning,
    /// Bad; also a command or request that took too long.
    Failure,
    /// It could not be asked, in any of three tries at once: the result counts for nothing.
    Unknown,
}

/// How a pull went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    /// Milliseconds of pulling.
    pub took_ms: u64,
    /// The same with the time that it waited for its turn.
    pub waited_ms: u64,
    /// Size of the image.
    pub bytes: u64,
}

/// Why there is no image, in a kubelet's words (`pkg/kubelet/images/types.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageFailure {
    /// The registry or the image is at fault.
    ErrImagePull,
    /// The reference can't be parsed: never retried, as only a new manifest can help.
    InvalidImageName,
    /// `imagePullPolicy: Never` and no such image here.
    ErrImageNeverPull,
    /// The image here can't be read.
    ImageInspectError,
    /// The registry does not answer.
    RegistryUnavailable,
    /// The image's signature is not accepted.
    SignatureValidationFailed,
}

impl ImageFailure {
    /// The `reason` of the waiting state.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ErrImagePull => "ErrImagePull",
            Self::InvalidImageName => "InvalidImageName",
            Self::ErrImageNeverPull => "ErrImageNeverPull",
            Self::ImageInspectError => "ImageInspectError",
            Self::RegistryUnavailable => "RegistryUnavailable",
            Self::SignatureValidationFailed => "SignatureValidationFailed",
        }
    }
}

/// Why a container did not start, in a kubelet's words (`pkg/kubelet/kuberuntime/kuberuntime_container.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartFailure {
    /// What the manifest asks for is not there or contradicts itself.
    CreateContainerConfigError,
    /// The runtime refused to create it.
    CreateContainerError,
    /// It was created and did not start.
    RunContainerError,
}

impl StartFailure {
    /// The `reason` of the waiting state.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateContainerConfigError => "CreateContainerConfigError",
            Self::CreateContainerError => "CreateContainerError",
            Self::RunContainerError => "RunContainerError",
        }
    }
}
