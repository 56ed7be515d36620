//! The HTTP server of metrics and health.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_local};

use super::health::Checks;
use super::scrape::Scrape;
use crate::sentence::sentence;

/// Connections at a time: a few Prometheus servers, a few people.
const CONNECTIONS: usize = 32;
/// How long a client may take to say what it wants, and to be silent between two requests.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long after a failed accept the next one is tried: mostly descriptors are used up.
const PAUSE: Duration = Duration::from_millis(500);
/// Prometheus' text format.
const TEXT_FORMAT: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Why it can't be served.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for metrics: {source}; choose another address with --metrics-address"
)]
pub struct ServerError {
    address: SocketAddr,
    source: io::Error,
}

/// Serves until it is dropped.
pub struct MetricsServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

struct Served {
    scrape: Scrape,
    checks: Checks,
}

impl MetricsServer {
    /// Listens. Port 0 is any free one.
    ///
    /// # Errors
    /// When the address is not to be had.
    pub async fn listen(
        address: SocketAddr,
        scrape: Scrape,
        checks: Checks,
    ) -> Result<Self, ServerError> {
        let failed = |source| ServerError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let served = Rc::new(Served { scrape, checks });
        Ok(Self {
            address,
            task: spawn_local(accept(listener, served)),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, served: Rc<Served>) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = free.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let served = served.clone();
                spawn_local(async move {
                    serve(stream, served).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection for metrics can't be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, served: Rc<Served>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let served = served.clone();
        async move { Ok::<_, Infallible>(served.answer(&request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(16 << 10);
    // A client that breaks off has its reasons.
    if let Err(error) = http.serve_connection(TokioIo::new(stream), answer).await {
        tracing::debug!(%error, "a connection for metrics broke");
    }
}

impl Served {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return response(
                StatusCode::METHOD_NOT_ALLOWED,
                PLAIN,
                "only GET is answered here\n".to_owned(),
            );
        }
        let (path, query) = (
            request.uri().path(),
            request.uri().query().unwrap_or_default(),
        );
        if let Some((well, text)) = self.checks.answer(path, query) {
            let status = match well {
                true => StatusCode::OK,
                false => StatusCode::INTERNAL_SERVER_ERROR,
            };
            return response(status, PLAIN, text);
        }
        match self.scrape.answer(path).await {
            Ok(Some(text)) => response(StatusCode::OK, TEXT_FORMAT, text),
            Ok(None) => response(
                StatusCode::NOT_FOUND,
                PLAIN,
                "404 page not found\n".to_owned(),
            ),
            Err(error) => {
                let text = sentence(&error);
                tracing::error!(error = text, path, "the metrics can't be given");
                response(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    PLAIN,
                    format!("{text}\n"),
                )
            }
        }
    }
}

fn response(status: StatusCode, kind: HeaderValue, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
