//! One HTTP GET as a kubelet makes it (`pkg/probe/http`): a connection of its own, no proxy, no trust, redirects
//! followed on the same host, little of the body read.

use std::cell::RefCell;
use std::error::Error;
use std::io;

use bytes::Bytes;
use carob_core::pod::{HttpGet, Scheme};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::address::Dialed;
use super::eager::Eager;
use super::target::Target;
use super::tls::{self, TlsError};
use super::words::{errno, quoted};
use super::{LIKE, OUTPUT_MAX, Place};

/// How many requests are made in a row of redirects (`RedirectChecker`).
const REQUESTS_MAX: usize = 10;

/// What is asked.
pub struct Request<'a> {
    /// The handler.
    pub get: &'a HttpGet,
    /// Its port's number.
    pub port: u16,
    /// What asks, in `User-Agent`: `probe` or `lifecycle`.
    pub purpose: &'a str,
}

/// What came back in the end.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// 100–999.
    pub status: u16,
    /// The body's beginning.
    pub body: Vec<u8>,
}

/// Why nothing came back.
#[derive(Debug, PartialEq, Eq)]
pub enum HttpError {
    /// There can be no request; a reason to ask again.
    NoTarget(String),
    /// The request failed: `Get "http://…": …`.
    Failed(String),
    /// An HTTPS request was answered in plain HTTP.
    PlainHttp(String),
    /// A response came, but its body broke off.
    Body(String),
}

/// Asks, until `deadline`.
///
/// # Errors
/// [`HttpError`], in Go's words.
pub async fn get(
    place: &Place,
    request: &Request<'_>,
    deadline: Option<Instant>,
) -> Result<Response, HttpError> {
    let handler = request.get;
    let host = place
        .host(handler.host.as_deref())
        .map_err(HttpError::NoTarget)?;
    let first = Target::new(handler.scheme, &host, request.port, &handler.path);
    let under_way = RefCell::new((first.url.clone(), Part::Headers));
    let asking = follow(place, request, first, &under_way);
    let Some(deadline) = deadline else {
        return asking.await;
    };
    if let Ok(answer) = timeout_at(deadline, asking).await {
        return answer;
    }
    let (url, part) = under_way.into_inner();
    Err(match part {
        Part::Headers => failed(
            &url,
            "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
        ),
        Part::Body => HttpError::Body(
            "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
                .to_owned(),
        ),
    })
}

/// What a request waits for.
#[derive(Clone, Copy)]
enum Part {
    Headers,
    Body,
}

/// Asks and follows redirects. `under_way` is kept to the URL that is being asked.
async fn follow(
    place: &Place,
    request: &Request<'_>,
    first: Target,
    under_way: &RefCell<(String, Part)>,
) -> Result<Response, HttpError> {
    let mut headers = headers(request).map_err(|why| failed(&first.url, &why))?;
    let named = headers.remove(header::HOST);
    let mut host = named.clone();
    let mut target = first.clone();
    for number in 1.. {
        under_way.replace((target.url.clone(), Part::Headers));
        let (head, body, connection) = ask(place, &target, host.as_ref(), &headers).await?;
        let location = head
            .headers
            .get(header::LOCATION)
            .filter(|_| matches!(head.status.as_u16(), 301 | 302 | 303 | 307 | 308));
        let location = location.map(|l| String::from_utf8_lossy(l.as_bytes()).into_owned());
        let Some(location) = location.filter(|location| !location.is_empty()) else {
            under_way.replace((target.url.clone(), Part::Body));
            return finish(head.status.as_u16(), body, connection).await;
        };
        let next = target.redirected(&location).ok_or_else(|| {
            let why = format!("failed to parse Location header {}", quoted(&location));
            failed(&target.url, &why)
        })?;
        let next = match next {
            Ok(next) if next.host == first.host => next,
            Ok(_) => {
                under_way.replace((target.url.clone(), Part::Body));
                return finish(head.status.as_u16(), body, connection).await;
            }
            Err(why) => return Err(failed(&location, &why)),
        };
        if number >= REQUESTS_MAX {
            return Err(failed(&location, "stopped after 10 redirects"));
        }
        // A name of the manifest's is kept as long as the server doesn't give another.
        let relative = !location.contains("://") && !location.starts_with("//");
        host = named.clone().filter(|_| relative);
        if !(target.scheme == Scheme::Https && next.scheme == Scheme::Http)
            && let Ok(referer) = HeaderValue::try_from(&target.url)
        {
            headers.insert(header::REFERER, referer);
        }
        target = next;
    }
    unreachable!("the loop ends by returning")
}

