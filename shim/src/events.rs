//! Publishes task events to containerd (or the supervisor), in order, and retried while nobody
//! listens.
//!
//! The receiver is the ttrpc service `containerd.services.events.ttrpc.v1.Events` at the path in
//! `TTRPC_ADDRESS`; without that variable nothing is published.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use containerd_shim_protos::api::{Empty, ForwardRequest};
use containerd_shim_protos::events::task::{
    TaskCreate, TaskDelete, TaskExecAdded, TaskExecStarted, TaskExit, TaskOOM, TaskPaused,
    TaskResumed, TaskStart,
};
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::well_known_types::timestamp::Timestamp;
use containerd_shim_protos::protobuf::{MessageField, MessageFull};
use containerd_shim_protos::shim::event::Envelope;
use containerd_shim_protos::shim_async::EventsClient;
use containerd_shim_protos::topics;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::time::Instant;
use ttrpc::asynchronous::Client;
use ttrpc::asynchronous::transport::Socket;

/// The first pause after a failed delivery; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long one delivery may take.
const DELIVERY: Duration = Duration::from_secs(5);
/// Events kept while nobody listens, about 200 bytes each. Above this, the oldest goes that a client can
/// learn by State; never an exit or a delete, of which there are no more than there were processes.
const KEPT: usize = 4096;

/// An event with its topic.
pub trait TaskEvent: MessageFull {
    /// containerd's topic for the event.
    const TOPIC: &'static str;
}

