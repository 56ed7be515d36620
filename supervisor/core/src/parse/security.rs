//! `securityContext` of the Pod and of its containers.

use std::ops::RangeInclusive;

use super::field::Field;
use super::findings::{Unique, did_you_mean};
use super::names::Check;
use super::object::Object;
use super::unhonoured::{NONE, POD_SECURITY, SECURITY};
use super::volume::descending;
use crate::pod::{Capabilities, PodSecurity, ProcMount, SeccompProfile, Security, Sysctl};

/// Users and groups (`IsValidUserID`).
const IDS: RangeInclusive<i64> = 0..=i32::MAX as i64;

/// The kubelet's safe sysctls (`pkg/kubelet/sysctl/safe_sysctls.go`, 1.36).
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// Linux's capabilities (`capabilities(7)`), and `ALL`.
const CAPABILITIES: [&str; 42] = [
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Which of the machine's namespaces the Pod has: their sysctls are the machine's.
#[derive(Clone, Copy)]
pub(super) struct HostNamespaces {
    pub network: bool,
    pub ipc: bool,
}

/// `spec.securityContext`.
pub(super) fn pod_security(field: &Field<'_>, host: HostNamespaces) -> PodSecurity {
    let security = field.object(POD_SECURITY, |o| {
        app_armor(o);
        PodSecurity {
            run_as_user: id(o, "runAsUser"),
            run_as_group: id(o, "runAsGroup"),
            run_as_non_root: o.bool("runAsNonRoot"),
            fs_group: id(o, "fsGroup"),
            fs_group_on_root_mismatch: o
                .text("fsGroupChangePolicy")
                .and_then(|f| f.choice(&[("Always", false), ("OnRootMismatch", true)]))
                .unwrap_or_default(),
            supplemental_groups: o
                .list("supplementalGroups")
                .iter()
                .filter_map(as_id)
                .collect(),
            supplemental_groups_strict: o
                .text("supplementalGroupsPolicy")
                .and_then(|f| f.choice(&[("Merge", false), ("Strict", true)]))
                .unwrap_or_default(),
            seccomp: seccomp(o),
            sysctls: sysctls(o, host),
        }
    });
    security.unwrap_or_default()
}

/// A container's `securityContext`.
pub(super) fn security(field: &Field<'_>) -> Security {
    let security = field.object(SECURITY, |o| {
        app_armor(o);
        let privileged = o.bool("privileged").unwrap_or_default();
        let escalation = o.get("allowPrivilegeEscalation");
        let allow_privilege_escalation = escalation.as_ref().and_then(|f| f.bool());
        if let (true, Some(false), Some(field)) =
            (privileged, allow_privilege_escalation, &escalation)
        {
            field.error("cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        Security {
            run_as_user: id(o, "runAsUser"),
            run_as_group: id(o, "runAsGroup"),
            run_as_non_root: o.bool("runAsNonRoot"),
            privileged,
            allow_privilege_escalation,
            read_only_root_filesystem: o.bool("readOnlyRootFilesystem").unwrap_or_default(),
            capabilities: o
                .get("capabilities")
                .map(|f| capabilities(&f))
                .unwrap_or_default(),
            seccomp: seccomp(o),
            // Since 1.33 Kubernetes wants `hostUsers: false` with Unmasked; before it did not.
            proc_mount: o
                .text("procMount")
                .and_then(|f| {
                    f.choice(&[
                        ("Default", ProcMount::Default),
                        ("Unmasked", ProcMount::Unmasked),
                    ])
                })
                .unwrap_or_default(),
        }
    });
    security.unwrap_or_default()
}

fn id(o: &mut Object<'_, '_>, name: &'static str) -> Option<u32> {
    o.get(name).as_ref().and_then(as_id)
}

fn as_id(field: &Field<'_>) -> Option<u32> {
    u32::try_from(field.integer(IDS)?).ok()
}

fn capabilities(field: &Field<'_>) -> Capabilities {
    let capabilities = field.object(NONE, |o| Capabilities {
        add: o.list("add").iter().filter_map(capability).collect(),
        drop: o.list("drop").iter().filter_map(capability).collect(),
    });
    capabilities.unwrap_or_default()
}

/// In any case, as containerd takes it, but without `CAP_`.
fn capability(field: &Field<'_>) -> Option<String> {
    let text = field.string()?;
    let name = text.to_ascii_uppercase();
    if CAPABILITIES.contains(&&*name) {
        return Some(name);
    }
    match name.strip_prefix("CAP_") {
        Some(bare) if CAPABILITIES.contains(&bare) => {
            field.invalid(&format!("must be written without CAP_: {bare}"));
        }
        bare => {
            let hint = did_you_mean(bare.unwrap_or(&name), &CAPABILITIES);
            field.invalid(&format!("is no capability of Linux{hint}"));
        }
    }
    None
}

fn seccomp(o: &mut Object<'_, '_>) -> Option<SeccompProfile> {
    let read = |o: &mut Object<'_, '_>| {
        let file = o.get("localhostProfile");
        let kind = o.require("type")?;
        let choices = [
            ("RuntimeDefault", 'r'),
            ("Unconfined", 'u'),
            ("Localhost", 'l'),
        ];
        let profile = match (kind.choice(&choices)?, &file) {
            ('l', None) => {
                o.missing("localhostProfile", "required when the type is Localhost");
                return None;
            }
            ('l', Some(file)) => return localhost_profile(file),
            ('u', _) => SeccompProfile::Unconfined,
            _ => SeccompProfile::RuntimeDefault,
        };
        if let Some(file) = file {
            file.error("can only be set when the type is Localhost");
        }
        Some(profile)
    };
    o.get("seccompProfile")?.object(NONE, read)?
}

fn localhost_profile(file: &Field<'_>) -> Option<SeccompProfile> {
    let path = file.checked(|path| match path {
        "" => Err("must name a file below the machine's seccomp directory".into()),
        _ => descending(path),
    });
    Some(SeccompProfile::Localhost(path?.to_owned()))
}

/// Only what changes nothing: the profile that every container has where no AppArmor is.
fn app_armor(o: &mut Object<'_, '_>) {
    let Some(field) = o.get("appArmorProfile") else {
        return;
    };
    field.object(NONE, |o| {
        o.get("localhostProfile");
        let Some(kind) = o.require("type") else {
            return;
        };
        let choices = [
            ("RuntimeDefault", true),
            ("Unconfined", true),
            ("Localhost", false),
        ];
        match kind.choice(&choices) {
            Some(true) => kind.ignore("Carob sets no AppArmor profiles"),
            Some(false) => {
                kind.unsupported("it loads no AppArmor profiles; remove appArmorProfile")
            }
            None => {}
        }
    });
}

fn sysctls(o: &mut Object<'_, '_>, host: HostNamespaces) -> Vec<Sysctl> {
    let mut names = Unique::default();
    let items = o.list("sysctls");
    let sysctl = |item: &Field<'_>| {
        item.object(NONE, |o| {
            let name = o.require("name").and_then(|field| {
                let name = sysctl_name(&field, host)?;
                names.check(&field, &*name);
                Some(name)
            });
            let value = o.require("value").and_then(|f| f.checked(sysctl_value));
            Some(Sysctl {
                name: name?,
                value: value?.to_owned(),
            })
        })?
    };
    items.iter().filter_map(sysctl).collect()
}

/// Dotted; `/` is taken for `.`, as Kubernetes does.
fn sysctl_name(field: &Field<'_>, host: HostNamespaces) -> Option<String> {
    let name = field.string()?.replace('/', ".");
    if !SAFE_SYSCTLS.contains(&&*name) {
        let hint = did_you_mean(&name, &SAFE_SYSCTLS);
        field.invalid(&format!(
            "is none of the sysctls that are safe in a Pod ({}){hint}",
            SAFE_SYSCTLS.join(", ")
        ));
        return None;
    }
    if name.starts_with("net.") && host.network {
        field.invalid("cannot be set with hostNetwork: it is the machine's");
    }
    if name.starts_with("kernel.shm") && host.ipc {
        field.invalid("cannot be set with hostIPC: it is the machine's");
    }
    Some(name)
}

/// The safe sysctls are numbers, ranges and lists of them.
fn sysctl_value(value: &str) -> Check {
    let ok = |b: u8| b.is_ascii_digit() || b"-, \t".contains(&b);
    if value.is_empty() || !value.bytes().all(ok) {
        return Err("must consist of digits, '-', ',' and spaces".into());
    }
    Ok(())
}
