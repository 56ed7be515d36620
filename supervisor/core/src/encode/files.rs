//! What of ConfigMaps, Secrets and the Pod itself becomes variables and files.

use serde_json::{Value, json};

use super::{fields, list};
use crate::config::ObjectKind;
use crate::pod::{
    DownwardFile, DownwardValue, EnvFrom, FileForm, FileSource, FileVolume, KeyRef, KeyToPath,
};

/// The key and the value of a volume's source.
pub(super) fn volume(volume: &FileVolume) -> (&'static str, Value) {
    let (key, name) = match volume.form {
        FileForm::ConfigMap => ("configMap", "name"),
        FileForm::Secret => ("secret", "secretName"),
        FileForm::DownwardApi => ("downwardAPI", ""),
        FileForm::Projected => ("projected", ""),
    };
    let mut value = match (volume.form, &volume.sources[..]) {
        (FileForm::Projected, sources) => json!({ "sources": list(sources, projection) }),
        (_, sources) => sources.first().map_or(json!({}), |s| source(s, name)),
    };
    value["defaultMode"] = json!(volume.default_mode);
    (key, value)
}

fn projection(of: &FileSource) -> Value {
    let key = match of {
        FileSource::Downward(_) => "downwardAPI",
        FileSource::Object { object, .. } => match object.kind {
            ObjectKind::ConfigMap => "configMap",
            ObjectKind::Secret => "secret",
        },
    };
    json!({ key: source(of, "name") })
}

fn source(source: &FileSource, name: &str) -> Value {
    match source {
        FileSource::Object { object, items } => {
            let mut value = fields([
                ("items", list(items, item)),
                ("optional", json!(object.optional)),
            ]);
            value[name] = json!(object.name);
            value
        }
        FileSource::Downward(items) => fields([("items", list(items, downward))]),
    }
}

fn item(item: &KeyToPath) -> Value {
    fields([
        ("key", json!(item.key)),
        ("mode", json!(item.mode)),
        ("path", json!(item.path)),
    ])
}

fn downward(file: &DownwardFile) -> Value {
    let (key, value) = match &file.value {
        DownwardValue::Field(path) => {
            ("fieldRef", json!({ "apiVersion": "v1", "fieldPath": path }))
        }
        DownwardValue::Resource {
            container,
            resource,
            divisor,
        } => (
            "resourceFieldRef",
            json!({ "containerName": container, "divisor": divisor, "resource": resource }),
        ),
    };
    fields([
        (key, value),
        ("mode", json!(file.mode)),
        ("path", json!(file.path)),
    ])
}

/// One entry of `envFrom`.
pub(super) fn env_from(from: &EnvFrom) -> Value {
    let key = match from.object.kind {
        ObjectKind::ConfigMap => "configMapRef",
        ObjectKind::Secret => "secretRef",
    };
    let reference = fields([
        ("name", json!(from.object.name)),
        ("optional", json!(from.object.optional)),
    ]);
    fields([("prefix", json!(from.prefix)), (key, reference)])
}

/// The `valueFrom` of a variable.
pub(super) fn key(key: &KeyRef) -> Value {
    let name = match key.object.kind {
        ObjectKind::ConfigMap => "configMapKeyRef",
        ObjectKind::Secret => "secretKeyRef",
    };
    json!({ name: fields([
        ("key", json!(key.key)),
        ("name", json!(key.object.name)),
        ("optional", json!(key.object.optional)),
    ]) })
}
