//! Documents that are ConfigMaps or Secrets. No message about one shows what it holds.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::field::Field;
use super::metadata;
use super::names::config_key;
use super::object::Object;
use super::tree::Value;
use super::unhonoured::NONE;
use crate::config::{ConfigObject, Datum, ObjectId, ObjectKind};

/// The most that all values may have together, in bytes (`MaxSecretSize`, which is also a ConfigMap's).
const MAX_SIZE: usize = 1 << 20;

/// What one says that it is.
pub(super) fn kind(name: &str) -> Option<ObjectKind> {
    match name {
        "ConfigMap" => Some(ObjectKind::ConfigMap),
        "Secret" => Some(ObjectKind::Secret),
        _ => None,
    }
}

/// A whole document.
pub(super) fn config_object(field: &Field<'_>, kind: ObjectKind) -> Option<ConfigObject> {
    field.object(NONE, |o| {
        super::api_version(o.require("apiVersion"));
        o.get("kind");
        let metadata = o.require("metadata");
        let metadata = metadata.and_then(|f| metadata::metadata(&f, &mut String::new));
        let immutable = o.bool("immutable").unwrap_or_default();
        let (data, secret_type) = match kind {
            ObjectKind::ConfigMap => (config_map(o), None),
            ObjectKind::Secret => {
                let data = secret(o);
                let kind = o.text("type");
                let name = kind.as_ref().and_then(|f| f.string());
                let name = name.unwrap_or("Opaque");
                if let Some(field) = kind {
                    check_type(&field, name, &data);
                }
                (data, Some(name.to_owned()))
            }
        };
        let size: usize = data.values().map(|datum| datum.bytes.len()).sum();
        if size > MAX_SIZE {
            field.error(format!(
                "must have at most {MAX_SIZE} bytes of data in all, has {size}"
            ));
        }
        let metadata = metadata?;
        Some(ConfigObject {
            id: ObjectId {
                kind,
                namespace: metadata.namespace,
                name: metadata.name,
            },
            labels: metadata.labels,
            annotations: metadata.annotations,
            data,
            secret_type,
            immutable,
        })
    })?
}

fn config_map(o: &mut Object<'_, '_>) -> BTreeMap<String, Datum> {
    let mut data = texts(o, "data");
    for (key, field) in pairs(o, "binaryData") {
        if data.contains_key(key) {
            field.error_at_key("the key is in data too");
        }
        insert(&mut data, key, decoded(&field), true);
    }
    data
}

fn secret(o: &mut Object<'_, '_>) -> BTreeMap<String, Datum> {
    let mut data = BTreeMap::new();
    for (key, field) in pairs(o, "data") {
        insert(&mut data, key, decoded(&field), false);
    }
    // As the API server merges them.
    data.extend(texts(o, "stringData"));
    data
}

fn insert(data: &mut BTreeMap<String, Datum>, key: &str, bytes: Option<Vec<u8>>, binary: bool) {
    if let Some(bytes) = bytes {
        data.insert(key.to_owned(), Datum { bytes, binary });
    }
}

fn pairs<'m>(o: &mut Object<'_, 'm>, name: &'static str) -> Vec<(&'m str, Field<'m>)> {
    let pairs = o.get(name).map(|f| f.pairs()).unwrap_or_default();
    for (key, field) in &pairs {
        if let Err(rule) = config_key(key) {
            field.error_at_key(format!("the key {rule}"));
        }
    }
    pairs
}

fn texts(o: &mut Object<'_, '_>, name: &'static str) -> BTreeMap<String, Datum> {
    let mut data = BTreeMap::new();
    for (key, field) in pairs(o, name) {
        let bytes = text(&field).map(|text| text.as_bytes().to_vec());
        insert(&mut data, key, bytes, false);
    }
    data
}

/// A string; an absent value is an empty one, as for `kubectl`.
fn text<'m>(field: &Field<'m>) -> Option<&'m str> {
    let Value::Scalar(scalar) = &field.node().value else {
        field.error("must be a string, not a list or a map");
        return None;
    };
    match scalar.other_type() {
        Some("null") => Some(""),
        Some(other) => {
            field.error(format!(
                "must be a string, but YAML takes it for {other}; quote it"
            ));
            None
        }
        None => Some(&scalar.text),
    }
}

fn decoded(field: &Field<'_>) -> Option<Vec<u8>> {
    let Value::Scalar(scalar) = &field.node().value else {
        field.error("must be a string of base64, not a list or a map");
        return None;
    };
    if scalar.is_null() {
        return Some(Vec::new());
    }
    // Go's decoder passes over line breaks.
    let text: String = scalar
        .text
        .chars()
        .filter(|c| !matches!(c, '\n' | '\r'))
        .collect();
    let decoded = STANDARD.decode(text);
    if decoded.is_err() {
        field.error("is not base64; write it with `base64 -w0`, or use stringData of a Secret or data of a ConfigMap");
    }
    decoded.ok()
}

/// `ValidateSecret`: what a type promises is there.
fn check_type(field: &Field<'_>, name: &str, data: &BTreeMap<String, Datum>) {
    let json = |key: &str| match data.get(key) {
        None => field.error(format!("a Secret of this type must have the key {key}")),
        Some(datum) => {
            if serde_json::from_slice::<serde::de::IgnoredAny>(&datum.bytes).is_err() {
                field.error(format!(
                    "the key {key} of a Secret of this type must hold JSON"
                ));
            }
        }
    };
    match name {
        "kubernetes.io/dockerconfigjson" => json(".dockerconfigjson"),
        "kubernetes.io/dockercfg" => json(".dockercfg"),
        "kubernetes.io/basic-auth"
            if !data.contains_key("username") && !data.contains_key("password") =>
        {
            field.error("a Secret of this type must have the key username or password");
        }
        "kubernetes.io/ssh-auth" => {
            let key = data.get("ssh-privatekey");
            if key.is_none_or(|datum| datum.bytes.is_empty()) {
                field.error("a Secret of this type must have the key ssh-privatekey");
            }
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if !data.contains_key(key) {
                    field.error(format!("a Secret of this type must have the key {key}"));
                }
            }
        }
        "kubernetes.io/service-account-token" => {
            field.unsupported("it has no service accounts; remove the document");
        }
        _ => {}
    }
}
