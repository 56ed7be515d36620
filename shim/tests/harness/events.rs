//! Who takes the shim's events, as containerd would.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use std::path::Path;

use containerd_shim_protos::api::*;
use containerd_shim_protos::events::task::TaskExecStarted;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim_sync::{Events, create_events};
use ttrpc::{Server, TtrpcContext};

use super::PATIENCE;

/// The events that the shim published.
#[derive(Default)]
pub struct EventLog {
    seen: Mutex<Vec<(String, Any)>>,
    more: Condvar,
}

impl Events for EventLog {
    fn forward(&self, _: &TtrpcContext, request: ForwardRequest) -> ttrpc::Result<Empty> {
        let envelope = request.envelope.into_option().expect("an envelope");
        assert!(envelope.timestamp.is_some());
        let event = envelope.event.into_option().expect("an event");
        self.seen
            .lock()
            .expect("no panic")
            .push((envelope.topic, event));
        self.more.notify_all();
        Ok(Empty::new())
    }
}

struct Forward(Arc<EventLog>);

impl Events for Forward {
    fn forward(&self, context: &TtrpcContext, request: ForwardRequest) -> ttrpc::Result<Empty> {
        self.0.forward(context, request)
    }
}

impl EventLog {
    /// The topics so far, of events about `id`: its own and its execs'.
    pub fn topics(&self) -> Vec<String> {
        self.seen
            .lock()
            .expect("no panic")
            .iter()
            .map(|(topic, _)| topic.clone())
            .collect()
    }

    /// The topics so far of each container, with the process that an exit is of.
    pub fn by_container(&self) -> BTreeMap<String, Vec<String>> {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (topic, event) in self.seen.lock().expect("no panic").iter() {
            // All have the container's id first, and those of execs the exec's second.
            let of = TaskExecStarted::parse_from_bytes(&event.value).expect("decodes");
            let topic = match topic.as_str() {
                "/tasks/exit" | "/tasks/exec-added" | "/tasks/exec-started" => {
                    format!("{topic} {}", of.exec_id)
                }
                other => other.to_owned(),
            };
            found.entry(of.container_id).or_default().push(topic);
        }
        found
    }

    /// Waits for `count` events of `topic`; returns them all.
    pub fn wait_for<M: Message>(&self, topic: &str, count: usize) -> Vec<M> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.seen.lock().expect("no panic");
        loop {
            let found: Vec<M> = seen
                .iter()
                .filter(|(seen, _)| seen == topic)
                .map(|(_, event)| M::parse_from_bytes(&event.value).expect("decodes"))
                .collect();
            if found.len() >= count {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "waited for {count} of {topic}; seen: {:?}",
                topics_of(&seen)
            );
            seen = self.more.wait_timeout(seen, left).expect("no panic").0;
        }
    }
}

fn topics_of(seen: &[(String, Any)]) -> Vec<&str> {
    seen.iter().map(|(topic, _)| topic.as_str()).collect()
}

pub fn events_address(dir: &Path) -> String {
    dir.join("events.sock").display().to_string()
}

pub fn serve_events(address: &str, log: &Arc<EventLog>) -> Server {
    let _ = std::fs::remove_file(address);
    let mut server = Server::new()
        .bind(&format!("unix://{address}"))
        .expect("bound")
        .register_service(create_events(Arc::new(Forward(log.clone()))));
    server.start().expect("started");
    server
}
