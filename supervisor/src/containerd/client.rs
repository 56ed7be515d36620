//! The connection to containerd: every call is made in one namespace, has a limit, and is repeated while containerd is
//! away. So a restart of containerd delays what is asked of it and fails nothing.

use std::cell::Cell;
use std::error::Error;
use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use containerd_client::Client as Services;
use containerd_client::tonic::metadata::{Ascii, MetadataValue};
use containerd_client::tonic::{Code, Request, Response, Status};
use tokio::time::{sleep, timeout};

use super::Place;

/// Calls that make and start processes, or unpack, may take long on a loaded machine.
pub const SLOW: Duration = Duration::from_secs(120);
/// The others are answered from memory or from a small database.
pub const QUICK: Duration = Duration::from_secs(30);
/// How long containerd may take for its first answer.
const FIRST: Duration = Duration::from_secs(10);
/// Between two tries while it is away.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];

/// containerd, in one namespace. Cheap to clone.
#[derive(Clone)]
pub struct Client(Rc<Inner>);

struct Inner {
    services: Services,
    namespace: MetadataValue<Ascii>,
    address: PathBuf,
    away: Cell<bool>,
}

/// Why containerd can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers.
    #[error(
        "containerd does not answer at {}: {reason}; start it, or name its socket with --containerd-address",
        address.display()
    )]
    Away {
        /// The socket.
        address: PathBuf,
        /// The system's or containerd's words.
        reason: String,
    },
    /// No name of a namespace.
    #[error("{0:?} is not a valid name of a containerd namespace")]
    Namespace(String),
}

impl Client {
    /// Connects, and asks for the version.
    ///
    /// # Errors
    /// When containerd doesn't answer within 10 seconds.
    pub async fn connect(place: &Place) -> Result<(Self, Version), ConnectError> {
        let Place { address, namespace } = place;
        let away = |reason: String| ConnectError::Away {
            address: address.clone(),
            reason,
        };
        let namespace = namespace
            .parse()
            .map_err(|_| ConnectError::Namespace(namespace.to_owned()))?;
        let first = async {
            let services = Services::from_path(address)
                .await
                .map_err(|error| away(innermost(&error)))?;
            let version = services.version().version(()).await;
            let version = version.map_err(|status| away(status.message().to_owned()))?;
            Ok((services, version.into_inner()))
        };
        let (services, version) = timeout(FIRST, first)
            .await
            .map_err(|_| away(format!("no answer within {} s", FIRST.as_secs())))??;
        let client = Self(Rc::new(Inner {
            services,
            namespace,
            address: address.clone(),
            away: Cell::new(false),
        }));
        Ok((client, Version(version.version)))
    }

    /// containerd's services. What is called without [`ask`](Self::ask) fails while containerd is away.
    pub fn services(&self) -> &Services {
        &self.0.services
    }

    /// A request in our namespace.
    pub fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        let namespace = self.0.namespace.clone();
        request
            .metadata_mut()
            .insert("containerd-namespace", namespace);
        request
    }

    /// Asks until containerd answers; `limit` is how long one try may take. A try that broke may have been carried
    /// out, so what asks must know what to do when it finds that.
    ///
    /// # Errors
    /// containerd's own.
    pub async fn ask<M: Clone, T, F>(
        &self,
        limit: Duration,
        message: M,
        call: impl Fn(Services, Request<M>) -> F,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.repeat(|services| {
            let mut request = self.request(message.clone());
            request.set_timeout(limit);
            call(services, request)
        })
        .await
    }

    /// As [`ask`](Self::ask), but waits for the answer as long as it takes.
    ///
    /// # Errors
    /// containerd's own.
    pub async fn wait<M: Clone, T, F>(
        &self,
        message: M,
        call: impl Fn(Services, Request<M>) -> F,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.repeat(|services| call(services, self.request(message.clone())))
            .await
    }

    async fn repeat<T, F>(&self, call: impl Fn(Services) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let [mut pause, longest] = PAUSES;
        loop {
            match call(Services::from(self.services().channel())).await {
                Err(status) if is_away(&status) => self.note_away(&status),
                answer => {
                    self.note_back();
                    return answer.map(Response::into_inner);
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Says once that containerd is away.
    pub(super) fn note_away(&self, status: &Status) {
        if !self.0.away.replace(true) {
            let (address, why) = (&self.0.address, status.message());
            tracing::warn!(
                ?address,
                why,
                "containerd does not answer; containers run on, and it is waited for"
            );
        }
    }

    pub(super) fn note_back(&self) {
        if self.0.away.replace(false) {
            tracing::warn!(address = ?self.0.address, "containerd answers again");
        }
    }
}

/// True when containerd did not answer, or not in time. What it answers itself has no source.
pub(super) fn is_away(status: &Status) -> bool {
    status.source().is_some() || status.code() == Code::DeadlineExceeded
}

/// The cause of all causes: what the system said.
fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// containerd's version, as it says it: `1.6.20~ds1`, `v2.1.4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_where_nobody_listens_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place {
            address: dir.path().join("containerd.sock"),
            namespace: "carob".to_owned(),
        };
        let error = Client::connect(&place).await.err().unwrap();
        let text = error.to_string();
        assert!(text.contains("containerd.sock: No such file"), "{text}");
        assert!(text.contains("--containerd-address"), "{text}");
    }

    #[test]
    fn containerds_own_answers_are_told_from_its_absence() {
        assert!(!is_away(&Status::unavailable("the shim is gone")));
        assert!(is_away(&Status::deadline_exceeded("took too long")));
        let mut broken = Status::unknown("h2 protocol error");
        broken.set_source(std::sync::Arc::new(std::io::Error::other("reset")));
        assert!(is_away(&broken));
    }
}
