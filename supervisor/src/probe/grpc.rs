//! `grpc`: one call of the health service (`grpc.health.v1.Health/Check`) in plain text (`pkg/probe/grpc/grpc.go`).
//!
//! Two messages of one field each need no generated code: they are written and read here.

use std::time::Duration;

use bytes::Bytes;
use carob_core::event::ProbeResult;
use carob_core::time::go_duration;
use containerd_shim_protos::protobuf::CodedInputStream;
use h2::client::{self, SendRequest};
use http::{HeaderMap, Request};
use tokio::time::{Instant, sleep, timeout_at};

use super::address::join_host_port;
use super::tap::{Heard, Tap};
use super::words::quoted;
use super::{LIKE, Outcome, Place};

const CHECK: &str = "/grpc.health.v1.Health/Check";
/// The longest answer that is read; a right one has two bytes.
const ANSWER_MAX: usize = 4096;
/// How long gRPC clients wait before they connect again, and how that grows
/// (grpc `doc/connection-backoff.md`; without its jitter).
const RECONNECT: Duration = Duration::from_secs(1);
const GROWTH: f64 = 1.6;

/// Asks whether a service is serving; an empty name stands for the server as a whole.
///
/// # Errors
/// When the Pod has no address to connect to.
pub async fn health(
    place: &Place,
    port: u16,
    service: &str,
    limit: Duration,
) -> Result<Outcome, String> {
    let host = place.host(None)?;
    let authority = join_host_port(&host, port);
    let deadline = Instant::now() + limit;
    let mut wait = RECONNECT;
    // A gRPC client takes a connection that can't be made for one that can't be made yet.
    let asked = loop {
        let heard = Heard::default();
        let asking = ask(place, &host, port, service, limit, &heard);
        match timeout_at(deadline, asking).await {
            Ok(Ok(answer)) => break answer,
            // It is connected once the server has said something.
            Err(_) if heard.borrow().is_empty() => break Answer::NotConnected,
            Err(_) => break Answer::Late,
            Ok(Err(NotConnected)) => {}
        }
        if timeout_at(deadline, sleep(wait)).await.is_err() {
            break Answer::NotConnected;
        }
        wait = wait.mul_f64(GROWTH);
    };
    let (result, output) = asked.judge(&authority, limit);
    Ok(Outcome { result, output })
}

/// There is nobody to talk gRPC with.
struct NotConnected;

/// What came of a call.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// Nobody to talk with in time.
    NotConnected,
    /// No answer in time.
    Late,
    /// The call failed with this code and message.
    Failed(u32, String),
    /// The service's status.
    Status(i32),
}

impl Answer {
    /// The verdict and a kubelet's words for it.
    fn judge(&self, authority: &str, limit: Duration) -> (ProbeResult, String) {
        let limit = go_duration(limit.as_secs() * 1000);
        let output = match self {
            Self::Status(1) => return (ProbeResult::Success, "service healthy".to_owned()),
            Self::NotConnected => format!(
                "timeout: failed to connect service {} within {limit}: context deadline exceeded",
                quoted(authority)
            ),
            Self::Late | Self::Failed(4, _) => {
                format!("timeout: health rpc did not complete within {limit}")
            }
            Self::Failed(12, message) => format!(
                "error: this server does not implement the grpc health protocol \
                 (grpc.health.v1.Health): {message}"
            ),
            Self::Failed(code, message) => format!(
                "error: health rpc probe failed: rpc error: code = {} desc = {message}",
                code_name(*code)
            ),
            Self::Status(status) => {
                let name = match status {
                    0 => "UNKNOWN".to_owned(),
                    2 => "NOT_SERVING".to_owned(),
                    3 => "SERVICE_UNKNOWN".to_owned(),
                    other => other.to_string(),
                };
                format!("service unhealthy (responded with {})", quoted(&name))
            }
        };
        (ProbeResult::Failure, output)
    }
}

async fn ask(
    place: &Place,
    host: &str,
    port: u16,
    service: &str,
    limit: Duration,
    heard: &Heard,
) -> Result<Answer, NotConnected> {
    let dialed = place.dial(host, port).await.map_err(|_| NotConnected)?;
    let stream = dialed.open().map_err(|_| NotConnected)?;
    let stream = Tap::new(stream, heard.clone());
    let (sender, connection) = client::handshake(stream).await.map_err(|_| NotConnected)?;
    let authority = join_host_port(host, port);
    let asking = call(sender, &authority, service, limit);
    drive(connection, asking).await
}

