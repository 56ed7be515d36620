//! What can go wrong with a Pod's network, each in one sentence with the way out.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

/// An error of the embedded network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel refused a change of links, addresses, routes or namespaces.
    #[error("cannot {what}: {source}")]
    Kernel {
        /// What was tried, as in "create the bridge carob0".
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file of the supervisor's state, or of `/proc/sys`, could not be used.
    #[error("cannot {what} {path}: {source}")]
    File {
        /// What was tried: "read", "write", "create", …
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `network.json` is not what Carob writes there.
    #[error(
        "{path} is damaged ({reason}): stop the Pods of this supervisor, delete the file and try again"
    )]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// All addresses of the subnet belong to Pods.
    #[error(
        "no address is left in the Pod subnet {subnet}: delete Pods, or give the supervisor a larger subnet"
    )]
    Exhausted {
        /// The subnet.
        subnet: Ipv4Net,
    },
    /// The wanted subnet is used by something else.
    #[error(
        "the Pod subnet {subnet} overlaps {used}, which this machine already reaches elsewhere: choose another subnet"
    )]
    SubnetTaken {
        /// The wanted subnet.
        subnet: Ipv4Net,
        /// The route, address or name server in its way.
        used: Ipv4Net,
    },
    /// Every candidate subnet is used by something else.
    #[error(
        "every private IPv4 range that Carob tries is already in use on this machine: name a free subnet for the Pods"
    )]
    NoFreeSubnet,
    /// The subnet has no room for a gateway and a Pod.
    #[error("the Pod subnet {0} is too small: it needs at least two addresses (/30 or larger)")]
    SubnetTooSmall(Ipv4Net),
    /// The settings contradict what Pods of this supervisor already use.
    #[error(
        "this supervisor's Pods use {what} {used}, not {wanted}: delete them first, or drop the setting"
    )]
    InUse {
        /// "bridge" or "subnet".
        what: &'static str,
        /// What is used.
        used: String,
        /// What was asked for.
        wanted: String,
    },
    /// A name is not one that the kernel takes for a network interface.
    #[error(
        "{0:?} is not a name for a network interface: 1 to 15 letters, digits, '-', '_' or '.', not starting with '-' or '.'"
    )]
    BadInterfaceName(String),
    /// A link of the wanted name belongs to someone else.
    #[error(
        "the network interface {name} exists and is not this supervisor's bridge: remove it (`ip link delete {name}`), or choose another bridge name"
    )]
    NotOurBridge {
        /// The interface.
        name: String,
    },
    /// The namespace has an `eth0` that this supervisor did not make.
    #[error("the network namespace {path} already has an interface eth0 that is not this Pod's")]
    ForeignInterface {
        /// The namespace.
        path: PathBuf,
    },
    /// The path names no network namespace that a Pod could have.
    #[error("{path} is not a Pod's network namespace: {reason}")]
    BadNamespace {
        /// The path.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A Pod UID that cannot be kept in a file.
    #[error("{0:?} is not a Pod UID: it must be 1 to 128 printable characters without '/'")]
    BadUid(String),
    /// A name server, search domain, option, host name or alias that cannot stand in its file.
    #[error("{field}: {reason}")]
    Invalid {
        /// The manifest field, as in `dnsConfig.nameservers[0]`.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// The address recorded for a Pod is not in the supervisor's subnet.
    #[error(
        "the Pod's recorded address {address} is outside the subnet {subnet}: delete the Pod and create it again"
    )]
    StaleAddress {
        /// The address.
        address: IpAddr,
        /// The subnet now.
        subnet: Ipv4Net,
    },
}

impl NetworkError {
    pub(super) fn kernel(what: impl Into<String>, source: io::Error) -> NetworkError {
        NetworkError::Kernel {
            what: what.into(),
            source,
        }
    }

    pub(super) fn file(what: &'static str, path: &Path, source: io::Error) -> NetworkError {
        NetworkError::File {
            what,
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> NetworkError {
        NetworkError::Invalid {
            field: field.into(),
            reason: reason.into(),
        }
    }
}
