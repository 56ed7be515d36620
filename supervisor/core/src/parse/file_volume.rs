//! Volumes of files that Carob writes: `configMap`, `secret`, `downwardAPI` and `projected`.

use std::collections::BTreeSet;

use super::downward::{FILE_PATHS, field_ref, resource_ref};
use super::env_vars::object_ref;
use super::field::Field;
use super::findings::Unique;
use super::names::{Check, config_key};
use super::object::Object;
use super::tree::Value;
use super::unhonoured::{NONE, PROJECTION};
use super::volume::{descending, normalised};
use crate::config::ObjectKind;
use crate::pod::{DownwardFile, DownwardValue, FileForm, FileSource, FileVolume, KeyToPath};

/// Each form with its key in a volume.
pub(super) const FORMS: [(&str, FileForm); 4] = [
    ("configMap", FileForm::ConfigMap),
    ("secret", FileForm::Secret),
    ("downwardAPI", FileForm::DownwardApi),
    ("projected", FileForm::Projected),
];

/// The volume of a form. `containers` are the names of all containers of the Pod.
pub(super) fn file_volume(
    field: &Field<'_>,
    form: FileForm,
    containers: &BTreeSet<&str>,
) -> Option<FileVolume> {
    field.object(NONE, |o| {
        let default_mode = o.get("defaultMode").map(|f| mode(&f));
        let mut paths = Unique::default();
        let sources = match form {
            FileForm::ConfigMap => keys(o, "name", ObjectKind::ConfigMap, &mut paths).map(one),
            FileForm::Secret => keys(o, "secretName", ObjectKind::Secret, &mut paths).map(one),
            FileForm::DownwardApi => Some(one(downward(o, containers, &mut paths))),
            FileForm::Projected => Some(projections(o, containers, &mut paths)),
        };
        Some(FileVolume {
            form,
            sources: sources?,
            default_mode: match default_mode {
                Some(mode) => mode?,
                None => FileVolume::DEFAULT_MODE,
            },
        })
    })?
}

fn one(source: FileSource) -> Vec<FileSource> {
    vec![source]
}

fn projections(
    o: &mut Object<'_, '_>,
    containers: &BTreeSet<&str>,
    paths: &mut Unique,
) -> Vec<FileSource> {
    let sources = o.list("sources");
    let read = |field: &Field<'_>| {
        field.object(PROJECTION, |o| {
            let map = o.get("configMap");
            let map =
                map.map(|f| f.object(NONE, |o| keys(o, "name", ObjectKind::ConfigMap, paths)));
            let secret = o.get("secret");
            let secret =
                secret.map(|f| f.object(NONE, |o| keys(o, "name", ObjectKind::Secret, paths)));
            let pod = o.get("downwardAPI");
            let pod = pod.map(|f| f.object(NONE, |o| Some(downward(o, containers, paths))));
            let mut found = [map, secret, pod].into_iter().flatten();
            let first = found.next();
            if found.next().is_some() {
                field.error("may not have more than one of configMap, secret and downwardAPI");
            }
            let refused = || {
                PROJECTION
                    .iter()
                    .any(|(name, _)| field.entry(name).is_some())
            };
            if first.is_none() && !refused() {
                field.error("must specify one of: `configMap`, `secret`, `downwardAPI`");
            }
            first.flatten().flatten()
        })?
    };
    let mut read = read;
    sources.iter().filter_map(&mut read).collect()
}

fn keys(
    o: &mut Object<'_, '_>,
    name: &'static str,
    kind: ObjectKind,
    paths: &mut Unique,
) -> Option<FileSource> {
    let items = o.list("items");
    let item = |field: &Field<'_>| {
        field.object(NONE, |o| {
            let key = o
                .require("key")
                .and_then(|f| f.checked(config_key).map(str::to_owned));
            let (path, mode) = place(o, paths)?;
            Some(KeyToPath {
                key: key?,
                path,
                mode,
            })
        })?
    };
    let items = items.iter().filter_map(item).collect();
    let object = object_ref(o, name, kind)?;
    Some(FileSource::Object { object, items })
}

fn downward(o: &mut Object<'_, '_>, containers: &BTreeSet<&str>, paths: &mut Unique) -> FileSource {
    let items = o.list("items");
    let item = |field: &Field<'_>| {
        field.object(NONE, |o| {
            let place = place(o, paths);
            let value = match (o.get("fieldRef"), o.get("resourceFieldRef")) {
                (Some(_), Some(_)) => {
                    field
                        .error("fieldRef and resourceFieldRef can not be specified simultaneously");
                    None
                }
                (None, None) => {
                    field.error("one of fieldRef and resourceFieldRef is required");
                    None
                }
                (Some(field), None) => {
                    let path = field.object(NONE, |o| field_ref(o, FILE_PATHS)).flatten();
                    path.map(DownwardValue::Field)
                }
                (None, Some(field)) => field
                    .object(NONE, |o| {
                        let amount = resource_ref(o, containers)?;
                        let Some(container) = amount.container else {
                            o.missing("containerName", "required");
                            return None;
                        };
                        Some(DownwardValue::Resource {
                            container,
                            resource: amount.resource,
                            divisor: amount.divisor,
                        })
                    })
                    .flatten(),
            };
            let (path, mode) = place?;
            Some(DownwardFile {
                path,
                mode,
                value: value?,
            })
        })?
    };
    FileSource::Downward(items.iter().filter_map(item).collect())
}

/// `path` and `mode` of an item.
fn place(o: &mut Object<'_, '_>, paths: &mut Unique) -> Option<(String, Option<u32>)> {
    let mode = o.get("mode").map(|f| mode(&f));
    let field = o.require("path")?;
    let path = field.checked(file_path)?;
    // Two sources may not have one file (`validateProjectionSources`).
    paths.check(&field, normalised(path));
    Some((
        path.to_owned(),
        match mode {
            Some(mode) => Some(mode?),
            None => None,
        },
    ))
}

/// `validateLocalNonReservedPath`.
fn file_path(path: &str) -> Check {
    descending(path)?;
    if path.starts_with("..") {
        return Err("must not start with '..'".into());
    }
    if normalised(path) == "/" {
        return Err("must name a file".into());
    }
    Ok(())
}

/// Permission bits: `0644` is octal to `kubectl`, and 420 is the same.
fn mode(field: &Field<'_>) -> Option<u32> {
    if let Value::Scalar(scalar) = &field.node().value
        && scalar.plain
        && let Some(digits) = scalar.text.strip_prefix('0')
        && !digits.is_empty()
    {
        let digits = digits.strip_prefix('o').unwrap_or(digits);
        let mode = u32::from_str_radix(digits, 8)
            .ok()
            .filter(|mode| *mode <= 0o777);
        if mode.is_none() {
            field.invalid("must be between 0000 and 0777, octal, or between 0 and 511, decimal");
        }
        return mode;
    }
    field
        .integer(0..=0o777)
        .and_then(|mode| u32::try_from(mode).ok())
}
