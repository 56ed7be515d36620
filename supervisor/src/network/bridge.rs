//! The supervisor's bridge: made when the first Pod needs it, found again after a restart, removed after the last.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

use super::error::NetworkError;
use super::ipam::{Ipam, Lock};
use super::link::{self, Link};
use super::names::Names;
use super::netlink::Netlink;
use super::notice::Notice;
use super::pod::write_setting;
use super::record::Record;
use super::{NetworkConfig, address, firewall, netns, resolv, subnet};

const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Ethernet's. A machine whose way out takes less gives its Pods less.
const DEFAULT_MTU: u32 = 1500;

/// The host's side of the network of one supervisor.
pub(super) struct Host {
    pub(super) state: PathBuf,
    pub(super) config: NetworkConfig,
    pub(super) names: Names,
    pub(super) netlink: Netlink,
    pub(super) ipam: Ipam,
    pub(super) notices: Vec<Notice>,
    ready: Option<Ready>,
}

/// A bridge that Pods can be attached to.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) bridge: String,
    pub(super) index: u32,
    pub(super) subnet: Ipv4Net,
    pub(super) gateway: Ipv4Addr,
    pub(super) mtu: u32,
}

impl Host {
    pub(super) fn new(
        state: PathBuf,
        config: NetworkConfig,
        netlink: Netlink,
    ) -> Result<Host, NetworkError> {
        Ok(Host {
            names: Names::new(&state),
            ipam: Ipam::load(state.join("ipam"))?,
            state,
            config,
            netlink,
            notices: Vec::new(),
            ready: None,
        })
    }

    /// The bridge that this supervisor has or would have.
    pub(super) fn bridge_name(&self, record: Option<&Record>) -> String {
        match (&self.config.bridge, record) {
            (Some(name), _) => name.clone(),
            (None, Some(record)) => record.bridge.clone(),
            (None, None) => self.names.bridge(),
        }
    }

    /// This supervisor's bridge, if it is there; an error when the name is another's.
    pub(super) fn find_bridge(&mut self, name: &str) -> Result<Option<Link>, NetworkError> {
        match link::by_name(&mut self.netlink, name)? {
            Some(link) if link.bridge && link.mac == Some(self.names.bridge_mac()) => {
                Ok(Some(link))
            }
            Some(_) => Err(NetworkError::NotOurBridge {
                name: name.to_owned(),
            }),
            None => Ok(None),
        }
    }

    /// Makes the bridge, its address, forwarding and masquerading, whatever of it is missing.
    pub(super) fn ready(&mut self) -> Result<Ready, NetworkError> {
        if let Some(ready) = self.ready.clone() {
            let now = link::by_name(&mut self.netlink, &ready.bridge)?;
            if now.is_some_and(|link| link.index == ready.index) {
                return Ok(ready);
            }
        }
        let _machine = netns::lock_own()?;
        let lock = self.ipam.lock()?;
        let ready = self.prepare(&lock)?;
        self.ready = Some(ready.clone());
        Ok(ready)
    }

    fn prepare(&mut self, lock: &Lock) -> Result<Ready, NetworkError> {
        let in_use = !self.ipam.reload(lock)?.is_empty();
        let mut old = Record::load(&self.state)?;
        let bridge = self.bridge_name(old.as_ref());
        if let Some(record) = &old {
            self.check_unchanged(record, &bridge, in_use)?;
            if record.bridge != bridge {
                self.remove_bridge(record.clone())?;
                old = None;
            }
        }
        let mut link = self.find_bridge(&bridge)?;
        let routes = address::routes(&mut self.netlink, link.as_ref().map(|l| l.index))?;
        let subnet = self.subnet(old.as_ref(), link.as_ref(), &routes.occupied, in_use)?;
        let gateway = subnet::gateway(subnet);
        let mut record = match old {
            Some(old) => old,
            None => Record::new(bridge.clone(), subnet),
        };
        record.subnet = subnet;
        // On record before there is anything to be found by it.
        record.save(&self.state)?;

        let masquerade = firewall::start(&self.names.table(), subnet);
        let own = Ipv4Net::new_assert(gateway, subnet.prefix_len());
        if let Some(found) = &link
            && !in_use
            && address::of_link(&mut self.netlink, found.index)? != [own]
        {
            link::delete(&mut self.netlink, &bridge)?;
            link = None;
        }
        if link.is_none() {
            self.netlink.change(&[
                link::create_bridge(&bridge, self.names.bridge_mac()),
                link::without_link_local(&bridge),
                link::set_alias(&bridge, &self.names.bridge_alias()),
            ])?;
            link = self.find_bridge(&bridge)?;
        }
        let index = link
            .ok_or_else(|| {
                let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
                NetworkError::kernel(format!("find the bridge {bridge}"), gone)
            })?
            .index;
        // A Pod must not reroute this machine's IPv6 traffic by advertising itself as a router (CVE-2020-10749).
        let accept_ra = format!("/proc/sys/net/ipv6/conf/{bridge}/accept_ra");
        write_setting(Path::new(&accept_ra), "0")?;
        self.netlink
            .change(&[link::up(&bridge), address::assign(index, own)])?;
        let mtu = match (self.config.mtu, routes.uplink) {
            (Some(mtu), _) => mtu,
            (None, Some(uplink)) => link::by_index(&mut self.netlink, uplink)?
                .and_then(|link| link.mtu)
                .map_or(DEFAULT_MTU, |mtu| mtu.min(DEFAULT_MTU)),
            (None, None) => DEFAULT_MTU,
        };
        self.forward()?;
        self.finish_firewall(masquerade, &mut record)?;
        Ok(Ready {
            bridge,
            index,
            subnet,
            gateway,
            mtu,
        })
    }

