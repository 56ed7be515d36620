//! `httpGet`.

use std::time::Duration;

use carob_core::pod::{HttpGet, Port, Scheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::here;
use crate::probe::{HttpError, Request, Response, get};

/// Answers each connection with the next text and closes it; tells what it was asked.
async fn serve(answers: Vec<String>) -> (u16, mpsc::UnboundedReceiver<String>) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = server.accept().await.unwrap();
            tell.send(head(&mut stream).await).unwrap();
            // The client need not read it all.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (port, told)
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn handler(path: &str) -> HttpGet {
    HttpGet {
        scheme: Scheme::Http,
        host: None,
        port: Port::Number(1),
        path: path.to_owned(),
        headers: Vec::new(),
    }
}

async fn ask(handler: &HttpGet, port: u16) -> Result<Response, HttpError> {
    let request = Request {
        get: handler,
        port,
        purpose: "probe",
    };
    get(&here(), &request, None).await
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 5\r\n\r\nmoved")
}

fn sorted(head: &str) -> Vec<&str> {
    let mut lines: Vec<_> = head.trim_end().lines().collect();
    lines[1..].sort_unstable();
    lines
}

#[tokio::test]
async fn the_request_is_a_kubelets() {
    let (port, mut told) = serve(vec![ok("fine")]).await;
    let response = ask(&handler("/ready?x=1"), port).await.unwrap();
    let expected = Response {
        status: 200,
        body: b"fine".to_vec(),
    };
    assert_eq!(response, expected);
    assert_eq!(
        sorted(&told.recv().await.unwrap()),
        [
            "GET /ready?x=1 HTTP/1.1",
            "Accept: */*",
            "Connection: close",
            &format!("Host: 127.0.0.1:{port}"),
            "User-Agent: kube-probe/1.36",
        ]
    );
}

#[tokio::test]
async fn headers_of_the_manifest_count() {
    let (port, mut told) = serve(vec![ok("")]).await;
    let mut handler = handler("/");
    for (name, value) in [
        ("Host", "example.com"),
        ("accept", ""),
        ("User-Agent", "me"),
        ("X-A", "1"),
        ("X-A", "2"),
    ] {
        handler.headers.push((name.to_owned(), value.to_owned()));
    }
    ask(&handler, port).await.unwrap();
    assert_eq!(
        sorted(&told.recv().await.unwrap()),
        [
            "GET / HTTP/1.1",
            "Connection: close",
            "Host: example.com",
            "User-Agent: me",
            "X-A: 1",
            "X-A: 2",
        ]
    );
}

#[tokio::test]
async fn redirects_on_the_same_host_are_followed() {
    let (port, mut told) = serve(vec![redirect("/next"), ok("there")]).await;
    let mut handler = handler("/");
    let host = ("Host".to_owned(), "example.com".to_owned());
    handler.headers.push(host);
    assert_eq!(ask(&handler, port).await.unwrap().body, b"there");
    told.recv().await.unwrap();
    let second = told.recv().await.unwrap();
    assert!(second.starts_with("GET /next HTTP/1.1\r\n"), "{second}");
    assert!(second.contains("Host: example.com\r\n"), "{second}");
    let referer = format!("Referer: http://127.0.0.1:{port}/\r\n");
    assert!(second.contains(&referer), "{second}");
}

#[tokio::test]
async fn a_redirect_to_another_host_is_the_answer() {
    let (port, _told) = serve(vec![redirect("http://127.0.0.2/")]).await;
    let response = ask(&handler("/"), port).await.unwrap();
    assert_eq!((response.status, &response.body[..]), (302, &b"moved"[..]));
}

#[tokio::test]
async fn a_circle_of_redirects_is_left_after_ten_requests() {
    let (port, mut told) = serve(vec![redirect("/"); 20]).await;
    let failed = ask(&handler("/"), port).await.unwrap_err();
    let text = "Get \"/\": stopped after 10 redirects".to_owned();
    assert_eq!(failed, HttpError::Failed(text));
    let mut count = 0;
    while told.try_recv().is_ok() {
        count += 1;
    }
    assert_eq!(count, 10);
}

#[tokio::test]
async fn little_of_a_body_is_read() {
    let endless = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n{}",
        "x".repeat(100_000)
    );
    let (port, _told) = serve(vec![endless]).await;
    assert_eq!(ask(&handler("/"), port).await.unwrap().body.len(), 10 << 10);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_reason_to_ask_again() {
    let (port, _told) = serve(vec![
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_owned(),
    ])
    .await;
    assert_eq!(
        ask(&handler("/"), port).await,
        Err(HttpError::Body("unexpected EOF".to_owned()))
    );
}

#[tokio::test]
async fn what_goes_wrong_is_told_in_gos_words() {
    let (port, _told) = serve(vec![String::new(), "nonsense\r\n\r\n".to_owned()]).await;
    let url = format!("http://127.0.0.1:{port}/");
    let failed = |why: &str| Err(HttpError::Failed(format!("Get \"{url}\": {why}")));
    assert_eq!(ask(&handler("/"), port).await, failed("EOF"));
    let Err(HttpError::Failed(text)) = ask(&handler("/"), port).await else {
        panic!("nonsense is no answer");
    };
    let broken = format!("Get \"{url}\": net/http: HTTP/1.x transport connection broken: ");
    assert!(text.starts_with(&broken), "{text}");
    // Nobody listens any more.
    let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    while ask(&handler("/"), port).await != failed(&refused) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up_in_time() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let handler = handler("/");
    let request = Request {
        get: &handler,
        port,
        purpose: "probe",
    };
    let deadline = Instant::now() + Duration::from_millis(1);
    assert_eq!(
        get(&here(), &request, Some(deadline)).await,
        Err(HttpError::Failed(format!(
            "Get \"http://127.0.0.1:{port}/\": context deadline exceeded (Client.Timeout \
             exceeded while awaiting headers)"
        )))
    );
}

#[tokio::test]
async fn tls_is_spoken_with_a_server_that_nobody_knows() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let made = rcgen::generate_simple_self_signed(["somebody.else".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    tokio::spawn(async move {
        let (stream, _) = server.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(ok("safe").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let mut handler = handler("/");
    handler.scheme = Scheme::Https;
    assert_eq!(ask(&handler, port).await.unwrap().body, b"safe");
}

#[tokio::test]
async fn a_server_without_tls_is_known_for_one() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    tokio::spawn(async move {
        for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-x\r\n"] {
            let (mut stream, _) = server.accept().await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            // Until the client has had enough.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    let mut handler = handler("/");
    handler.scheme = Scheme::Https;
    let said = |why: &str| format!("Get \"https://127.0.0.1:{port}/\": {why}");
    assert_eq!(
        ask(&handler, port).await,
        Err(HttpError::PlainHttp(said(
            "http: server gave HTTP response to HTTPS client"
        )))
    );
    assert_eq!(
        ask(&handler, port).await,
        Err(HttpError::Failed(said(
            "tls: first record does not look like a TLS handshake"
        )))
    );
}
