//! Network interfaces by netlink: the questions asked of them and the messages that make them.

use std::os::fd::RawFd;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute,
    LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};

use super::error::NetworkError;
use super::netlink::{Netlink, Request};

/// A hardware address.
pub type Mac = [u8; 6];

/// The longest name that the kernel takes for an interface (`IFNAMSIZ` less the terminating zero).
const NAME_MAX: usize = 15;

/// What the supervisor asks of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) mac: Option<Mac>,
    /// The other end of a veth pair: its index, in the namespace where that end is.
    pub(super) peer: Option<u32>,
    pub(super) mtu: Option<u32>,
    pub(super) bridge: bool,
    /// On, with a carrier, and the kernel has drawn its conclusions from that.
    pub(super) running: bool,
}

/// One end of a veth pair.
pub(super) struct VethEnd<'a> {
    pub(super) name: &'a str,
    pub(super) mac: Mac,
}

/// True for a name that the kernel takes and that is safe as one component of a path below `/proc/sys/net`.
pub(super) fn is_link_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && !name.starts_with(['-', '.'])
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// The interface of that name in the socket's namespace.
pub(super) fn by_name(netlink: &mut Netlink, name: &str) -> Result<Option<Link>, NetworkError> {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
    ];
    get(netlink, message, name)
}

/// The interface of that index in the socket's namespace.
pub(super) fn by_index(netlink: &mut Netlink, index: u32) -> Result<Option<Link>, NetworkError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    get(netlink, message, &index.to_string())
}

fn get(
    netlink: &mut Netlink,
    message: LinkMessage,
    name: &str,
) -> Result<Option<Link>, NetworkError> {
    let reply = netlink
        .get(RouteNetlinkMessage::GetLink(message))
        .map_err(|e| NetworkError::kernel(format!("look up the interface {name}"), e))?;
    Ok(reply.and_then(decode).map(|(link, _)| link))
}

/// The interfaces that are ports of the bridge with that index.
pub(super) fn ports(netlink: &mut Netlink, bridge: u32) -> Result<Vec<Link>, NetworkError> {
    let found = netlink
        .dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))
        .map_err(|e| NetworkError::kernel("list the network interfaces", e))?;
    Ok(found
        .into_iter()
        .filter_map(decode)
        .filter(|(_, controller)| *controller == Some(bridge))
        .map(|(link, _)| link)
        .collect())
}

/// An interface and the index of the bridge it is a port of.
fn decode(message: RouteNetlinkMessage) -> Option<(Link, Option<u32>)> {
    let RouteNetlinkMessage::NewLink(message) = message else {
        return None;
    };
    let mut controller = None;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: None,
        peer: None,
        mtu: None,
        bridge: false,
        running: message.header.flags.contains(LinkFlags::Running),
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(mac) => link.mac = mac.try_into().ok(),
            LinkAttribute::Link(peer) => link.peer = Some(peer),
            LinkAttribute::Mtu(mtu) => link.mtu = Some(mtu),
            LinkAttribute::Controller(index) => controller = Some(index),
            LinkAttribute::LinkInfo(info) => {
                link.bridge = info.contains(&LinkInfo::Kind(InfoKind::Bridge));
            }
            _ => {}
        }
    }
    Some((link, controller))
}

/// Makes a bridge, down. Its address is fixed: left to itself it would change with the ports.
pub(super) fn create_bridge(name: &str, mac: Mac) -> Request {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Address(mac.to_vec()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    Request {
        what: format!("create the bridge {name}"),
        flags: NLM_F_CREATE | NLM_F_EXCL,
        message: RouteNetlinkMessage::NewLink(message),
    }
}

/// Makes a veth pair, down: `host` a port of the bridge, `pod` in the namespace of that descriptor. (The kernel cannot
/// switch on an end before it has made the other.)
pub(super) fn create_veth(
    host: &VethEnd<'_>,
    pod: &VethEnd<'_>,
    bridge: u32,
    mtu: u32,
    netns: RawFd,
) -> Request {
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(pod.name.to_owned()),
        LinkAttribute::Address(pod.mac.to_vec()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::NetNsFd(netns),
    ];
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(host.name.to_owned()),
        LinkAttribute::Address(host.mac.to_vec()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::Controller(bridge),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    Request {
        what: format!("create the veth pair {} and {}", host.name, pod.name),
        flags: NLM_F_CREATE | NLM_F_EXCL,
        message: RouteNetlinkMessage::NewLink(message),
    }
}

/// Keeps the kernel from giving the interface an IPv6 link-local address. A port of a bridge has no use for one,
/// and making it costs multicast traffic for each Pod.
pub(super) fn without_link_local(name: &str) -> Request {
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    set(
        format!("switch off IPv6 addresses on {name}"),
        name,
        LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]),
    )
}

/// Gives the interface its `ip link` alias.
pub(super) fn set_alias(name: &str, alias: &str) -> Request {
    set(
        format!("label the interface {name}"),
        name,
        LinkAttribute::IfAlias(alias.to_owned()),
    )
}

fn set(what: String, name: &str, attribute: LinkAttribute) -> Request {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(name.to_owned()), attribute];
    Request {
        what,
        flags: 0,
        message: RouteNetlinkMessage::SetLink(message),
    }
}

/// Switches the interface on.
pub(super) fn up(name: &str) -> Request {
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    Request {
        what: format!("switch on the interface {name}"),
        flags: 0,
        message: RouteNetlinkMessage::SetLink(message),
    }
}

/// Deletes the interface; one end of a veth pair takes the other with it. Returns false when there was none.
pub(super) fn delete(netlink: &mut Netlink, name: &str) -> Result<bool, NetworkError> {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    let what = format!("delete the interface {name}");
    let answers = netlink
        .batch(&[Request {
            what: what.clone(),
            flags: 0,
            message: RouteNetlinkMessage::DelLink(message),
        }])
        .map_err(|e| NetworkError::kernel(&what, e))?;
    match answers.into_iter().find_map(Result::err) {
        None => Ok(true),
        Some(e) if e.raw_os_error() == Some(nix::libc::ENODEV) => Ok(false),
        Some(e) => Err(NetworkError::kernel(what, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_the_kernel_takes_are_link_names() {
        for good in ["carob0", "a", "carob-0123abcd", "br.7", "123456789012345"] {
            assert!(is_link_name(good), "{good}");
        }
        for bad in [
            "",
            "..",
            ".",
            "-x",
            "a/b",
            "a b",
            "a:1",
            "1234567890123456",
            "ä",
            "a\n",
        ] {
            assert!(!is_link_name(bad), "{bad}");
        }
    }
}