    /// Settings that would pull the network from under running Pods are refused.
    fn check_unchanged(
        &self,
        record: &Record,
        bridge: &str,
        in_use: bool,
    ) -> Result<(), NetworkError> {
        let changed =
            |what, used: String, wanted: String| NetworkError::InUse { what, used, wanted };
        if in_use && record.bridge != bridge {
            let used = record.bridge.clone();
            return Err(changed("bridge", used, bridge.to_owned()));
        }
        match self.config.subnet {
            Some(wanted) if in_use && wanted.trunc() != record.subnet => Err(changed(
                "subnet",
                record.subnet.to_string(),
                wanted.trunc().to_string(),
            )),
            _ => Ok(()),
        }
    }

    /// The subnet: configured, or as before, or as the bridge has it, or the first that is free.
    fn subnet(
        &mut self,
        record: Option<&Record>,
        link: Option<&Link>,
        routed: &[Ipv4Net],
        in_use: bool,
    ) -> Result<Ipv4Net, NetworkError> {
        let mut occupied = routed.to_vec();
        occupied.extend(name_servers());
        if let Some(wanted) = self.config.subnet {
            return subnet::check(wanted, &occupied);
        }
        let before = match (record, link) {
            (Some(record), _) => Some(record.subnet),
            (None, Some(link)) => address::of_link(&mut self.netlink, link.index)?
                .first()
                .map(Ipv4Net::trunc),
            (None, None) => None,
        };
        match before.map(|before| subnet::check(before, &occupied)) {
            Some(Ok(subnet)) => Ok(subnet),
            Some(Err(error)) if in_use => Err(error),
            _ => subnet::choose(&occupied),
        }
    }

    fn forward(&mut self) -> Result<(), NetworkError> {
        let path = Path::new(IP_FORWARD);
        let now = fs::read_to_string(path).map_err(|e| NetworkError::file("read", path, e))?;
        if now.trim() == "0" {
            write_setting(path, "1")?;
            self.notices.push(Notice::ForwardingEnabled);
        }
        Ok(())
    }

    fn finish_firewall(
        &mut self,
        running: firewall::Running,
        record: &mut Record,
    ) -> Result<(), NetworkError> {
        match running.wait() {
            Ok(chains) => {
                record.masquerade = true;
                record.forward_rules |= chains.iter().any(firewall::DroppingChain::is_iptables);
                record.save(&self.state)?;
                self.notices.extend(firewall::pass(&record.bridge, &chains));
            }
            Err(notice) => self.notices.push(notice),
        }
        Ok(())
    }

    /// Removes the bridge and what belongs to it. True when it is gone, false when Pods still have addresses.
    pub(super) fn close(&mut self) -> Result<bool, NetworkError> {
        let _machine = netns::lock_own()?;
        let lock = self.ipam.lock()?;
        if !self.ipam.reload(&lock)?.is_empty() {
            return Ok(false);
        }
        let record = Record::load(&self.state)?;
        let name = self.bridge_name(record.as_ref());
        // Without a record the subnet is unknown and not needed: only names are used.
        let record = record.unwrap_or_else(|| Record::new(name, Ipv4Net::default()));
        self.remove_bridge(record)?;
        self.ipam.remove(&lock)?;
        Record::remove_half_written(&self.state)?;
        self.ready = None;
        Ok(true)
    }

    fn remove_bridge(&mut self, record: Record) -> Result<(), NetworkError> {
        // Both take the kernel tens of milliseconds, so both at once.
        let firewall = firewall::start_removal(&self.names.table());
        match self.find_bridge(&record.bridge) {
            Ok(Some(bridge)) => {
                for port in link::ports(&mut self.netlink, bridge.index)? {
                    link::delete(&mut self.netlink, &port.name)?;
                }
                link::delete(&mut self.netlink, &record.bridge)?;
            }
            // Another's interface of that name is no business of ours.
            Ok(None) | Err(NetworkError::NotOurBridge { .. }) => {}
            Err(error) => return Err(error),
        }
        let removed = firewall::finish_removal(firewall, &record.bridge, record.forward_rules);
        if let Err(reason) = removed {
            if record.masquerade || record.forward_rules {
                return Err(NetworkError::kernel(
                    "remove the Pods' firewall rules",
                    std::io::Error::other(reason),
                ));
            }
            tracing::debug!(reason, "no firewall rules to remove");
        }
        Record::remove(&self.state)
    }
}

/// The machine's name servers: a subnet that holds one, though routed nowhere in particular, would cut it off.
fn name_servers() -> Vec<Ipv4Net> {
    let text = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    resolv::parse(&text)
        .servers
        .iter()
        .filter_map(|server| match server.parse() {
            Ok(IpAddr::V4(address)) => Some(Ipv4Net::from(address)),
            _ => None,
        })
        .collect()
}
