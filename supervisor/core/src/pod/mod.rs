//! What a Pod is, once parsed: every value valid, every default applied, nothing unknown left.
//!
//! The types follow Kubernetes' `core/v1` ([Pod API reference]) but hold parsed values (bytes, ports,
//! enums) where the API has strings, so that no later code has to check them again.
//!
//! [Pod API reference]: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/

mod container;
mod files;
mod probe;
mod quantity;
mod restart;
mod security;
mod volume;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use container::{
    Container, ContainerPort, EnvSource, EnvVar, ImagePullPolicy, MountPropagation, Protocol,
    ResourceList, Resources, TerminationMessagePolicy, VolumeMount,
};
pub use files::{
    DownwardFile, DownwardValue, EnvFrom, FileForm, FileSource, FileVolume, KeyRef, KeyToPath,
    ObjectRef,
};
pub use probe::{
    HookHandler, HttpGet, Lifecycle, Port, Probe, ProbeHandler, Scheme, StopSignal, TcpSocket,
};
pub use quantity::{ParseQuantityError, Quantity};
pub use restart::{ExitCodeOperator, RestartAction, RestartPolicy, RestartRule};
pub use security::{Capabilities, PodSecurity, ProcMount, SeccompProfile, Security, Sysctl};
pub use volume::{HostPathType, Medium, Volume, VolumeSource};

/// A Pod as its manifest describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// Who the Pod is.
    pub metadata: Metadata,
    /// What the Pod shall be.
    pub spec: PodSpec,
}

/// The part of `ObjectMeta` that a node needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// A DNS subdomain of at most 253 characters.
    pub name: String,
    /// A DNS label; `default` when the manifest has none.
    pub namespace: String,
    /// Identifies this Pod among all that ever had its name. Letters, digits and `-` only, as it names
    /// directories; made by the caller of the parser when the manifest has none.
    pub uid: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
}

impl Metadata {
    /// The namespace of a Pod whose manifest names none.
    pub const DEFAULT_NAMESPACE: &str = "default";

    /// Name and UID in the default namespace, without labels and annotations.
    #[must_use]
    pub fn new(name: impl Into<String>, uid: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            namespace: Self::DEFAULT_NAMESPACE.to_owned(),
            uid: uid.into(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }
}

/// `PodSpec`, parsed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodSpec {
    /// Run in order before [`containers`](Self::containers); those with
    /// [`Container::sidecar`] keep running beside them.
    pub init_containers: Vec<Container>,
    /// At least one.
    pub containers: Vec<Container>,
    /// Names of Secrets with logins for the containers' images, the first to be tried first.
    #[serde(default)]
    pub image_pull_secrets: Vec<ObjectRef>,
    /// When a container that ended is started again.
    pub restart_policy: RestartPolicy,
    /// Who goes last when the machine is short of something; higher is more important. What has none has 0, as if no
    /// `PriorityClass` were the default one.
    #[serde(default)]
    pub priority: i32,
    /// Seconds between SIGTERM and SIGKILL; a kubelet takes a negative value for 1.
    pub termination_grace_period_seconds: u64,
    /// Seconds after which an unfinished Pod is failed with `DeadlineExceeded`.
    pub active_deadline_seconds: Option<u64>,
    /// What the containers mount.
    pub volumes: Vec<Volume>,
    /// Share the machine's network namespace instead of having one's own.
    pub host_network: bool,
    /// Share the machine's PID namespace.
    pub host_pid: bool,
    /// Share the machine's IPC namespace.
    pub host_ipc: bool,
    /// One PID namespace for all containers of the Pod.
    pub share_process_namespace: bool,
    /// The Pod's host name; the Pod's own name when absent.
    pub hostname: Option<String>,
    /// With `hostname`, makes the fully qualified name in `/etc/hosts`.
    pub subdomain: Option<String>,
    /// Further lines of `/etc/hosts`.
    pub host_aliases: Vec<HostAlias>,
    /// Where `/etc/resolv.conf` comes from.
    pub dns_policy: DnsPolicy,
    /// Added to what `dns_policy` gives.
    pub dns_config: DnsConfig,
    /// Security settings of the Pod and defaults for its containers.
    pub security: PodSecurity,
}

impl PodSpec {
    /// `terminationGracePeriodSeconds` by default.
    pub const DEFAULT_GRACE_SECONDS: u64 = 30;

    /// A Pod of which a manifest says no more than its containers, with Kubernetes' defaults (`SetDefaults_PodSpec`,
    /// `pkg/apis/core/v1/defaults.go`).
    #[must_use]
    pub fn new(containers: Vec<Container>) -> Self {
        Self {
            init_containers: Vec::new(),
            containers,
            image_pull_secrets: Vec::new(),
            restart_policy: RestartPolicy::default(),
            priority: 0,
            termination_grace_period_seconds: Self::DEFAULT_GRACE_SECONDS,
            active_deadline_seconds: None,
            volumes: Vec::new(),
            host_network: false,
            host_pid: false,
            host_ipc: false,
            share_process_namespace: false,
            hostname: None,
            subdomain: None,
            host_aliases: Vec::new(),
            dns_policy: DnsPolicy::default(),
            dns_config: DnsConfig::default(),
            security: PodSecurity::default(),
        }
    }

    /// Init containers first, then the others: every container of the Pod.
    pub fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().chain(&self.containers)
    }
}

/// One entry of `spec.hostAliases`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAlias {
    /// The address.
    pub ip: IpAddr,
    /// Its names, each a DNS subdomain.
    pub hostnames: Vec<String>,
}

/// `spec.dnsPolicy`. A machine without cluster DNS treats `ClusterFirst` as `Default`, as a kubelet does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DnsPolicy {
    /// Cluster DNS first.
    #[default]
    ClusterFirst,
    /// The same for Pods in the machine's network.
    ClusterFirstWithHostNet,
    /// The machine's `resolv.conf`.
    Default,
    /// Only `dnsConfig`.
    None,
}

/// `spec.dnsConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DnsConfig {
    /// At most 3 in all.
    pub nameservers: Vec<IpAddr>,
    /// At most 32 and 2048 characters in all.
    pub searches: Vec<String>,
    /// Resolver options, `name` or `name:value`.
    pub options: Vec<(String, Option<String>)>,
}

/// How the machine ranks the Pod (`status.qosClass`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum QosClass {
    /// Every container has limits for CPU and memory, equal to its requests.
    Guaranteed,
    /// Some container has a request or a limit.
    Burstable,
    /// None has.
    BestEffort,
}

impl QosClass {
    /// The class of a Pod, by the rules of Kubernetes' `ComputePodQOS`
    /// (`pkg/apis/core/v1/helper/qos/qos.go`): only CPU and memory above zero count.
    pub fn of(spec: &PodSpec) -> Self {
        let counted = ["cpu", "memory"];
        let positive =
            |list: &ResourceList, name: &str| list.get(name).filter(|q| !q.is_zero()).cloned();
        let (mut any, mut guaranteed) = (false, true);
        for container in spec.all_containers() {
            for name in counted {
                let request = positive(&container.resources.requests, name);
                let limit = positive(&container.resources.limits, name);
                any |= request.is_some() || limit.is_some();
                guaranteed &= limit.is_some() && request.is_none_or(|r| Some(r) == limit);
            }
        }
        match (any, guaranteed) {
            (false, _) => Self::BestEffort,
            (true, true) => Self::Guaranteed,
            (true, false) => Self::Burstable,
        }
    }
}
