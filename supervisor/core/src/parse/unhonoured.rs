//! The fields of `core/v1` (as of Kubernetes 1.37) that Carob knows but does not honour, and why.
//!
//! A field is ignored only when that changes nothing on a single machine. Everything else is refused by
//! name, so that nobody is surprised in silence. The fields that are honoured are not listed: the readers
//! ask for them.

use Why::{Ignored, Never, Unsupported};

/// Why a field has no effect.
pub(super) enum Why {
    /// It changes nothing on a single machine.
    Ignored(&'static str),
    /// Refused, unless it is null or an empty list or map; the cause and the way out.
    Unsupported(&'static str),
    /// Refused, unless it is null.
    Never(&'static str),
}

/// Names with their reasons.
pub(super) type Others = &'static [(&'static str, Why)];

const BY_SERVER: Why = Ignored("set by an API server; Carob has none");
const ONE_MACHINE: Why = Ignored("for choosing a machine; Carob runs the Pod on this one");
const NO_ACCOUNTS: Why = Ignored("Carob has no service accounts and mounts no token");
const NO_CONSTRAINTS: Why =
    Unsupported("it runs the Pod on this machine, whatever its labels; remove the field");
const NO_STORAGE: Why = Never(
    "it mounts emptyDir and hostPath only; mount the storage on the machine and use hostPath",
);
const NO_TOKENS: Why = Never(
    "it has no service accounts and no cluster to vouch for them; write the file on the machine and use hostPath",
);
const NO_WINDOWS: Why = Unsupported("it runs Linux containers only; remove the field");
const NO_SELINUX: Why = Unsupported("it sets no SELinux labels yet; remove the field");
const NO_CLAIMS: Why = Unsupported("it has no dynamic resource allocation; remove the field");

pub(super) const NONE: Others = &[];

pub(super) const POD: Others = &[("status", Ignored("Carob computes the status itself"))];

pub(super) const LIST: Others = &[("metadata", BY_SERVER)];

pub(super) const METADATA: Others = &[
    ("creationTimestamp", BY_SERVER),
    ("deletionGracePeriodSeconds", BY_SERVER),
    ("deletionTimestamp", BY_SERVER),
    ("finalizers", BY_SERVER),
    ("generation", BY_SERVER),
    ("managedFields", BY_SERVER),
    ("ownerReferences", BY_SERVER),
    ("resourceVersion", BY_SERVER),
    ("selfLink", BY_SERVER),
];

pub(super) const POD_SPEC: Others = &[
    ("affinity", NO_CONSTRAINTS),
    ("automountServiceAccountToken", NO_ACCOUNTS),
    (
        "enableServiceLinks",
        Ignored("there are no Services to make variables of"),
    ),
    (
        "ephemeralContainers",
        Unsupported("Kubernetes allows them in running Pods only; make it a container"),
    ),
    (
        "evictionResponders",
        Unsupported("it evicts without asking; remove the field"),
    ),
    ("hostnameOverride", Unsupported("use hostname")),
    ("nodeName", ONE_MACHINE),
    ("nodeSelector", NO_CONSTRAINTS),
    (
        "overhead",
        Unsupported("it has no runtime classes; remove the field"),
    ),
    ("preemptionPolicy", ONE_MACHINE),
    (
        "readinessGates",
        Unsupported("nothing could open the gates; remove the field"),
    ),
    ("resourceClaims", NO_CLAIMS),
    (
        "resources",
        Unsupported(
            "it limits containers, not the Pod as a whole; give each container its resources",
        ),
    ),
    (
        "runtimeClassName",
        Unsupported("it has one runtime; remove the field"),
    ),
    ("schedulerName", ONE_MACHINE),
    (
        "schedulingGates",
        Unsupported("nothing could open the gates; remove the field"),
    ),
    ("schedulingGroup", ONE_MACHINE),
    ("serviceAccount", NO_ACCOUNTS),
    ("serviceAccountName", NO_ACCOUNTS),
    ("tolerations", ONE_MACHINE),
    ("topologySpreadConstraints", NO_CONSTRAINTS),
];

pub(super) const CONTAINER: Others = &[(
    "volumeDevices",
    Unsupported("it has no block volumes; use a hostPath volume"),
)];

pub(super) const RESOURCES: Others = &[("claims", NO_CLAIMS)];

pub(super) const VOLUME_MOUNT: Others = &[("bindMountOptions", Unsupported("remove the field"))];

pub(super) const ENV_SOURCE: Others = &[("fileKeyRef", Never("write the value into the manifest"))];

pub(super) const POD_SECURITY: Others = &[
    ("seLinuxChangePolicy", NO_SELINUX),
    ("seLinuxOptions", NO_SELINUX),
    ("windowsOptions", NO_WINDOWS),
];

pub(super) const SECURITY: Others = &[
    ("seLinuxOptions", NO_SELINUX),
    ("windowsOptions", NO_WINDOWS),
];

pub(super) const EMPTY_DIR: Others = &[("mode", Never("remove the field"))];

pub(super) const PROJECTION: Others = &[
    ("clusterTrustBundle", NO_TOKENS),
    ("podCertificate", NO_TOKENS),
    ("serviceAccountToken", NO_TOKENS),
];

pub(super) const VOLUME: Others = &[
    ("awsElasticBlockStore", NO_STORAGE),
    ("azureDisk", NO_STORAGE),
    ("azureFile", NO_STORAGE),
    ("cephfs", NO_STORAGE),
    ("cinder", NO_STORAGE),
    ("csi", NO_STORAGE),
    ("ephemeral", NO_STORAGE),
    ("fc", NO_STORAGE),
    ("flexVolume", NO_STORAGE),
    ("flocker", NO_STORAGE),
    ("gcePersistentDisk", NO_STORAGE),
    (
        "gitRepo",
        Never("it is unsafe and gone from Kubernetes; clone in an init container into an emptyDir"),
    ),
    ("glusterfs", NO_STORAGE),
    (
        "image",
        Never(
            "it makes no image volumes yet; copy the files in an init container into an emptyDir",
        ),
    ),
    ("iscsi", NO_STORAGE),
    ("nfs", NO_STORAGE),
    ("persistentVolumeClaim", NO_STORAGE),
    ("photonPersistentDisk", NO_STORAGE),
    ("portworxVolume", NO_STORAGE),
    ("quobyte", NO_STORAGE),
    ("rbd", NO_STORAGE),
    ("scaleIO", NO_STORAGE),
    ("storageos", NO_STORAGE),
    ("vsphereVolume", NO_STORAGE),
];
