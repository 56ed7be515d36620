//! The files of a volume: what they are called, what they hold, and with which permissions.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{ObjectKind, ObjectSet};
use crate::env::{Facts, amount, field};
use crate::pod::{
    Container, DownwardFile, DownwardValue, FileSource, FileVolume, KeyToPath, ObjectRef, Pod,
};

/// One file.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// What it holds; never shown, it may be secret.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

/// Why a volume has no files yet, in a kubelet's words (`pkg/volume/{configmap,secret,projected}`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// There is no such ConfigMap or Secret.
    #[error("{} {name:?} not found", kind.resource())]
    NotFound {
        /// Which of the two.
        kind: ObjectKind,
        /// Its name.
        name: String,
    },
    /// It does not have the key.
    #[error("references non-existent {} key: {key}", if *kind == ObjectKind::Secret { "secret" } else { "config" })]
    NoKey {
        /// Whose.
        kind: ObjectKind,
        /// The key.
        key: String,
    },
    /// Two sources have a file of the same name, or one is a directory to the other.
    #[error("the file {path:?} comes from two of its sources; give one another path by items")]
    Twice {
        /// The path.
        path: String,
    },
    /// A field or container that the Pod does not have.
    #[error("the file {path:?} can't be made: the Pod has no {what:?}")]
    NoField {
        /// The file.
        path: String,
        /// The field or container.
        what: String,
    },
}

/// The files of a volume by their paths, relative and without `..`.
///
/// # Errors
/// [`PayloadError`], unless what is missing is optional.
pub fn payload(
    pod: &Pod,
    volume: &FileVolume,
    objects: &ObjectSet,
    facts: &Facts,
) -> Result<BTreeMap<String, File>, PayloadError> {
    let mut files = BTreeMap::new();
    for source in &volume.sources {
        let made = match source {
            FileSource::Object { object, items } => keys(pod, object, items, objects)?,
            FileSource::Downward(items) => downward(pod, items, facts)?,
        };
        for (path, bytes, mode) in made {
            let path = normalised(&path);
            let file = File {
                bytes,
                mode: mode.unwrap_or(volume.default_mode),
            };
            let below = |other: &String| {
                other
                    .strip_prefix(&*path)
                    .is_some_and(|r| r.starts_with('/'))
                    || path
                        .strip_prefix(&**other)
                        .is_some_and(|r| r.starts_with('/'))
            };
            if files.contains_key(&path) || files.keys().any(below) {
                return Err(PayloadError::Twice { path });
            }
            files.insert(path, file);
        }
    }
    Ok(files)
}

type Made = Vec<(String, Vec<u8>, Option<u32>)>;

fn keys(
    pod: &Pod,
    reference: &ObjectRef,
    items: &[KeyToPath],
    objects: &ObjectSet,
) -> Result<Made, PayloadError> {
    let Some(object) = objects.referred(&pod.metadata.namespace, reference) else {
        return match reference.optional {
            true => Ok(Vec::new()),
            false => Err(PayloadError::NotFound {
                kind: reference.kind,
                name: reference.name.clone(),
            }),
        };
    };
    if items.is_empty() {
        let all = object.data.iter();
        return Ok(all
            .map(|(key, datum)| (key.clone(), datum.bytes.clone(), None))
            .collect());
    }
    let mut made = Vec::new();
    for KeyToPath { key, path, mode } in items {
        match object.data.get(key) {
            Some(datum) => made.push((path.clone(), datum.bytes.clone(), *mode)),
            None if reference.optional => {}
            None => {
                return Err(PayloadError::NoKey {
                    kind: reference.kind,
                    key: key.clone(),
                });
            }
        }
    }
    Ok(made)
}

fn downward(pod: &Pod, items: &[DownwardFile], facts: &Facts) -> Result<Made, PayloadError> {
    let made = items.iter().map(|DownwardFile { path, mode, value }| {
        let none = |what: &str| PayloadError::NoField {
            path: path.clone(),
            what: what.to_owned(),
        };
        let text = match value {
            DownwardValue::Field(name) => match &**name {
                "metadata.labels" => lines(&pod.metadata.labels),
                "metadata.annotations" => lines(&pod.metadata.annotations),
                name => field(pod, name, facts).ok_or_else(|| none(name))?,
            },
            DownwardValue::Resource {
                container,
                resource,
                divisor,
            } => {
                let of = |c: &&Container| c.name == *container;
                let found = pod.spec.all_containers().find(of);
                let of = found.ok_or_else(|| none(container))?;
                amount(of, resource, facts).divided_by(divisor).to_string()
            }
        };
        Ok((path.clone(), text.into_bytes(), *mode))
    });
    made.collect()
}

/// `key="value"`, a line each (`FormatMap`, pkg/fieldpath/fieldpath.go).
fn lines(map: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (key, value) in map {
        text += key;
        text += "=\"";
        for c in value.chars() {
            match c {
                '"' => text += "\\\"",
                '\\' => text += "\\\\",
                '\n' => text += "\\n",
                '\r' => text += "\\r",
                '\t' => text += "\\t",
                '\u{7}' => text += "\\a",
                '\u{8}' => text += "\\b",
                '\u{b}' => text += "\\v",
                '\u{c}' => text += "\\f",
                c if u32::from(c) < 0x20 || c == '\u{7f}' => {
                    // Writing to a string can't fail.
                    let _ = write!(text, "\\x{:02x}", u32::from(c));
                }
                c => text.push(c),
            }
        }
        text += "\"\n";
    }
    text
}

/// Without empty parts and `.`.
fn normalised(path: &str) -> String {
    let parts = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".");
    parts.collect::<Vec<_>>().join("/")
}
