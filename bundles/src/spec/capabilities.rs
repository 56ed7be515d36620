//! The capabilities of a container.

use std::str::FromStr;

use carob_core::pod::Security;
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};

use super::{Machine, SpecError};

/// What a container has when its Pod says nothing (containerd, `pkg/oci/spec.go`, `defaultUnixCaps`).
const DEFAULT: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

/// The bounding set of a container. `ALL` goes first, added before dropped, then the names, so that
/// `drop: [ALL], add: [CHOWN]` leaves `CHOWN` (containerd, `internal/cri/opts/spec_opts.go`).
///
/// Of `ALL` and of the default set a container gets what this machine has to give.
///
/// # Errors
///
/// When one that is asked for by name does not exist or is not the machine's to give.
pub(super) fn bounding(
    security: &Security,
    container: &str,
    machine: &Machine,
) -> Result<Capabilities, SpecError> {
    if security.privileged {
        return Ok(machine.capabilities.clone());
    }
    let named = |names: &[String]| -> Result<Vec<Capability>, SpecError> {
        let names = names.iter().filter(|name| *name != "ALL");
        names
            .map(|name| {
                Capability::from_str(name).map_err(|_| SpecError::Capability {
                    container: container.to_owned(),
                    capability: name.clone(),
                    reason: "Linux has none of that name",
                })
            })
            .collect()
    };
    let all = |names: &[String]| names.iter().any(|name| name == "ALL");
    let wanted = &security.capabilities;

    let mut set: Capabilities = match (all(&wanted.add), all(&wanted.drop)) {
        (_, true) => Capabilities::new(),
        (true, false) => machine.capabilities.clone(),
        (false, false) => DEFAULT
            .into_iter()
            .filter(|c| machine.capabilities.contains(c))
            .collect(),
    };
    let dropped = named(&wanted.drop)?;
    for capability in named(&wanted.add)? {
        if !machine.capabilities.contains(&capability) && !dropped.contains(&capability) {
            return Err(SpecError::Capability {
                container: container.to_owned(),
                capability: capability.to_string(),
                reason: "Carob does not have it on this machine and cannot give it",
            });
        }
        set.insert(capability);
    }
    set.retain(|capability| !dropped.contains(capability));
    Ok(set)
}

/// The sets of a process with this bounding set. Inheritable and ambient are empty: a program that drops
/// its privileges shall not get them back by executing another.
pub(super) fn process_sets(bounding: Capabilities) -> LinuxCapabilities {
    let mut sets = LinuxCapabilities::default();
    sets.set_effective(Some(bounding.clone()))
        .set_permitted(Some(bounding.clone()))
        .set_bounding(Some(bounding))
        .set_inheritable(Some(Capabilities::new()))
        .set_ambient(Some(Capabilities::new()));
    sets
}

/// Linux' capabilities by number (`linux/capability.h`), as bits of `/proc/PID/status` count them.
pub(super) const BY_NUMBER: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::spec::testing::{World, machine};

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn bounding_of(add: &str, drop: &str) -> BTreeSet<String> {
        let mut security = Security::default();
        security.capabilities.add = names(add);
        security.capabilities.drop = names(drop);
        let set = bounding(&security, "main", &machine()).unwrap();
        set.iter().map(Capability::to_string).collect()
    }

    #[test]
    fn added_and_dropped_as_containerd_does() {
        let default: BTreeSet<_> = DEFAULT.iter().map(Capability::to_string).collect();
        let all: BTreeSet<_> = BY_NUMBER.iter().map(Capability::to_string).collect();
        assert_eq!((default.len(), all.len()), (14, 41));
        let minus = |set: &BTreeSet<String>, name: &str| {
            let mut set = set.clone();
            assert!(set.remove(name));
            set
        };
        let only = |name: &str| BTreeSet::from([name.to_owned()]);
        assert_eq!(bounding_of("", ""), default);
        assert_eq!(bounding_of("", "ALL"), BTreeSet::new());
        assert_eq!(bounding_of("ALL", ""), all);
        assert_eq!(bounding_of("ALL", "CHOWN"), minus(&all, "CHOWN"));
        assert_eq!(bounding_of("CHOWN", "ALL"), only("CHOWN"));
        assert_eq!(bounding_of("ALL NET_ADMIN", "ALL"), only("NET_ADMIN"));
        assert_eq!(bounding_of("CHOWN", "CHOWN"), minus(&default, "CHOWN"));
        assert_eq!(
            &bounding_of("SYS_TIME CHOWN", "") - &default,
            only("SYS_TIME")
        );
    }

    #[test]
    fn every_capability_of_linux_has_its_name() {
        for capability in BY_NUMBER {
            assert_eq!(
                Capability::from_str(&capability.to_string()),
                Ok(capability)
            );
        }
    }

    #[test]
    fn c8_inheritable_and_ambient_sets_are_empty() {
        let mut world = World::new();
        for privileged in [false, true] {
            world.security().privileged = privileged;
            let sets = &world.json()["process"]["capabilities"];
            assert_eq!(sets["inheritable"], serde_json::json!([]));
            assert_eq!(sets["ambient"], serde_json::json!([]));
            let count = if privileged { 41 } else { 14 };
            for set in ["bounding", "effective", "permitted"] {
                assert_eq!(sets[set].as_array().unwrap().len(), count, "{set}");
            }
        }
    }

    #[test]
    fn what_the_machine_does_not_have_cannot_be_given() {
        let mut world = World::new();
        world.machine.capabilities.remove(&Capability::SysTime);
        world.machine.capabilities.remove(&Capability::Mknod);
        let sets = &world.json()["process"]["capabilities"];
        assert_eq!(
            sets["bounding"].as_array().unwrap().len(),
            13,
            "the default set less MKNOD"
        );
        world.security().capabilities.add = names("SYS_TIME");
        assert_eq!(
            world.error(),
            "container \"main\": capability SYS_TIME cannot be added: Carob does not have it on this machine \
             and cannot give it; leave it out of capabilities.add"
        );
        world.security().capabilities.drop = names("SYS_TIME");
        assert!(world.spec().is_ok());
        world.security().capabilities.add = names("FOO");
        assert!(
            world.error().contains("Linux has none of that name"),
            "{}",
            world.error()
        );
    }
}
