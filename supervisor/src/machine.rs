//! What the supervisor needs to know of the machine it runs on.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::num::NonZero;
use std::thread;

use carob_bundles::spec;
use carob_core::pod::{Quantity, ResourceList};

/// Facts that don't change while the supervisor runs.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The host's name; a Pod's `spec.nodeName`.
    pub node_name: String,
    /// What shapes a container's configuration.
    pub kernel: spec::Machine,
    /// The address that the machine uses towards the outside; loopback when it has none.
    pub host_ip: IpAddr,
}

impl Machine {
    /// Reads the facts.
    ///
    /// # Errors
    /// When `/proc` is not what every Linux has.
    pub fn detect() -> anyhow::Result<Self> {
        Ok(Self {
            node_name: fs::read_to_string("/proc/sys/kernel/hostname")?
                .trim()
                .to_owned(),
            kernel: spec::Machine::detect()?,
            host_ip: host_ip(),
        })
    }

    /// What a container without a limit may use.
    pub fn capacity(&self) -> ResourceList {
        let cpus = thread::available_parallelism().map_or(1, NonZero::get);
        let amount = |n: u64| Quantity::from(i64::try_from(n).unwrap_or(i64::MAX));
        ResourceList::from([
            ("cpu".to_owned(), amount(cpus as u64)),
            ("memory".to_owned(), amount(self.kernel.memory_capacity)),
        ])
    }
}

/// The source address of the default route. Connecting a datagram socket sends nothing.
fn host_ip() -> IpAddr {
    let outside = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // TEST-NET-1: an address that only the default route leads to.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        Ok::<_, io::Error>(socket.local_addr()?.ip())
    };
    outside().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// A random UUID, as the API server gives each Pod.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn new_uid() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/uuid")?
        .trim()
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_differ() {
        assert_ne!(new_uid().unwrap(), new_uid().unwrap());
    }
}
