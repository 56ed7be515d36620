//! A container's `volumeMounts`.

use std::collections::BTreeSet;

use super::field::Field;
use super::findings::{Unique, did_you_mean};
use super::names::Check;
use super::object::Object;
use super::unhonoured::VOLUME_MOUNT;
use super::volume::{descending, normalised, without_backsteps};
use crate::pod::{MountPropagation, VolumeMount};

/// The files of `/proc` that may be mounted over, as runc has them (for lxcfs).
const PROC_FILES: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// What the mounts of a container are checked against.
pub(super) struct Mountable<'a> {
    /// The names of the Pod's volumes.
    pub volumes: &'a BTreeSet<&'a str>,
    pub privileged: bool,
}

/// All mounts of a container.
pub(super) fn mounts(o: &mut Object<'_, '_>, mountable: &Mountable<'_>) -> Vec<VolumeMount> {
    let mut paths = Unique::default();
    let items = o.list("volumeMounts");
    let read =
        |field: &Field<'_>| field.object(VOLUME_MOUNT, |o| mount(o, mountable, &mut paths))?;
    items.iter().filter_map(read).collect()
}

fn mount(
    o: &mut Object<'_, '_>,
    mountable: &Mountable<'_>,
    paths: &mut Unique,
) -> Option<VolumeMount> {
    let name = o
        .require("name")
        .and_then(|f| volume_name(&f, mountable.volumes));
    let mount_path = o.require("mountPath").and_then(|field| {
        let path = normalised(field.checked(mount_path)?);
        paths.check(&field, &*path);
        Some(path)
    });
    let sub_path = o.text("subPath");
    let sub_path_expr = o.text("subPathExpr");
    if let (Some(_), Some(field)) = (&sub_path, &sub_path_expr) {
        field.error("subPathExpr and subPath are mutually exclusive");
    }
    let below = |field: Option<Field<'_>>| Some(field?.checked(descending)?.to_owned());
    let (sub_path, sub_path_expr) = (below(sub_path), below(sub_path_expr));
    let read_only = o.bool("readOnly").unwrap_or_default();
    recursive_read_only(o);
    let propagation = propagation(o, mountable.privileged);
    Some(VolumeMount {
        name: name?,
        mount_path: mount_path?,
        read_only,
        sub_path,
        sub_path_expr,
        propagation,
    })
}

fn volume_name(field: &Field<'_>, volumes: &BTreeSet<&str>) -> Option<String> {
    let name = field.string()?;
    if !volumes.contains(name) {
        let known: Vec<&str> = volumes.iter().copied().collect();
        let hint = did_you_mean(name, &known);
        field.invalid(&format!(
            "is no volume of this Pod; add it to spec.volumes{hint}"
        ));
    }
    Some(name.to_owned())
}

fn mount_path(path: &str) -> Check {
    if path.contains(':') {
        return Err("must not contain ':'".into());
    }
    without_backsteps(path)?;
    let path = normalised(path);
    if path == "/" {
        return Err("cannot be mounted over: it is the container's root".into());
    }
    if (path == "/proc" || path.starts_with("/proc/")) && !PROC_FILES.contains(&&*path) {
        return Err("cannot be mounted over: it is in /proc".into());
    }
    Ok(())
}

fn recursive_read_only(o: &mut Object<'_, '_>) {
    let Some(field) = o.text("recursiveReadOnly") else {
        return;
    };
    match field.choice(&[("Disabled", 'd'), ("IfPossible", 'p'), ("Enabled", 'e')]) {
        Some('p') => field.ignore("mounts are made read-only, not those below them"),
        Some('e') => {
            field.unsupported("it makes mounts read-only, not those below them; remove the field")
        }
        _ => {}
    }
}

fn propagation(o: &mut Object<'_, '_>, privileged: bool) -> MountPropagation {
    let Some(field) = o.text("mountPropagation") else {
        return MountPropagation::None;
    };
    let propagation = field.choice(&[
        ("None", MountPropagation::None),
        ("HostToContainer", MountPropagation::HostToContainer),
        ("Bidirectional", MountPropagation::Bidirectional),
    ]);
    if propagation == Some(MountPropagation::Bidirectional) && !privileged {
        field.error("Bidirectional mount propagation is available only to privileged containers");
    }
    propagation.unwrap_or_default()
}
