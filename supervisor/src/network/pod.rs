//! The Pod's side: what is done inside its network namespace.

use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::Ipv4Net;

use super::address;
use super::error::NetworkError;
use super::link::{self, Link};
use super::netlink::Netlink;
use super::netns::Netns;

/// The interface of a Pod, as CNI names it.
pub(super) const INTERFACE: &str = "eth0";

/// Settings that a new interface takes over. A Pod believes no router's advertisement: with them, one Pod could
/// redirect another's IPv6 traffic (CVE-2020-10749). And duplicate addresses cannot be, so none is waited for.
const SETTINGS: [(&str, &str); 2] = [
    ("/proc/sys/net/ipv6/conf/default/accept_ra", "0"),
    ("/proc/sys/net/ipv6/conf/default/accept_dad", "0"),
];

/// A socket in the Pod's namespace, held by a thread that has moved there.
pub(super) struct PodSide {
    netlink: Netlink,
}

impl PodSide {
    /// Moves the calling thread into the namespace and switches the loopback on (IPv4 and IPv6).
    pub(super) fn enter(netns: &Netns) -> Result<PodSide, NetworkError> {
        netns.enter()?;
        let mut netlink = Netlink::open()?;
        netlink.change(&[link::up("lo")])?;
        Ok(PodSide { netlink })
    }

    /// The Pod's interface, if it is there.
    pub(super) fn interface(&mut self) -> Result<Option<Link>, NetworkError> {
        link::by_name(&mut self.netlink, INTERFACE)
    }

    /// To be called before the interface is made.
    pub(super) fn prepare(&self) -> Result<(), NetworkError> {
        for (path, value) in SETTINGS {
            write_setting(Path::new(path), value)?;
        }
        Ok(())
    }

    /// Gives the interface its address and the default route; again changes nothing.
    pub(super) fn configure(
        &mut self,
        interface: &Link,
        address: Ipv4Net,
        gateway: Ipv4Addr,
    ) -> Result<(), NetworkError> {
        self.netlink.change(&[
            link::up(&interface.name),
            address::assign(interface.index, address),
            address::default_route(interface.index, gateway),
        ])
    }
}

/// Writes a kernel setting; a kernel without IPv6 has none of its settings and needs none.
pub(super) fn write_setting(path: &Path, value: &str) -> Result<(), NetworkError> {
    match fs::write(path, value) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(NetworkError::file("write", path, error))
        }
        _ => Ok(()),
    }
}
