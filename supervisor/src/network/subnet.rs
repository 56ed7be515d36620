//! Choosing a range for Pods that nothing else on the machine uses.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::error::NetworkError;

/// The size of a subnet that is chosen, not given: 4094 addresses.
const CHOSEN_PREFIX: u8 = 20;

/// The private ranges (RFC 1918) in the order in which subnets are tried. The first begins away from the defaults of
/// other tools (podman 10.88, k3s 10.42, flannel 10.244, docker 172.17, libvirt 192.168.122), whose bridges may
/// not exist yet and so are in no routing table.
const CANDIDATES: [(Ipv4Addr, Ipv4Addr); 4] = [
    (Ipv4Addr::new(10, 86, 0, 0), Ipv4Addr::new(10, 87, 255, 255)),
    (
        Ipv4Addr::new(10, 100, 0, 0),
        Ipv4Addr::new(10, 239, 255, 255),
    ),
    (
        Ipv4Addr::new(172, 24, 0, 0),
        Ipv4Addr::new(172, 31, 255, 255),
    ),
    (
        Ipv4Addr::new(192, 168, 128, 0),
        Ipv4Addr::new(192, 168, 255, 255),
    ),
];

/// The first candidate that overlaps none of the occupied ranges.
pub(super) fn choose(occupied: &[Ipv4Net]) -> Result<Ipv4Net, NetworkError> {
    let step = 1u32 << (32 - CHOSEN_PREFIX);
    for (first, last) in CANDIDATES {
        let mut start = u32::from(first);
        while start <= u32::from(last) {
            let subnet = Ipv4Net::new_assert(Ipv4Addr::from(start), CHOSEN_PREFIX);
            if overlapping(subnet, occupied).is_none() {
                return Ok(subnet);
            }
            start += step;
        }
    }
    Err(NetworkError::NoFreeSubnet)
}

/// Checks a subnet that was asked for.
pub(super) fn check(subnet: Ipv4Net, occupied: &[Ipv4Net]) -> Result<Ipv4Net, NetworkError> {
    let subnet = subnet.trunc();
    if subnet.prefix_len() > 30 {
        return Err(NetworkError::SubnetTooSmall(subnet));
    }
    match overlapping(subnet, occupied) {
        Some(used) => Err(NetworkError::SubnetTaken { subnet, used }),
        None => Ok(subnet),
    }
}

fn overlapping(subnet: Ipv4Net, occupied: &[Ipv4Net]) -> Option<Ipv4Net> {
    occupied
        .iter()
        .copied()
        .find(|used| used.contains(&subnet.network()) || subnet.contains(&used.network()))
}

/// The bridge's own address: the first of the subnet.
pub(super) fn gateway(subnet: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(subnet.network()) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(text: &[&str]) -> Vec<Ipv4Net> {
        text.iter().map(|t| t.parse().unwrap()).collect()
    }

    #[test]
    fn the_first_free_candidate_is_chosen() {
        assert_eq!(choose(&[]).unwrap().to_string(), "10.86.0.0/20");
        let used = nets(&["192.0.2.0/24", "10.86.0.0/20", "10.86.17.5/32"]);
        assert_eq!(choose(&used).unwrap().to_string(), "10.86.32.0/20");
        assert_eq!(
            choose(&nets(&["10.0.0.0/8"])).unwrap().to_string(),
            "172.24.0.0/20"
        );
    }

    #[test]
    fn no_candidate_is_left_when_all_private_ranges_are_routed() {
        let used = nets(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]);
        assert!(matches!(choose(&used), Err(NetworkError::NoFreeSubnet)));
    }

    #[test]
    fn a_wanted_subnet_is_refused_when_used_or_too_small() {
        let used = nets(&["10.0.5.0/24"]);
        let error = check("10.0.0.0/16".parse().unwrap(), &used).unwrap_err();
        assert!(error.to_string().contains("10.0.5.0/24"), "{error}");
        assert!(matches!(
            check("10.1.0.0/31".parse().unwrap(), &used),
            Err(NetworkError::SubnetTooSmall(_))
        ));
        assert_eq!(
            check("10.1.2.3/24".parse().unwrap(), &used)
                .unwrap()
                .to_string(),
            "10.1.2.0/24"
        );
    }

    #[test]
    fn the_gateway_is_the_first_address() {
        assert_eq!(
            gateway("10.86.16.0/20".parse().unwrap()),
            Ipv4Addr::new(10, 86, 16, 1)
        );
    }
}
