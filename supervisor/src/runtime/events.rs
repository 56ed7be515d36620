//! The server to which shims forward their events, as they do to containerd.

use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use async_trait::async_trait;
use containerd_shim_protos::api::{Empty, ForwardRequest};
use containerd_shim_protos::events::task::{TaskExit, TaskOOM};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim_async::{Events, create_events};
use containerd_shim_protos::ttrpc::{self, asynchronous::Server, asynchronous::TtrpcContext};
use jiff::Timestamp;
use tokio::sync::mpsc;

/// What happened to a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEvent {
    /// A container's init ended.
    Exit {
        /// Container ID.
        id: String,
        /// Exit code, or 128 plus the signal's number.
        status: u32,
        /// When.
        at: Timestamp,
    },
    /// A container is gone, and nobody knows how it ended.
    Lost {
        /// Container ID.
        id: String,
        /// What is known.
        why: String,
    },
    /// The kernel killed a process of the container for want of memory.
    Oom {
        /// Container ID.
        id: String,
    },
}

impl TaskEvent {
    /// The ID of the container that it is about.
    pub fn id(&self) -> &str {
        match self {
            Self::Exit { id, .. } | Self::Lost { id, .. } | Self::Oom { id } => id,
        }
    }
}

/// Serves `containerd.services.events.ttrpc.v1.Events` on a unix socket until closed.
pub struct EventServer {
    server: RefCell<Option<Server>>,
    socket: PathBuf,
}

impl EventServer {
    /// Listens on `socket`, which only root can open, in the place of whoever did before; events go to `sink` in
    /// the order in which a shim sends them.
    ///
    /// # Errors
    /// When the socket can't be made.
    pub async fn listen(socket: &Path, sink: mpsc::UnboundedSender<TaskEvent>) -> io::Result<Self> {
        match fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let service = create_events(Arc::new(Sink(sink)));
        let mut server = Server::new()
            .bind(&format!("unix://{}", socket.display()))
            .map_err(io::Error::other)?
            .register_service(service);
        fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
        server.start().await.map_err(io::Error::other)?;
        Ok(Self {
            server: RefCell::new(Some(server)),
            socket: socket.to_owned(),
        })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Stops listening and removes the socket.
    pub async fn close(&self) {
        let server = self.server.take();
        let Some(mut server) = server else {
            return;
        };
        if let Err(error) = server.shutdown().await {
            tracing::debug!(%error, "the event server did not end cleanly");
        }
        if let Err(error) = fs::remove_file(&self.socket) {
            tracing::debug!(%error, socket = ?self.socket, "the event socket stays behind");
        }
    }
}

struct Sink(mpsc::UnboundedSender<TaskEvent>);

#[async_trait]
impl Events for Sink {
    async fn forward(&self, _: &TtrpcContext, request: ForwardRequest) -> ttrpc::Result<Empty> {
        let envelope = request.envelope();
        match decode(&envelope.topic, &envelope.event().value) {
            // A closed sink means that the supervisor is ending: nobody is left to hear it.
            Ok(Some(event)) => drop(self.0.send(event)),
            Ok(None) => {}
            Err(error) => {
                return Err(ttrpc::Error::Others(format!(
                    "event {} is malformed: {error}",
                    envelope.topic
                )));
            }
        }
        Ok(Empty::default())
    }
}

/// The events that change what a Pod does; the exits of exec'd processes are their caller's.
///
/// # Errors
/// What is malformed in it.
pub fn decode(topic: &str, value: &[u8]) -> Result<Option<TaskEvent>, String> {
    let text = |e: containerd_shim_protos::protobuf::Error| e.to_string();
    Ok(match topic {
        "/tasks/exit" => {
            let exit = TaskExit::parse_from_bytes(value).map_err(text)?;
            (exit.id == exit.container_id).then(|| TaskEvent::Exit {
                at: super::shim::as_ours(exit.exited_at.get_or_default()),
                status: exit.exit_status,
                id: exit.container_id,
            })
        }
        "/tasks/oom" => {
            let oom = TaskOOM::parse_from_bytes(value).map_err(text)?;
            Some(TaskEvent::Oom {
                id: oom.container_id,
            })
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_of_init_is_told_from_one_of_an_exec() {
        let exit = |id: &str| {
            let event = TaskExit {
                container_id: "c".into(),
                id: id.into(),
                exit_status: 7,
                ..Default::default()
            };
            decode("/tasks/exit", &event.write_to_bytes().unwrap()).unwrap()
        };
        assert!(matches!(exit("c"), Some(TaskEvent::Exit { status: 7, .. })));
        assert_eq!(exit("exec-1"), None);
    }

    #[test]
    fn garbage_is_an_error_and_unknown_topics_are_not() {
        assert!(decode("/tasks/exit", &[0xff, 0xff]).is_err());
        assert_eq!(decode("/tasks/paused", &[]).unwrap(), None);
    }
}
