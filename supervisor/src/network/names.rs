//! Names and hardware addresses derived from the state directory and the Pod, so that supervisors never collide.

use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::NetworkError;
use super::link::Mac;

/// The state directory whose supervisor has the plain bridge name.
const DEFAULT_STATE: &str = "/run/carob";

/// The bridge of the supervisor with the default state directory.
const DEFAULT_BRIDGE: &str = "carob0";

/// Longer than any UID in use (a static Pod's has 32 characters, any other 36).
const UID_MAX: usize = 128;

/// The names of one supervisor's interfaces and tables.
#[derive(Debug, Clone)]
pub(super) struct Names {
    state: String,
    id: String,
}

impl Names {
    /// `state` is the canonical path of the state directory.
    pub(super) fn new(state: &Path) -> Names {
        Names {
            state: state.display().to_string(),
            id: digest(&[state.as_os_str().as_bytes()], 8),
        }
    }

    /// The bridge, when none is configured.
    pub(super) fn bridge(&self) -> String {
        if self.state == DEFAULT_STATE {
            DEFAULT_BRIDGE.to_owned()
        } else {
            format!("carob-{}", self.id)
        }
    }

    /// What `ip link` shows beside the bridge, for people.
    pub(super) fn bridge_alias(&self) -> String {
        format!("carob {}", self.state)
    }

    /// The hardware address of the bridge. By it a supervisor knows its own: unlike an alias, it is there from the
    /// first moment.
    pub(super) fn bridge_mac(&self) -> Mac {
        local_mac(&self.id)
    }

    /// The nftables table.
    pub(super) fn table(&self) -> String {
        format!("carob_{}", self.id)
    }

    /// The host's end of a Pod's veth pair: from the UID alone, so that a supervisor needs no memory to find it.
    pub(super) fn veth(&self, uid: &str) -> String {
        format!("veth{}", digest(&[self.id.as_bytes(), uid.as_bytes()], 11))
    }
}

/// The hardware address of the interface with that IPv4 address. An address that passes to another Pod keeps
/// its hardware address, so no neighbour's ARP entry is ever wrong.
pub(super) fn pod_mac(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}

/// The hardware address of the host's end of a Pod's pair.
pub(super) fn host_mac(veth: &str) -> Mac {
    local_mac(veth)
}

/// A locally administered unicast address from a text.
fn local_mac(text: &str) -> Mac {
    let hash = Sha256::digest(text.as_bytes());
    [0x0e, hash[0], hash[1], hash[2], hash[3], hash[4]]
}

fn digest(parts: &[&[u8]], digits: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    let hex: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    hex[..digits].to_owned()
}

/// Refuses a UID that could not be kept as the content of a file or a component of a path.
pub(super) fn check_uid(uid: &str) -> Result<(), NetworkError> {
    let good = (1..=UID_MAX).contains(&uid.len())
        && uid.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
        && !uid.starts_with('.');
    if good {
        Ok(())
    } else {
        Err(NetworkError::BadUid(uid.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::link::is_link_name;
    use super::*;

    #[test]
    fn each_state_directory_has_its_own_names() {
        let default = Names::new(Path::new("/run/carob"));
        let other = Names::new(Path::new("/tmp/x/state"));
        assert_eq!(default.bridge(), "carob0");
        assert_ne!(
            other.bridge(),
            Names::new(Path::new("/tmp/y/state")).bridge()
        );
        assert_ne!(default.veth("u"), other.veth("u"));
        assert_ne!(other.veth("u"), other.veth("v"));
        assert_ne!(default.table(), other.table());
        for name in [default.bridge(), other.bridge(), other.veth("u")] {
            assert!(is_link_name(&name), "{name}");
        }
    }

    #[test]
    fn hardware_addresses_are_local_unicast() {
        let names = Names::new(Path::new("/x"));
        for mac in [
            names.bridge_mac(),
            host_mac("veth0"),
            pod_mac(Ipv4Addr::new(10, 86, 0, 2)),
        ] {
            assert_eq!(mac[0] & 3, 2, "{mac:?}");
        }
    }

    #[test]
    fn a_uid_that_is_no_file_name_is_refused() {
        for bad in ["", ".", "..", "a/b", "a\nb", "a b", "a\0", &"x".repeat(129)] {
            assert!(check_uid(bad).is_err(), "{bad:?}");
        }
        check_uid("0a1b2c3d-0000-4000-8000-000000000000").unwrap();
    }
}
