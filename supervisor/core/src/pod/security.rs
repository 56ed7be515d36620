//! Security settings of a Pod and of its containers.

use serde::{Deserialize, Serialize};

/// `spec.securityContext`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PodSecurity {
    /// Default for the containers.
    pub run_as_user: Option<u32>,
    /// Default for the containers.
    pub run_as_group: Option<u32>,
    /// Default for the containers.
    pub run_as_non_root: Option<bool>,
    /// Group that owns the Pod's volumes and every process has.
    pub fs_group: Option<u32>,
    /// Only change a volume's owner when its root differs (`fsGroupChangePolicy: OnRootMismatch`).
    pub fs_group_on_root_mismatch: bool,
    /// Groups that every process has.
    pub supplemental_groups: Vec<u32>,
    /// Leave out the groups that the image's `/etc/group` gives the user
    /// (`supplementalGroupsPolicy: Strict`).
    pub supplemental_groups_strict: bool,
    /// Default for the containers.
    pub seccomp: Option<SeccompProfile>,
    /// Kernel parameters of the Pod's namespaces.
    pub sysctls: Vec<Sysctl>,
}

/// A kernel parameter, from the list that is safe in a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctl {
    /// Such as `net.ipv4.ip_local_port_range`.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A container's `securityContext`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Security {
    /// The user; else the Pod's, else the image's.
    pub run_as_user: Option<u32>,
    /// The primary group; else the Pod's, else the image's, else 0.
    pub run_as_group: Option<u32>,
    /// Refuse to start as user 0.
    pub run_as_non_root: Option<bool>,
    /// All capabilities, all devices, nothing masked.
    pub privileged: bool,
    /// `false` sets `no_new_privs`.
    pub allow_privilege_escalation: Option<bool>,
    /// Root file system read-only.
    pub read_only_root_filesystem: bool,
    /// Added to and dropped from the default set.
    pub capabilities: Capabilities,
    /// System-call filter.
    pub seccomp: Option<SeccompProfile>,
    /// What of `/proc` is masked.
    pub proc_mount: ProcMount,
}

/// `capabilities`, names in upper case without `CAP_`, known to Linux, or `ALL`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// Added.
    pub add: Vec<String>,
    /// Dropped.
    pub drop: Vec<String>,
}

/// `seccompProfile`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompProfile {
    /// No filter.
    Unconfined,
    /// The runtime's default filter (containerd's).
    RuntimeDefault,
    /// A profile file below the machine's seccomp directory; relative, without `..`.
    Localhost(String),
}

/// `procMount`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ProcMount {
    /// Masked and read-only paths as container runtimes have them.
    #[default]
    Default,
    /// None.
    Unmasked,
}
