//! Attaching a Pod to the bridge, and taking it off again.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;

use super::bridge::{Host, Ready};
use super::error::NetworkError;
use super::link::{self, Mac, VethEnd};
use super::names::{check_uid, host_mac, pod_mac};
use super::netns::Netns;
use super::pod::{INTERFACE, PodSide};
use super::record::Record;

/// How long a Pod's interface may take to come up before it is taken as it is, and how often it is looked at.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);
const SETTLE_PAUSE: Duration = Duration::from_micros(200);

/// How a Pod is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The Pod's addresses, its `status.podIPs`: one IPv4 address now.
    pub ips: Vec<IpAddr>,
    /// The next hop of the Pod's default route: the bridge's address.
    pub gateway: IpAddr,
    /// The interface within the Pod: `eth0`.
    pub ifname: String,
    /// The host's end of the Pod's veth pair.
    pub host_ifname: String,
}

/// What a supervisor that was killed left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkLeftovers {
    /// Pods that own an address: their UIDs and addresses.
    pub pods: Vec<(String, IpAddr)>,
    /// Interfaces of Pods that are still on the bridge.
    pub interfaces: Vec<String>,
    /// The bridge.
    pub bridge: Option<String>,
}

impl NetworkLeftovers {
    /// True when there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == NetworkLeftovers::default()
    }
}

impl Host {
    /// Must run on a thread of its own, which ends in the Pod's namespace.
    pub(super) fn attach(
        &mut self,
        uid: &str,
        path: &Path,
        mac: Option<Mac>,
    ) -> Result<Attachment, NetworkError> {
        check_uid(uid)?;
        let netns = Netns::open(path)?;
        let new = self.ipam.address_of(uid).is_none();
        let (ready, address) = self.reserve(uid)?;
        let attached = self.connect(uid, &netns, &ready, address, mac);
        if attached.is_err() && new {
            // Nothing half-made stays; the first error is the one to tell.
            if let Err(error) = self.detach(uid) {
                tracing::warn!(uid, %error, "could not undo a failed attachment");
            }
        }
        attached
    }

    /// A bridge and an address on it. Once the address is on record no other process removes the bridge.
    fn reserve(&mut self, uid: &str) -> Result<(Ready, Ipv4Addr), NetworkError> {
        let ready = self.ready()?;
        let lock = self.ipam.lock()?;
        let new = self.ipam.address_of(uid).is_none();
        let address = self.ipam.allocate(&lock, uid, ready.subnet)?;
        drop(lock);
        if !ready.subnet.contains(&address) {
            return Err(NetworkError::StaleAddress {
                address: IpAddr::V4(address),
                subnet: ready.subnet,
            });
        }
        // It may have been removed just before.
        match self.ready() {
            Ok(now) if now.subnet == ready.subnet => Ok((now, address)),
            now => {
                if new {
                    let lock = self.ipam.lock()?;
                    self.ipam.release(&lock, uid)?;
                }
                now.and(Err(NetworkError::StaleAddress {
                    address: IpAddr::V4(address),
                    subnet: ready.subnet,
                }))
            }
        }
    }

    fn connect(
        &mut self,
        uid: &str,
        netns: &Netns,
        ready: &Ready,
        address: Ipv4Addr,
        mac: Option<Mac>,
    ) -> Result<Attachment, NetworkError> {
        let name = self.names.veth(uid);
        let host = link::by_name(&mut self.netlink, &name)?;
        let mut pod = PodSide::enter(netns)?;
        let mut interface = pod.interface()?;
        match (&host, &interface) {
            // Both ends are there and of one pair.
            (Some(host), Some(inside))
                if host.peer == Some(inside.index) && inside.peer == Some(host.index) =>
            {
                self.netlink.change(&[link::up(&name)])?;
            }
            (_, Some(_)) => {
                return Err(NetworkError::ForeignInterface {
                    path: netns.path.clone(),
                });
            }
            (_, None) => {
                if host.is_some() {
                    // The Pod has a new namespace; this is the pair of the old one.
                    link::delete(&mut self.netlink, &name)?;
                }
                pod.prepare()?;
                let ends = (
                    VethEnd {
                        name: &name,
                        mac: host_mac(&name),
                    },
                    VethEnd {
                        name: INTERFACE,
                        mac: mac.unwrap_or_else(|| pod_mac(address)),
                    },
                );
                let netns = netns.file.as_raw_fd();
                self.netlink.change(&[
                    link::create_veth(&ends.0, &ends.1, ready.index, ready.mtu, netns),
                    link::without_link_local(&name),
                    link::up(&name),
                ])?;
                interface = pod.interface()?;
            }
        }
        let interface = interface.ok_or_else(|| NetworkError::BadNamespace {
            path: netns.path.clone(),
            reason: "its interface vanished".to_owned(),
        })?;
        let network = Ipv4Net::new_assert(address, ready.subnet.prefix_len());
        pod.configure(&interface, network, ready.gateway)?;
        self.settle(&name, ready, &mut pod)?;
        Ok(Attachment {
            ips: vec![IpAddr::V4(address)],
            gateway: IpAddr::V4(ready.gateway),
            ifname: INTERFACE.to_owned(),
            host_ifname: name,
        })
    }

