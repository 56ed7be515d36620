//! A container of a Pod.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::action::ProbeKind;

use super::{EnvFrom, KeyRef, Lifecycle, Probe, Quantity, RestartPolicy, RestartRule, Security};

/// One container, init container or sidecar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// A DNS label, unique among all containers of the Pod.
    pub name: String,
    /// The image reference as written.
    pub image: String,
    /// When the image is pulled.
    pub image_pull_policy: ImagePullPolicy,
    /// An init container with `restartPolicy: Always`: keeps running beside the others.
    pub sidecar: bool,
    /// The container's own policy, instead of the Pod's. Absent for a sidecar, which is always restarted.
    pub restart_policy: Option<RestartPolicy>,
    /// Exceptions from the policy, the first that matches wins; at most 20. Only with a policy of its own.
    pub restart_rules: Vec<RestartRule>,
    /// Until it has succeeded the container is not started and the other probes wait. Like all probes and hooks
    /// not there for init containers that are no sidecars.
    pub startup_probe: Option<Probe>,
    /// Ends the container when it fails.
    pub liveness_probe: Option<Probe>,
    /// Makes the container ready and unready.
    pub readiness_probe: Option<Probe>,
    /// Hooks and stop signal.
    pub lifecycle: Lifecycle,
    /// Replaces the image's entry point. `$(VAR)` not yet expanded.
    pub command: Vec<String>,
    /// Replaces the image's arguments. `$(VAR)` not yet expanded.
    pub args: Vec<String>,
    /// Replaces the image's working directory; absolute.
    pub working_dir: Option<String>,
    /// Ports, for information and for named ports.
    pub ports: Vec<ContainerPort>,
    /// Environment, in order: later values see earlier ones.
    pub env: Vec<EnvVar>,
    /// What comes before it: all keys of ConfigMaps and Secrets.
    #[serde(default)]
    pub env_from: Vec<EnvFrom>,
    /// Requests and limits.
    pub resources: Resources,
    /// What is mounted where.
    pub volume_mounts: Vec<VolumeMount>,
    /// Security settings; absent ones come from the Pod's.
    pub security: Security,
    /// Where the container may leave its last words; absolute.
    pub termination_message_path: String,
    /// What they are when that file is empty.
    pub termination_message_policy: TerminationMessagePolicy,
    /// Keep standard input open.
    pub stdin: bool,
    /// Close standard input after the first attach session.
    pub stdin_once: bool,
    /// Run on a terminal.
    pub tty: bool,
}

impl Container {
    /// `terminationMessagePath` by default.
    pub const DEFAULT_TERMINATION_MESSAGE_PATH: &str = "/dev/termination-log";

    /// A container of which a manifest says no more than name and image, with Kubernetes' defaults
    /// (`SetDefaults_Container`, `pkg/apis/core/v1/defaults.go`).
    #[must_use]
    pub fn new(name: impl Into<String>, image: impl Into<String>) -> Self {
        let image = image.into();
        Self {
            name: name.into(),
            image_pull_policy: ImagePullPolicy::default_for(&image),
            image,
            sidecar: false,
            restart_policy: None,
            restart_rules: Vec::new(),
            startup_probe: None,
            liveness_probe: None,
            readiness_probe: None,
            lifecycle: Lifecycle::default(),
            command: Vec::new(),
            args: Vec::new(),
            working_dir: None,
            ports: Vec::new(),
            env: Vec::new(),
            env_from: Vec::new(),
            resources: Resources::default(),
            volume_mounts: Vec::new(),
            security: Security::default(),
            termination_message_path: Self::DEFAULT_TERMINATION_MESSAGE_PATH.to_owned(),
            termination_message_policy: TerminationMessagePolicy::default(),
            stdin: false,
            stdin_once: false,
            tty: false,
        }
    }

    /// Its probe of this kind.
    pub fn probe(&self, kind: ProbeKind) -> Option<&Probe> {
        match kind {
            ProbeKind::Startup => self.startup_probe.as_ref(),
            ProbeKind::Liveness => self.liveness_probe.as_ref(),
            ProbeKind::Readiness => self.readiness_probe.as_ref(),
        }
    }
}

/// `imagePullPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImagePullPolicy {
    /// Ask the registry each time (default with tag `latest`).
    Always,
    /// Pull when absent (default otherwise).
    IfNotPresent,
    /// Never pull.
    Never,
}

impl ImagePullPolicy {
    /// The policy for an image when the manifest gives none: `Always` with the tag `latest`, given or implied
    /// (`SetDefaults_Container`, `pkg/apis/core/v1/defaults.go`).
    #[must_use]
    pub fn default_for(image: &str) -> Self {
        let (name, digest) = match image.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (image, None),
        };
        let last = name.rsplit('/').next().unwrap_or(name);
        let tag = last.split_once(':').map(|(_, tag)| tag);
        match (tag, digest) {
            (Some("latest"), _) | (None, None) => Self::Always,
            _ => Self::IfNotPresent,
        }
    }
}

/// `terminationMessagePolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TerminationMessagePolicy {
    /// Only the file.
    #[default]
    File,
    /// The log's end when the file is empty and the container failed.
    FallbackToLogsOnError,
}

/// One entry of `ports`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerPort {
    /// An IANA service name, unique in the container.
    pub name: Option<String>,
    /// 1–65535.
    pub container_port: u16,
    /// Port of the machine that leads here.
    pub host_port: Option<u16>,
    /// Address of the machine for `host_port`.
    pub host_ip: Option<IpAddr>,
    /// TCP unless said otherwise.
    pub protocol: Protocol,
}

/// A port's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// One entry of `env`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Printable ASCII without `=`.
    pub name: String,
    /// Where its value comes from.
    pub source: EnvSource,
}

/// Where the value of an environment variable comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnvSource {
    /// A literal, `$(VAR)` not yet expanded.
    Value(String),
    /// `fieldRef`: a path that Kubernetes' downward API allows, such as `status.podIP`.
    Field(String),
    /// `resourceFieldRef`: resource such as `limits.memory` of a container, divided and rounded up.
    Resource {
        /// The container; the one that holds the variable when absent.
        container: Option<String>,
        /// `limits.cpu`, `requests.memory`, …
        resource: String,
        /// The unit that the value is counted in; never zero.
        divisor: Quantity,
    },
    /// `configMapKeyRef` or `secretKeyRef`.
    Key(KeyRef),
}

/// Amounts by resource name (`cpu`, `memory`, `ephemeral-storage`, `hugepages-2Mi`, …).
pub type ResourceList = BTreeMap<String, Quantity>;

/// `resources`. A request that is absent has been set to its limit, as the API server does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// What the container needs.
    pub requests: ResourceList,
    /// What it may use at most.
    pub limits: ResourceList,
}

/// One entry of `volumeMounts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// Name of a volume of the Pod.
    pub name: String,
    /// Absolute, not `/`, without `:`, normalised; unique in the container.
    pub mount_path: String,
    /// Mount read-only.
    pub read_only: bool,
    /// A path below the volume's root; relative, without `..`.
    pub sub_path: Option<String>,
    /// The same with `$(VAR)`, expanded with the container's environment.
    pub sub_path_expr: Option<String>,
    /// How mounts below it travel.
    pub propagation: MountPropagation,
}

/// `mountPropagation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MountPropagation {
    /// Neither way.
    #[default]
    None,
    /// From the machine to the container.
    HostToContainer,
    /// Both ways; privileged containers only.
    Bidirectional,
}
