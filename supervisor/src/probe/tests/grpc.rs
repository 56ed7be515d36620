//! `grpc`.

use std::time::Duration;

use bytes::Bytes;
use carob_core::event::ProbeResult;
use http::{HeaderMap, HeaderValue, Response};
use tokio::net::TcpListener;

use super::here;
use crate::probe::{Outcome, health};

const LIMIT: Duration = Duration::from_secs(60);

/// What a server answers.
enum Answer {
    /// A status, in a message and with good trailers.
    Status(u8),
    /// A failure at once.
    Failed(&'static str, &'static str),
    /// No gRPC.
    Http(u16),
}

/// Serves one call of the health service, which has to be for `service`.
async fn serve(service: &'static str, answer: Answer) -> u16 {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = server.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        assert_eq!(request.headers()["content-type"], "application/grpc");
        assert_eq!(request.headers()["user-agent"], "kube-probe/1.36");
        let mut body = request.into_body();
        let answering = async move {
            let message = body.data().await.unwrap().unwrap();
            let mut expected = vec![0, 0, 0, 0, 0];
            if !service.is_empty() {
                expected.extend([0x0a, u8::try_from(service.len()).unwrap()]);
                expected.extend(service.as_bytes());
                expected[4] = u8::try_from(expected.len() - 5).unwrap();
            }
            assert_eq!(message, expected);
            match answer {
                Answer::Status(status) => {
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    let message = Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]);
                    stream.send_data(message, false).unwrap();
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_static("0"));
                    stream.send_trailers(trailers).unwrap();
                }
                Answer::Failed(code, message) => {
                    let head = Response::builder()
                        .header("grpc-status", code)
                        .header("grpc-message", message);
                    respond.send_response(head.body(()).unwrap(), true).unwrap();
                }
                Answer::Http(status) => {
                    let head = Response::builder().status(status).body(()).unwrap();
                    respond.send_response(head, true).unwrap();
                }
            }
        };
        answering.await;
        // Until the client has gone.
        while connection.accept().await.is_some() {}
    });
    port
}

async fn ask(service: &'static str, answer: Answer) -> Outcome {
    let port = serve(service, answer).await;
    health(&here(), port, service, LIMIT).await.unwrap()
}

#[tokio::test]
async fn serving_is_good() {
    for service in ["", "db.Store"] {
        let outcome = ask(service, Answer::Status(1)).await;
        assert_eq!(outcome.result, ProbeResult::Success, "{outcome:?}");
        assert_eq!(outcome.output, "service healthy");
    }
}

#[tokio::test]
async fn anything_else_is_bad_and_told() {
    for (answer, output) in [
        (
            Answer::Status(2),
            "service unhealthy (responded with \"NOT_SERVING\")",
        ),
        (
            Answer::Status(0),
            "service unhealthy (responded with \"UNKNOWN\")",
        ),
        (
            Answer::Failed("5", "unknown%20service"),
            "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service",
        ),
        (
            Answer::Failed("12", "unknown service grpc.health.v1.Health"),
            "error: this server does not implement the grpc health protocol \
             (grpc.health.v1.Health): unknown service grpc.health.v1.Health",
        ),
        (
            Answer::Http(404),
            "error: this server does not implement the grpc health protocol \
             (grpc.health.v1.Health): unexpected HTTP status code received from server: 404 (Not Found)",
        ),
    ] {
        let outcome = ask("", answer).await;
        assert_eq!(outcome.result, ProbeResult::Failure, "{outcome:?}");
        assert_eq!(outcome.output, output);
    }
}

#[tokio::test]
async fn nobody_is_waited_for_until_the_time_is_over() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    drop(server);
    let outcome = health(&here(), port, "", Duration::from_secs(1))
        .await
        .unwrap();
    assert_eq!(outcome.result, ProbeResult::Failure);
    assert_eq!(
        outcome.output,
        format!(
            "timeout: failed to connect service \"127.0.0.1:{port}\" within 1s: context deadline \
             exceeded"
        )
    );
}

#[tokio::test]
async fn a_silent_server_is_no_server() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let outcome = health(&here(), port, "", Duration::from_secs(1)).await;
    let output = outcome.unwrap().output;
    assert!(output.starts_with("timeout: failed to connect"), "{output}");
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_given_up_in_time() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = server.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let call = connection.accept().await;
        // Until the client has gone.
        while connection.accept().await.is_some() {}
        drop(call);
    });
    // Long enough for a greeting on a machine that has other things to do.
    let limit = Duration::from_secs(5);
    let outcome = health(&here(), port, "", limit).await.unwrap();
    assert_eq!(
        outcome.output,
        "timeout: health rpc did not complete within 5s"
    );
}
