//! Capabilities: OCI's names as bits, and giving them to the process.

use std::collections::HashSet;
use std::io;

use oci_spec::runtime::{Capability, LinuxCapabilities};

use super::sys::{self, Caps};

/// The five sets of a process, a bit for each capability number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    /// What no program can ever get beyond.
    pub bounding: u64,
    /// What the process may use.
    pub permitted: u64,
    /// What it uses.
    pub effective: u64,
    /// What survives `execve` without file capabilities. The inheritable set is always the same:
    /// ambient ones need it, and more of them would let unprivileged programs with file
    /// capabilities regain them (CVE-2022-24769 and its like).
    pub ambient: u64,
}

impl CapabilitySets {
    /// The sets of the spec, reduced to what the calling process has itself. Without capabilities in
    /// the spec there are none, as in runc.
    pub fn from_spec(spec: Option<&LinuxCapabilities>) -> Self {
        let Some(spec) = spec else {
            return Self::default();
        };
        let asked = Self {
            bounding: bits(spec.bounding().as_ref()),
            permitted: bits(spec.permitted().as_ref()),
            effective: bits(spec.effective().as_ref()),
            // An ambient capability must be inheritable too.
            ambient: bits(spec.ambient().as_ref()) & bits(spec.inheritable().as_ref()),
        };
        let own = sys::capget().map_or(u64::MAX, |caps| caps.permitted);
        let given = asked.masked(own);
        if given != asked {
            let missing = (asked.bounding | asked.permitted) & !own;
            tracing::debug!(
                missing = format_args!("{missing:#x}"),
                "capabilities that this process has not got itself are left out"
            );
        }
        given
    }

    fn masked(self, mask: u64) -> Self {
        let permitted = self.permitted & mask;
        Self {
            bounding: self.bounding & mask,
            permitted,
            // The kernel refuses what is not permitted.
            effective: self.effective & permitted,
            ambient: self.ambient & permitted,
        }
    }

    /// These sets, none larger than the other's.
    pub fn within(self, most: &Self) -> Self {
        let permitted = self.permitted & most.permitted;
        Self {
            bounding: self.bounding & most.bounding,
            permitted,
            effective: self.effective & most.effective & permitted,
            ambient: self.ambient & most.ambient & permitted,
        }
    }

    /// Takes everything else out of the bounding set. Needs CAP_SETPCAP.
    pub(super) fn drop_bounding(&self) -> io::Result<()> {
        for number in 0..64 {
            if self.bounding & 1 << number != 0 {
                continue;
            }
            match sys::prctl(libc::PR_CAPBSET_DROP, number, 0) {
                Ok(_) => {}
                // Past the last one that this kernel knows.
                Err(cause) if cause.raw_os_error() == Some(libc::EINVAL) => break,
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    /// Makes the calling process have these sets. Whatever it has beyond is gone for good.
    pub(super) fn set(&self) -> io::Result<()> {
        sys::capset(Caps {
            effective: self.effective,
            permitted: self.permitted,
            inheritable: self.ambient,
        })?;
        sys::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL as u64,
            0,
        )?;
        for number in (0..64).filter(|number| self.ambient & 1 << number != 0) {
            sys::prctl(
                libc::PR_CAP_AMBIENT,
                libc::PR_CAP_AMBIENT_RAISE as u64,
                number,
            )?;
        }
        Ok(())
    }
}

fn bits(names: Option<&HashSet<Capability>>) -> u64 {
    names
        .into_iter()
        .flatten()
        .fold(0, |bits, name| bits | 1 << number(*name))
}

/// The number of a capability (linux/capability.h).
fn number(name: Capability) -> u32 {
    match name {
        Capability::Chown => 0,
        Capability::DacOverride => 1,
        Capability::DacReadSearch => 2,
        Capability::Fowner => 3,
        Capability::Fsetid => 4,
        Capability::Kill => 5,
        Capability::Setgid => 6,
        Capability::Setuid => 7,
        Capability::Setpcap => 8,
        Capability::LinuxImmutable => 9,
        Capability::NetBindService => 10,
        Capability::NetBroadcast => 11,
        Capability::NetAdmin => 12,
        Capability::NetRaw => 13,
        Capability::IpcLock => 14,
        Capability::IpcOwner => 15,
        Capability::SysModule => 16,
        Capability::SysRawio => 17,
        Capability::SysChroot => 18,
        Capability::SysPtrace => 19,
        Capability::SysPacct => 20,
        Capability::SysAdmin => 21,
        Capability::SysBoot => 22,
        Capability::SysNice => 23,
        Capability::SysResource => 24,
        Capability::SysTime => 25,
        Capability::SysTtyConfig => 26,
        Capability::Mknod => 27,
        Capability::Lease => 28,
        Capability::AuditWrite => 29,
        Capability::AuditControl => 30,
        Capability::Setfcap => 31,
        Capability::MacOverride => 32,
        Capability::MacAdmin => 33,
        Capability::Syslog => 34,
        Capability::WakeAlarm => 35,
        Capability::BlockSuspend => 36,
        Capability::AuditRead => 37,
        Capability::Perfmon => 38,
        Capability::Bpf => 39,
        Capability::CheckpointRestore => 40,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::LinuxCapabilitiesBuilder;

    fn set(names: &[Capability]) -> HashSet<Capability> {
        names.iter().copied().collect()
    }

    #[test]
    fn c8_inheritable_capabilities_of_the_spec_are_not_given() {
        let all = set(&[Capability::Chown, Capability::Kill]);
        let spec = LinuxCapabilitiesBuilder::default()
            .bounding(all.clone())
            .permitted(all.clone())
            .effective(all.clone())
            .inheritable(all)
            .ambient(HashSet::new())
            .build()
            .expect("all fields are set");
        let sets = CapabilitySets::from_spec(Some(&spec));
        assert_eq!(sets.permitted, 1 | 1 << 5);
        // What becomes the inheritable set.
        assert_eq!(sets.ambient, 0);
    }

    #[test]
    fn c8_exec_gets_no_more_than_init() {
        let asked = CapabilitySets {
            bounding: 0b1111,
            permitted: 0b1111,
            effective: 0b1111,
            ambient: 0b1100,
        };
        let init = CapabilitySets {
            bounding: 0b0111,
            permitted: 0b0110,
            effective: 0b0010,
            ambient: 0b0100,
        };
        assert_eq!(
            asked.within(&init),
            CapabilitySets {
                bounding: 0b0111,
                permitted: 0b0110,
                effective: 0b0010,
                ambient: 0b0100
            }
        );
    }

    #[test]
    fn no_capabilities_in_the_spec_are_none() {
        assert_eq!(CapabilitySets::from_spec(None), CapabilitySets::default());
    }
}
