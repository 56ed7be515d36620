//! What containerd's events service tells of tasks.

use std::time::Duration;

use carob_tests::PATIENCE;
use containerd_client::events::*;
use containerd_client::services::v1::{PublishRequest, SubscribeRequest};
use prost_types::Any;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout};

use crate::client::Client;

/// An event that the test itself publishes, to know that it hears.
const HELLO: &str = "/test/hello";

/// What happened to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened: `create`, `start`, `exit`, …
    pub kind: String,
    /// The container.
    pub id: String,
    /// The exec; empty for the container's own process.
    pub exec: String,
    pub pid: u32,
    pub status: u32,
}

/// A subscription.
pub struct Events {
    heard: UnboundedReceiver<Event>,
    /// All that was read of it.
    pub seen: Vec<Event>,
}

impl Events {
    /// From when this returns, every event about tasks is heard.
    pub async fn of(client: &Client) -> Self {
        let (sender, mut heard) = unbounded_channel();
        let listener = client.clone();
        tokio::spawn(async move {
            let message = SubscribeRequest {
                filters: vec![r#"topic~="/tasks/|/test/""#.to_owned()],
            };
            // It ends with containerd.
            let request = listener.request(message);
            let Ok(stream) = listener.services().events().subscribe(request).await else {
                return;
            };
            let mut stream = stream.into_inner();
            while let Ok(Some(envelope)) = stream.message().await {
                let event = decode(&envelope.topic, &envelope.event.unwrap_or_default());
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        // containerd doesn't say when a subscription begins.
        let hello = async {
            while heard.try_recv().is_err() {
                let event = Some(Any {
                    type_url: "containerd.events.TaskPaused".to_owned(),
                    value: Vec::new(),
                });
                let topic = HELLO.to_owned();
                let message = PublishRequest { topic, event };
                let request = client.request(message);
                client.services().events().publish(request).await.unwrap();
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, hello).await.expect("events are heard");
        let seen = Vec::new();
        Self { heard, seen }
    }

    /// The next event.
    pub async fn next(&mut self) -> Event {
        loop {
            let heard = timeout(PATIENCE, self.heard.recv()).await;
            let heard = heard.unwrap_or_else(|_| panic!("no more events after {:?}", self.seen));
            let event = heard.unwrap_or_else(|| panic!("the end after {:?}", self.seen));
            if event.kind != HELLO {
                self.seen.push(event.clone());
                return event;
            }
        }
    }

    /// All events until, and with, the one of which this is true.
    pub async fn until(&mut self, is: impl Fn(&Event) -> bool) -> Vec<Event> {
        let first = self.seen.len();
        while !is(&self.next().await) {}
        self.seen[first..].to_vec()
    }
}

/// The kinds of events about one process, in order.
pub fn kinds<'a>(events: &'a [Event], id: &str, exec: &str) -> Vec<&'a str> {
    let about = events.iter().filter(|e| e.id == id && e.exec == exec);
    about.map(|event| &*event.kind).collect()
}

fn decode(topic: &str, event: &Any) -> Event {
    let mut event = event.clone();
    // containerd's type names have no slash before them, which prost wants.
    event.type_url.insert(0, '/');
    let told = |id: String, exec: String, pid, status| Event {
        kind: topic.trim_start_matches("/tasks/").to_owned(),
        id,
        exec,
        pid,
        status,
    };
    let none = String::new;
    macro_rules! as_event {
        ($kind:ty) => {
            event.to_msg::<$kind>().unwrap()
        };
    }
    match topic {
        "/tasks/create" => {
            let e = as_event!(TaskCreate);
            told(e.container_id, none(), e.pid, 0)
        }
        "/tasks/start" => {
            let e = as_event!(TaskStart);
            told(e.container_id, none(), e.pid, 0)
        }
        "/tasks/exec-added" => {
            let e = as_event!(TaskExecAdded);
            told(e.container_id, e.exec_id, 0, 0)
        }
        "/tasks/exec-started" => {
            let e = as_event!(TaskExecStarted);
            told(e.container_id, e.exec_id, e.pid, 0)
        }
        "/tasks/exit" => {
            let e = as_event!(TaskExit);
            // The container's own process has the container's ID.
            let exec = if e.id == e.container_id { none() } else { e.id };
            told(e.container_id, exec, e.pid, e.exit_status)
        }
        "/tasks/delete" => {
            let e = as_event!(TaskDelete);
            let exec = if e.id == e.container_id { none() } else { e.id };
            told(e.container_id, exec, e.pid, e.exit_status)
        }
        "/tasks/oom" => told(as_event!(TaskOom).container_id, none(), 0, 0),
        "/tasks/paused" => told(as_event!(TaskPaused).container_id, none(), 0, 0),
        "/tasks/resumed" => told(as_event!(TaskResumed).container_id, none(), 0, 0),
        _ => told(none(), none(), 0, 0),
    }
}