macro_rules! task_events {
    ($($event:ty => $topic:ident),* $(,)?) => {
        $(impl TaskEvent for $event { const TOPIC: &'static str = topics::$topic; })*
    };
}

task_events! {
    TaskCreate => TASK_CREATE_EVENT_TOPIC,
    TaskStart => TASK_START_EVENT_TOPIC,
    TaskExecAdded => TASK_EXEC_ADDED_EVENT_TOPIC,
    TaskExecStarted => TASK_EXEC_STARTED_EVENT_TOPIC,
    TaskExit => TASK_EXIT_EVENT_TOPIC,
    TaskOOM => TASK_OOM_EVENT_TOPIC,
    TaskPaused => TASK_PAUSED_EVENT_TOPIC,
    TaskResumed => TASK_RESUMED_EVENT_TOPIC,
    TaskDelete => TASK_DELETE_EVENT_TOPIC,
}

/// The queue of events to publish.
#[derive(Clone)]
pub struct Publisher {
    shared: Option<Arc<Shared>>,
}

struct Shared {
    namespace: String,
    queue: Mutex<VecDeque<Envelope>>,
    /// Something was queued.
    queued: Notify,
    /// The queue is empty.
    empty: Notify,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Envelope>> {
        self.queue
            .lock()
            .expect("no code panics while it holds the queue")
    }
}

impl Publisher {
    /// Publishes to the service at `address`, a path or `unix://` and a path, in a task of the
    /// current runtime. With no address, every event is dropped.
    pub fn new(namespace: &str, address: Option<String>) -> Self {
        let shared = address
            .filter(|address| !address.is_empty())
            .map(|address| {
                let shared = Arc::new(Shared {
                    namespace: namespace.to_owned(),
                    queue: Mutex::default(),
                    queued: Notify::new(),
                    empty: Notify::new(),
                });
                tokio::spawn(deliver(shared.clone(), address));
                shared
            });
        Self { shared }
    }

    /// Queues `event`. Events are delivered in the order of these calls.
    pub fn publish<E: TaskEvent>(&self, event: E) {
        let Some(shared) = &self.shared else { return };
        let value = match event.write_to_bytes() {
            Ok(value) => value,
            Err(error) => {
                tracing::error!("an event for {} can't be encoded: {error}", E::TOPIC);
                return;
            }
        };
        let envelope = Envelope {
            timestamp: MessageField::some(timestamp(jiff::Timestamp::now())),
            namespace: shared.namespace.clone(),
            topic: E::TOPIC.to_owned(),
            event: MessageField::some(Any {
                // containerd registers its messages by their full name, without a host.
                type_url: E::descriptor().full_name().to_owned(),
                value,
                ..Any::default()
            }),
            ..Envelope::default()
        };
        let mut queue = shared.queue();
        if queue.len() >= KEPT {
            let topics = queue.iter().map(|envelope| envelope.topic.as_str());
            if let Some(dropped) = dispensable(topics).and_then(|victim| queue.remove(victim)) {
                tracing::warn!("nobody takes events: dropped one for {}", dropped.topic);
            }
        }
        queue.push_back(envelope);
        drop(queue);
        shared.queued.notify_one();
    }

    /// Forgets what is not delivered yet.
    pub fn give_up(&self) {
        if let Some(shared) = &self.shared {
            shared.queue().clear();
            shared.empty.notify_waiters();
        }
    }

    /// Waits until everything is delivered, or `limit` has passed.
    pub async fn flush(&self, limit: Duration) {
        let Some(shared) = &self.shared else { return };
        let deadline = Instant::now() + limit;
        loop {
            let empty = shared.empty.notified();
            if shared.queue().is_empty() || tokio::time::timeout_at(deadline, empty).await.is_err()
            {
                return;
            }
        }
    }
}

/// Which of the queued events to drop, if any. The first is being delivered.
fn dispensable<'a>(topics: impl Iterator<Item = &'a str> + Clone) -> Option<usize> {
    let oldest = |wanted: &dyn Fn(&str) -> bool| {
        let mut rest = topics.clone().enumerate().skip(1);
        rest.find(|(_, topic)| wanted(topic)).map(|(at, _)| at)
    };
    let kept = |topic: &str| matches!(topic, "/tasks/exit" | "/tasks/delete" | "/tasks/oom");
    oldest(&|topic| topic.starts_with("/tasks/exec-")).or_else(|| oldest(&|topic| !kept(topic)))
}

/// Converts a time to containerd's message.
pub fn timestamp(at: jiff::Timestamp) -> Timestamp {
    Timestamp {
        seconds: at.as_second(),
        nanos: at.subsec_nanosecond(),
        ..Timestamp::default()
    }
}

async fn deliver(shared: Arc<Shared>, address: String) {
    let mut client: Option<EventsClient> = None;
    let mut pause = FIRST_PAUSE;
    loop {
        // The first event stays queued until it is delivered, so that `flush` sees it.
        let first = shared.queue().front().cloned();
        let Some(envelope) = first else {
            shared.empty.notify_waiters();
            shared.queued.notified().await;
            continue;
        };
        match forward(&mut client, &address, envelope).await {
            Ok(()) => {
                shared.queue().pop_front();
                pause = FIRST_PAUSE;
            }
            Err(error) => {
                client = None;
                tracing::debug!("an event can't be delivered to {address}: {error}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

async fn forward(
    client: &mut Option<EventsClient>,
    address: &str,
    envelope: Envelope,
) -> Result<(), ttrpc::Error> {
    let client = match client {
        Some(client) => client,
        None => client.insert(connect(address).await?),
    };
    let topic = envelope.topic.clone();
    let request = ForwardRequest {
        envelope: MessageField::some(envelope),
        ..ForwardRequest::default()
    };
    let context = ttrpc::context::with_duration(DELIVERY);
    let answer: Result<Empty, ttrpc::Error> = client.forward(context, &request).await;
    match answer {
        Ok(_) => Ok(()),
        // The receiver understood and will never take it: it must not hold up the others.
        Err(ttrpc::Error::RpcStatus(status))
            if matches!(
                status.code(),
                ttrpc::Code::INVALID_ARGUMENT | ttrpc::Code::UNIMPLEMENTED
            ) =>
        {
            tracing::error!("an event for {topic} was refused: {}", status.message());
            Ok(())
        }
        Err(error) => Err(error),
    }
}

async fn connect(address: &str) -> Result<EventsClient, ttrpc::Error> {
    let path = address.strip_prefix("unix://").unwrap_or(address);
    let stream = UnixStream::connect(path)
        .await
        .map_err(|error| ttrpc::Error::Socket(error.to_string()))?;
    Ok(EventsClient::new(Client::new(Socket::from(stream))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f35_no_exit_is_ever_dropped() {
        let drop = |topics: &[&str]| dispensable(topics.iter().copied());
        let (exit, delete) = ("/tasks/exit", "/tasks/delete");
        assert_eq!(
            drop(&[exit, "/tasks/start", exit, "/tasks/exec-added"]),
            Some(3)
        );
        assert_eq!(drop(&[exit, delete, "/tasks/start", exit]), Some(2));
        // The first is on its way.
        assert_eq!(drop(&["/tasks/start", exit, delete, "/tasks/oom"]), None);
        assert_eq!(drop(&[]), None);
    }
}
