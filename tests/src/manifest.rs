//! Manifests, written briefly.

use serde_json::{Value, json};

/// A Pod that is never restarted and gets a short grace period, unless `spec` says otherwise.
pub fn pod(name: &str, spec: Value) -> Value {
    let defaults = json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 5});
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": with(defaults, spec),
    })
}

/// A container of busybox that runs a script.
pub fn shell(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "busybox:1", "command": ["sh", "-c", script]})
}

/// The same with more fields; they replace those of the same name.
pub fn with(mut object: Value, more: Value) -> Value {
    let (Value::Object(fields), Value::Object(more)) = (&mut object, more) else {
        panic!("both are objects");
    };
    fields.extend(more);
    object
}