/// Runs a call on its connection.
async fn drive(
    connection: client::Connection<Tap, Bytes>,
    call: impl Future<Output = Result<Answer, h2::Error>>,
) -> Result<Answer, NotConnected> {
    tokio::pin!(connection, call);
    let mut closed = false;
    loop {
        tokio::select! {
            biased;
            answer = &mut call => return match answer {
                Ok(answer) => Ok(answer),
                Err(error) if error.is_reset() && error.is_remote() => {
                    let why = format!("stream terminated by RST_STREAM with error code: {error}");
                    Ok(Answer::Failed(13, why))
                }
                Err(_) => Err(NotConnected),
            },
            _ = &mut connection, if !closed => closed = true,
        }
    }
}

async fn call(
    mut sender: SendRequest<Bytes>,
    authority: &str,
    service: &str,
    limit: Duration,
) -> Result<Answer, h2::Error> {
    let failed = |error: http::Error| Answer::Failed(13, error.to_string());
    let request = Request::post(format!("http://{authority}{CHECK}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", format!("kube-probe/{LIKE}"))
        .header(
            "grpc-timeout",
            format!("{}m", limit.as_millis().min(99_999_999)),
        )
        .version(http::Version::HTTP_2)
        .body(());
    let request = match request {
        Ok(request) => request,
        Err(error) => return Ok(failed(error)),
    };
    let (response, mut body) = sender.send_request(request, false)?;
    body.send_data(message(service), true)?;
    let (head, mut body) = response.await?.into_parts();
    if head.status != http::StatusCode::OK {
        let status = head.status;
        let name = status.canonical_reason().unwrap_or_default();
        let message = format!(
            "unexpected HTTP status code received from server: {} ({name})",
            status.as_u16()
        );
        return Ok(Answer::Failed(code_of_http(status.as_u16()), message));
    }
    // A call that fails at once has everything in its head.
    if let Some(failure) = failure(&head.headers) {
        return Ok(failure);
    }
    let mut answer = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        answer.extend_from_slice(&data);
        if answer.len() > ANSWER_MAX {
            let why = "the answer is too long for a health check";
            return Ok(Answer::Failed(8, why.to_owned()));
        }
    }
    if let Some(failure) = body.trailers().await?.as_ref().and_then(failure) {
        return Ok(failure);
    }
    Ok(match status(&answer) {
        Some(status) => Answer::Status(status),
        None => Answer::Failed(13, "the answer can't be decoded".to_owned()),
    })
}

/// `HealthCheckRequest { string service = 1; }` as gRPC frames it.
fn message(service: &str) -> Bytes {
    let mut field = Vec::new();
    if !service.is_empty() {
        field.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            field.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        field.push(length as u8);
        field.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend(length.to_be_bytes());
    framed.extend(field);
    framed.into()
}

/// The status of a framed `HealthCheckResponse { ServingStatus status = 1; }`.
fn status(answer: &[u8]) -> Option<i32> {
    let (frame, message) = answer.split_at_checked(5)?;
    let length = u32::from_be_bytes(frame[1..].try_into().ok()?);
    if frame[0] != 0 || usize::try_from(length) != Ok(message.len()) {
        return None;
    }
    let mut input = CodedInputStream::from_bytes(message);
    let mut status = 0;
    while let Some(tag) = input.read_raw_tag_or_eof().ok()? {
        match tag {
            0x08 => status = input.read_int32().ok()?,
            other => {
                let kind = containerd_shim_protos::protobuf::rt::WireType::new(other & 7)?;
                input.skip_field(kind).ok()?;
            }
        }
    }
    Some(status)
}

/// What `grpc-status` says, unless it says that all is well or is not there.
fn failure(headers: &HeaderMap) -> Option<Answer> {
    let code = headers.get("grpc-status")?.to_str().ok();
    let code = code.and_then(|code| code.parse().ok()).unwrap_or(2);
    if code == 0 {
        return None;
    }
    let message = headers
        .get("grpc-message")
        .map(|m| percent_decoded(m.as_bytes()));
    Some(Answer::Failed(code, message.unwrap_or_default()))
}

fn percent_decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let digits = digits.and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The code that an answer without gRPC stands for (grpc `doc/http-grpc-status-mapping.md`).
fn code_of_http(status: u16) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// The name of a code (grpc `doc/statuscodes.md`) as Go writes it.
fn code_name(code: u32) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    let name = usize::try_from(code).ok().and_then(|code| NAMES.get(code));
    name.map_or_else(|| format!("Code({code})"), |name| (*name).to_owned())
}
