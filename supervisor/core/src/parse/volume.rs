//! `spec.volumes`, and the rules for paths.

use std::collections::BTreeSet;

use super::field::Field;
use super::file_volume::{FORMS, file_volume};
use super::findings::Unique;
use super::names::{Check, dns_label};
use super::object::Object;
use super::unhonoured::{EMPTY_DIR, NONE, VOLUME};
use crate::pod::{HostPathType, Medium, Volume, VolumeSource};

/// One volume.
pub(super) fn volume(
    field: &Field<'_>,
    names: &mut Unique,
    containers: &BTreeSet<&str>,
) -> Option<Volume> {
    field.object(VOLUME, |o| {
        let name = o.require("name").and_then(|field| {
            let name = field.checked(dns_label)?;
            names.check(&field, name);
            Some(name)
        });
        let source = source(o, containers);
        Some(Volume {
            name: name?.to_owned(),
            source: source?,
        })
    })?
}

fn source(o: &mut Object<'_, '_>, containers: &BTreeSet<&str>) -> Option<VolumeSource> {
    let mut found = Vec::new();
    if let Some(field) = o.get("emptyDir") {
        let source = field.object(EMPTY_DIR, empty_dir_source);
        found.push(("emptyDir", field, source));
    }
    if let Some(field) = o.get("hostPath") {
        let source = field.object(NONE, host_path_source).flatten();
        found.push(("hostPath", field, source));
    }
    for (name, form) in FORMS {
        if let Some(field) = o.get(name) {
            let source = file_volume(&field, form, containers).map(VolumeSource::Files);
            found.push((name, field, source));
        }
    }
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some((first, ..)), Some((_, second, _))) => {
            second.error(format!("a volume has one source; this one has {first} too"));
            None
        }
        (Some((_, _, source)), None) => source,
        // As the API server has it; a source that is not supported is an error of its own. But
        // `hostPath:` with nothing behind it, also an emptyDir to Kubernetes, was meant otherwise.
        (None, _) => {
            if let Some(key) = o.null_keys().find(|key| *key != "emptyDir") {
                o.missing(key, "has no value");
            }
            Some(VolumeSource::EmptyDir {
                medium: Medium::Disk,
                size_limit: None,
            })
        }
    }
}

fn empty_dir_source(o: &mut Object<'_, '_>) -> VolumeSource {
    let medium = o.text("medium").and_then(|field| {
        if field.string()?.starts_with("HugePages") {
            field.unsupported("it makes no volumes of huge pages; use medium: Memory");
            return None;
        }
        field.choice(&[("Memory", Medium::Memory)])
    });
    let medium = medium.unwrap_or_default();
    let size_limit = o.get("sizeLimit").and_then(|field| {
        let limit = u64::try_from(field.quantity()?.value()).ok()?;
        if medium == Medium::Disk {
            field.warn("not enforced on disk yet, only with medium: Memory");
        }
        (limit > 0).then_some(limit)
    });
    VolumeSource::EmptyDir { medium, size_limit }
}

fn host_path_source(o: &mut Object<'_, '_>) -> Option<VolumeSource> {
    let path = o.require("path").and_then(|f| f.checked(absolute));
    let kind = o.text("type").and_then(|f| {
        f.choice(&[
            ("DirectoryOrCreate", HostPathType::DirectoryOrCreate),
            ("Directory", HostPathType::Directory),
            ("FileOrCreate", HostPathType::FileOrCreate),
            ("File", HostPathType::File),
            ("Socket", HostPathType::Socket),
            ("CharDevice", HostPathType::CharDevice),
            ("BlockDevice", HostPathType::BlockDevice),
        ])
    });
    Some(VolumeSource::HostPath {
        path: path?.to_owned(),
        kind: kind.unwrap_or_default(),
    })
}

/// An absolute path without `..`.
pub(super) fn absolute(path: &str) -> Check {
    if !path.starts_with('/') {
        return Err("must be an absolute path".into());
    }
    without_backsteps(path)
}

/// A path below something: not absolute, without `..` (`validateLocalDescendingPath`).
pub(super) fn descending(path: &str) -> Check {
    if path.starts_with('/') {
        return Err("must be a relative path".into());
    }
    without_backsteps(path)
}

pub(super) fn without_backsteps(path: &str) -> Check {
    if path.split('/').any(|part| part == "..") {
        return Err("must not contain '..'".into());
    }
    Ok(())
}

/// Without empty parts and `.`: `/a//b/./` is `/a/b`. Relative paths begin at the root, as a kubelet has it.
pub(super) fn normalised(path: &str) -> String {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|p| !p.is_empty() && *p != ".")
        .collect();
    format!("/{}", parts.join("/"))
}