    /// Waits until packets pass. The kernel learns of a new carrier in the background; a packet sent before is lost, and
    /// TCP tries again only after a second. To be asked makes it look at once (since Linux 6.8), so the first answer
    /// is nearly always yes.
    fn settle(&mut self, veth: &str, ready: &Ready, pod: &mut PodSide) -> Result<(), NetworkError> {
        let deadline = Instant::now() + SETTLE_LIMIT;
        loop {
            // In the order in which each one's carrier follows from the one before.
            let running = pod.interface()?.is_some_and(|l| l.running)
                && link::by_name(&mut self.netlink, veth)?.is_some_and(|l| l.running)
                && link::by_index(&mut self.netlink, ready.index)?.is_some_and(|l| l.running);
            if running {
                return Ok(());
            }
            if Instant::now() >= deadline {
                tracing::warn!(interface = veth, "a Pod's interface is slow to come up");
                return Ok(());
            }
            std::thread::sleep(SETTLE_PAUSE);
        }
    }

    pub(super) fn detach(&mut self, uid: &str) -> Result<(), NetworkError> {
        check_uid(uid)?;
        let name = self.names.veth(uid);
        link::delete(&mut self.netlink, &name)?;
        if !self.ipam.exists() {
            return Ok(());
        }
        let lock = self.ipam.lock()?;
        if self.ipam.address_of(uid).is_none() {
            // Another process of this state directory may have attached it.
            self.ipam.reload(&lock)?;
        }
        self.ipam.release(&lock, uid)
    }

    pub(super) fn leftovers(
        &mut self,
        live: &HashSet<String>,
    ) -> Result<NetworkLeftovers, NetworkError> {
        let record = Record::load(&self.state)?;
        let bridge = self.bridge_name(record.as_ref());
        let pods = super::ipam::recorded(&self.state.join("ipam"))?
            .into_iter()
            .map(|(address, owner)| (owner.unwrap_or_default(), IpAddr::V4(address)))
            .filter(|(owner, _)| !live.contains(owner))
            .collect();
        let mut left = NetworkLeftovers {
            pods,
            ..NetworkLeftovers::default()
        };
        let link = match self.find_bridge(&bridge) {
            Err(NetworkError::NotOurBridge { .. }) => None,
            found => found?,
        };
        if let Some(link) = link {
            let wanted: HashSet<String> = live.iter().map(|uid| self.names.veth(uid)).collect();
            left.interfaces = link::ports(&mut self.netlink, link.index)?
                .into_iter()
                .map(|port| port.name)
                .filter(|name| !wanted.contains(name))
                .collect();
            if live.is_empty() {
                left.bridge = Some(bridge);
            }
        }
        Ok(left)
    }

    pub(super) fn prune(
        &mut self,
        live: &HashSet<String>,
    ) -> Result<NetworkLeftovers, NetworkError> {
        let mut left = self.leftovers(live)?;
        for interface in &left.interfaces {
            link::delete(&mut self.netlink, interface)?;
        }
        if !left.pods.is_empty() {
            let lock = self.ipam.lock()?;
            for uid in self.ipam.reload(&lock)? {
                if !live.contains(&uid) {
                    // Where the bridge was deleted the pair is no port of it, but it has its name.
                    link::delete(&mut self.netlink, &self.names.veth(&uid))?;
                    self.ipam.release(&lock, &uid)?;
                }
            }
        }
        if live.is_empty() && !self.close()? {
            left.bridge = None;
        }
        Ok(left)
    }
}