/// The headers of the manifest, and those that a kubelet adds (`newProbeRequest`).
fn headers(request: &Request<'_>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &request.get.headers {
        let bad =
            |what: &str| format!("net/http: invalid header field {what} for {}", quoted(name));
        let field = HeaderName::try_from(name).map_err(|_| bad("name"))?;
        let value = HeaderValue::try_from(value).map_err(|_| bad("value"))?;
        headers.append(field, value);
    }
    if !headers.contains_key(header::USER_AGENT) {
        let agent = format!("kube-{}/{LIKE}", request.purpose);
        headers.insert(
            header::USER_AGENT,
            HeaderValue::try_from(agent).map_err(|e| e.to_string())?,
        );
    }
    if !headers.contains_key(header::ACCEPT) {
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    }
    // Giving them empty is how a manifest takes them out.
    for optional in [header::USER_AGENT, header::ACCEPT] {
        if headers.get(&optional).is_some_and(HeaderValue::is_empty) {
            headers.remove(optional);
        }
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(headers)
}

type Connection<T> = http1::Connection<TokioIo<T>, Empty<Bytes>>;

/// What drives a connection while its body is read.
type Driver = std::pin::Pin<Box<dyn Future<Output = ()>>>;

async fn ask(
    place: &Place,
    target: &Target,
    host: Option<&HeaderValue>,
    headers: &HeaderMap,
) -> Result<(http::response::Parts, Incoming, Driver), HttpError> {
    let stream = place
        .dial(&target.host, target.port)
        .await
        .and_then(Dialed::open)
        .map_err(|why| failed(&target.url, &why))?;
    match target.scheme {
        Scheme::Http => exchange(Eager::new(stream), target, host, headers).await,
        Scheme::Https => {
            let stream = tls::handshake(stream, &target.host).await;
            let stream = stream.map_err(|error| match error {
                TlsError::PlainHttp => HttpError::PlainHttp(said(
                    &target.url,
                    "http: server gave HTTP response to HTTPS client",
                )),
                TlsError::Other(why) => failed(&target.url, &why),
            })?;
            exchange(stream, target, host, headers).await
        }
    }
}

async fn exchange<T: AsyncRead + AsyncWrite + Unpin + 'static>(
    stream: T,
    target: &Target,
    host: Option<&HeaderValue>,
    headers: &HeaderMap,
) -> Result<(http::response::Parts, Incoming, Driver), HttpError> {
    let broken = |error: &hyper::Error| failed(&target.url, &in_words(error));
    let (mut sender, connection): (_, Connection<T>) = http1::Builder::new()
        .title_case_headers(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    let mut asked = http::Request::get(&target.path)
        .body(Empty::new())
        .map_err(|error| failed(&target.url, &error.to_string()))?;
    *asked.headers_mut() = headers.clone();
    let host = match host {
        Some(host) => host.clone(),
        None => HeaderValue::try_from(&target.authority)
            .map_err(|error| failed(&target.url, &error.to_string()))?,
    };
    asked.headers_mut().insert(header::HOST, host);
    // Its end is seen in the response.
    let mut connection: Driver = Box::pin(async move {
        let _ = connection.await;
    });
    let response = sender.send_request(asked);
    tokio::pin!(response);
    let mut driven = false;
    let response = loop {
        tokio::select! {
            biased;
            response = &mut response => break response,
            () = &mut connection, if !driven => driven = true,
        }
    };
    let (head, body) = response.map_err(|error| broken(&error))?.into_parts();
    if driven {
        connection = Box::pin(std::future::pending());
    }
    Ok((head, body, connection))
}

/// Reads the body's beginning.
async fn finish(
    status: u16,
    mut body: Incoming,
    mut connection: Driver,
) -> Result<Response, HttpError> {
    let mut read = Vec::new();
    let mut driven = false;
    while read.len() < OUTPUT_MAX {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            () = &mut connection, if !driven => {
                driven = true;
                continue;
            }
        };
        match frame {
            None => break,
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    read.extend_from_slice(data);
                }
            }
            Some(Err(error)) => {
                let why = in_words(&error);
                let why = if why == "EOF" {
                    "unexpected EOF".to_owned()
                } else {
                    why
                };
                return Err(HttpError::Body(why));
            }
        }
    }
    read.truncate(OUTPUT_MAX);
    Ok(Response { status, body: read })
}

fn failed(url: &str, why: &str) -> HttpError {
    HttpError::Failed(said(url, why))
}

/// As Go's `url.Error`.
fn said(url: &str, why: &str) -> String {
    format!("Get {}: {why}", quoted(url))
}

/// What broke a connection, as Go says it.
fn in_words(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_canceled() {
        return "EOF".to_owned();
    }
    if error.is_parse() {
        return format!("net/http: HTTP/1.x transport connection broken: {error}");
    }
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return match io.kind() {
                io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
                io::ErrorKind::ConnectionReset => format!("read tcp: read: {}", errno(io)),
                io::ErrorKind::BrokenPipe => format!("write tcp: write: {}", errno(io)),
                _ => errno(io),
            };
        }
        cause = inner.source();
    }
    error.to_string()
}
