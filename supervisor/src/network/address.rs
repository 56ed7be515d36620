//! IPv4 addresses and routes by netlink.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::error::NetworkError;
use super::netlink::{Netlink, Request};

/// Shorter prefixes route "everything" (a VPN's pair of /1 routes, say) and occupy no range of their own.
const SHORTEST_OCCUPYING_PREFIX: u8 = 8;

/// What the routing tables of a namespace say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Routes {
    /// Ranges that are reached in some particular way, in any table.
    pub(super) occupied: Vec<Ipv4Net>,
    /// The interface of the default route.
    pub(super) uplink: Option<u32>,
}

/// Gives an interface its address; the same again changes nothing.
pub(super) fn assign(index: u32, address: Ipv4Net) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = address.prefix_len();
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(address.addr())),
        AddressAttribute::Address(IpAddr::V4(address.addr())),
        AddressAttribute::Broadcast(address.broadcast()),
    ];
    Request {
        what: format!("give an interface the address {address}"),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
        message: RouteNetlinkMessage::NewAddress(message),
    }
}

/// Sets the default route; the same again changes nothing.
pub(super) fn default_route(index: u32, gateway: Ipv4Addr) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        RouteAttribute::Gateway(RouteAddress::Inet(gateway)),
        RouteAttribute::Oif(index),
    ];
    Request {
        what: format!("set the default route through {gateway}"),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
        message: RouteNetlinkMessage::NewRoute(message),
    }
}

/// Reads all routing tables, leaving out routes through the interface `except`.
pub(super) fn routes(netlink: &mut Netlink, except: Option<u32>) -> Result<Routes, NetworkError> {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    let found = netlink
        .dump(RouteNetlinkMessage::GetRoute(message))
        .map_err(|e| NetworkError::kernel("read the routing tables", e))?;
    let mut routes = Routes::default();
    for reply in found {
        let RouteNetlinkMessage::NewRoute(route) = reply else {
            continue;
        };
        let mut destination = Ipv4Addr::UNSPECIFIED;
        let mut interface = None;
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => destination = *address,
                RouteAttribute::Oif(index) => interface = Some(*index),
                _ => {}
            }
        }
        if interface.is_some() && interface == except {
            continue;
        }
        let prefix = route.header.destination_prefix_length;
        if prefix == 0 && route.header.table == RouteHeader::RT_TABLE_MAIN {
            routes.uplink = routes.uplink.or(interface);
        }
        if prefix >= SHORTEST_OCCUPYING_PREFIX
            && let Ok(range) = Ipv4Net::new(destination, prefix)
        {
            routes.occupied.push(range);
        }
    }
    Ok(routes)
}

/// The IPv4 addresses of an interface.
pub(super) fn of_link(netlink: &mut Netlink, index: u32) -> Result<Vec<Ipv4Net>, NetworkError> {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    let found = netlink
        .dump(RouteNetlinkMessage::GetAddress(message))
        .map_err(|e| NetworkError::kernel("read the addresses of this machine", e))?;
    let mut addresses = Vec::new();
    for reply in found {
        let RouteNetlinkMessage::NewAddress(message) = reply else {
            continue;
        };
        if message.header.index != index {
            continue;
        }
        for attribute in &message.attributes {
            if let AddressAttribute::Local(IpAddr::V4(address)) = attribute
                && let Ok(address) = Ipv4Net::new(*address, message.header.prefix_len)
            {
                addresses.push(address);
            }
        }
    }
    Ok(addresses)
}
