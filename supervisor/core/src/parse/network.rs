//! What a Pod says about names, addresses and ports.

use std::net::IpAddr;

use super::field::Field;
use super::findings::Unique;
use super::names::{Check, dns_subdomain, port_name};
use super::object::Object;
use super::unhonoured::NONE;
use crate::pod::{ContainerPort, DnsConfig, DnsPolicy, HostAlias, Protocol};

const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARACTERS: usize = 2048;

fn ip(field: &Field<'_>) -> Option<IpAddr> {
    let address = field.string()?.parse();
    if address.is_err() {
        field.invalid("is not an IP address, such as 10.9.8.7 or 2001:db8::ffff");
    }
    address.ok()
}

/// One entry of `hostAliases`.
pub(super) fn host_alias(field: &Field<'_>) -> Option<HostAlias> {
    field.object(NONE, |o| {
        let ip = o.require("ip").as_ref().and_then(ip);
        let names = o.list("hostnames");
        let names = names.iter().filter_map(|f| f.checked(dns_subdomain));
        let hostnames = names.map(str::to_owned).collect();
        Some(HostAlias { ip: ip?, hostnames })
    })?
}

/// `dnsPolicy` and `dnsConfig`.
pub(super) fn dns(o: &mut Object<'_, '_>) -> (DnsPolicy, DnsConfig) {
    let policy = o.text("dnsPolicy").and_then(|f| {
        f.choice(&[
            ("ClusterFirst", DnsPolicy::ClusterFirst),
            (
                "ClusterFirstWithHostNet",
                DnsPolicy::ClusterFirstWithHostNet,
            ),
            ("Default", DnsPolicy::Default),
            ("None", DnsPolicy::None),
        ])
    });
    let policy = policy.unwrap_or_default();
    let config = o
        .get("dnsConfig")
        .and_then(|f| f.object(NONE, dns_config))
        .unwrap_or_default();
    if policy == DnsPolicy::None && config.nameservers.is_empty() {
        let message = "must have at least one nameserver when dnsPolicy is None";
        o.missing("dnsConfig", message);
    }
    (policy, config)
}

fn dns_config(o: &mut Object<'_, '_>) -> DnsConfig {
    let nameservers = o.list("nameservers");
    if nameservers.len() > MAX_NAMESERVERS {
        let message = format!("must not have more than {MAX_NAMESERVERS} nameservers");
        o.missing("nameservers", message);
    }
    let searches = o.list("searches");
    if searches.len() > MAX_SEARCHES {
        o.missing(
            "searches",
            format!("must not have more than {MAX_SEARCHES} search paths"),
        );
    }
    let names = searches.iter().filter_map(|f| f.checked(search_path));
    let searches: Vec<String> = names.map(str::to_owned).collect();
    if searches.join(" ").len() > MAX_SEARCH_CHARACTERS {
        let message = format!("must not have more than {MAX_SEARCH_CHARACTERS} characters in all");
        o.missing("searches", message);
    }
    let option = |field: &Field<'_>| {
        field.object(NONE, |o| {
            let name = o
                .require("name")
                .and_then(|f| f.checked(option_word).map(str::to_owned));
            let value = o
                .text("value")
                .and_then(|f| f.checked(option_word).map(str::to_owned));
            Some((name?, value))
        })?
    };
    DnsConfig {
        nameservers: nameservers.iter().filter_map(ip).collect(),
        searches,
        options: o.list("options").iter().filter_map(option).collect(),
    }
}

/// A DNS subdomain; underscores, a trailing dot and `.` alone are taken as well, as since Kubernetes 1.32.
fn search_path(text: &str) -> Check {
    match text {
        "." => Ok(()),
        _ => dns_subdomain(&text.strip_suffix('.').unwrap_or(text).replace('_', "a")),
    }
}

/// It becomes part of a line of `resolv.conf`.
fn option_word(text: &str) -> Check {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("must consist of printable characters without spaces".into());
    }
    Ok(())
}

/// A container's `ports`. `host` has the ports of the machine that the Pod's containers take.
pub(super) fn ports(
    o: &mut Object<'_, '_>,
    host_network: bool,
    host: &mut Unique,
) -> Vec<ContainerPort> {
    let mut names = Unique::default();
    let items = o.list("ports");
    let read = |field: &Field<'_>| {
        field.object(NONE, |o| {
            let name = o.text("name").and_then(|field| {
                let name = field.checked(port_name)?;
                names.check(&field, name);
                Some(name.to_owned())
            });
            let number = o.require("containerPort");
            let container_port = number.as_ref().and_then(port_number);
            let protocol = o.text("protocol").and_then(|f| {
                f.choice(&[("TCP", Protocol::Tcp), ("UDP", Protocol::Udp), ("SCTP", Protocol::Sctp)])
            });
            let protocol = protocol.unwrap_or_default();
            let host_ip = o.text("hostIP");
            let host_port = o.get("hostPort");
            let declared = host_port.as_ref().and_then(port_number);
            match (&host_port, declared) {
                (Some(field), Some(port)) if host_network && Some(port) != container_port => {
                    field.error("must be the same as containerPort when hostNetwork is true");
                }
                (Some(field), Some(_)) if !host_network => {
                    field.unsupported("it forwards no ports of the machine yet; use hostNetwork or the Pod's address");
                }
                _ => {}
            }
            let address = host_ip.as_ref().and_then(ip);
            if let (Some(field), Some(_)) = (&host_ip, address) {
                field.ignore("it has a meaning only with a forwarded hostPort");
            }
            let container_port = container_port?;
            // As the API server has it: with hostNetwork each port is one of the machine's.
            let machine_port = host_network.then_some(container_port);
            if let (Some(port), Some(field)) = (machine_port, &number) {
                host.check(field, format!("{port}/{protocol:?}"));
            }
            Some(ContainerPort {
                name,
                container_port,
                host_port: machine_port,
                host_ip: None,
                protocol,
            })
        })?
    };
    items.iter().filter_map(read).collect()
}

fn port_number(field: &Field<'_>) -> Option<u16> {
    u16::try_from(field.integer(1..=65535)?).ok()
}
