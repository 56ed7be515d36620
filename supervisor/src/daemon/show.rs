//! What a daemon says of its Pods: warnings in its log, and each change as one JSON line for programs.

use std::io::{self, Write};

use carob_core::status::EventType;
use serde_json::{Value, json};

use crate::registry::{Change, PodObject, What};

/// Tells a change. `lines` are Kubernetes' watch events, as `kubectl get pods -w -o json --output-watch-events` has
/// them, on standard output.
pub fn tell(change: &Change, lines: bool) {
    let (kind, object): (_, &PodObject) = match &change.what {
        What::Added(object) => ("ADDED", object),
        What::Modified(object) => ("MODIFIED", object),
        What::Deleted(object) => ("DELETED", object),
        What::Event(object, entry) => {
            let event = &entry.event;
            if event.kind == EventType::Warning {
                let (pod, reason) = (object.full_name(), &event.reason);
                tracing::warn!("Pod {pod}: {reason}: {}", event.message);
            }
            return;
        }
    };
    if lines {
        print(&json!({"type": kind, "object": object.to_value()}));
    }
}

/// A closed standard output is the reader's choice and no reason to end.
fn print(line: &Value) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
