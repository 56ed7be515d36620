//! What a script sees of a foreground run: the whole Pod object, one JSON line at each change.

use std::io::{self, Write};

use carob_core::encode;
use carob_core::pod::Pod;
use carob_core::status::{EventType, PodStatus};
use serde_json::{Value, json};

use crate::watch::Update;

/// The objects, to which the status is added.
pub struct Json {
    pods: Vec<Value>,
}

impl Json {
    /// A view of these Pods.
    pub fn new<'a>(pods: impl Iterator<Item = &'a Pod>) -> Self {
        Self {
            pods: pods.map(encode::object).collect(),
        }
    }

    /// Prints the Pod when its status has changed, and warnings to standard error.
    pub fn update(&mut self, pod: usize, update: &Update) {
        match update {
            Update::Status(status) => self.print(pod, status),
            Update::Event(event) if event.kind == EventType::Warning => {
                let name = self.pods[pod]["metadata"]["name"]
                    .as_str()
                    .unwrap_or_default();
                eprintln!("carob: {name}: {}: {}", event.reason, event.message);
            }
            _ => {}
        }
    }

    fn print(&mut self, pod: usize, status: &PodStatus) {
        let object = &mut self.pods[pod];
        object["status"] = json!(status);
        let mut out = io::stdout().lock();
        // A closed standard output is the reader's choice and no reason to end the Pod.
        let _ = writeln!(out, "{object}").and_then(|()| out.flush());
    }
}
