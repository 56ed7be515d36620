//! Tokens, and who must not get them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

fn challenge(realm: &str) -> Reply {
    let challenge =
        format!("Bearer realm=\"{realm}\",service=\"the registry\",scope=\"repository:app:pull\"");
    Reply::new(
        "401 Unauthorized",
        &[("WWW-Authenticate", &challenge)],
        b"{}",
    )
}

fn authorization(request: &Request) -> Option<&str> {
    request.headers.get("authorization").map(String::as_str)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_fetched_once_and_used_for_all() {
    let content = Content::new(&[1000, 1000, 1000]);
    let tokens = Server::new(|request| {
        let secret = format!("Basic {}", STANDARD.encode("me:secret"));
        match authorization(request) {
            Some(login) if login == secret => {
                Reply::new("200 OK", &[], br#"{"access_token": "t0ken"}"#)
            }
            _ => Reply::new(
                "401 Unauthorized",
                &[],
                br#"{"errors": [{"message": "who are\u001b[31m you?"}]}"#,
            ),
        }
    });
    let realm = format!("http://{}/token", tokens.address);
    let served = content.clone();
    let server = Server::new(move |request| match authorization(request) {
        Some("Bearer t0ken") => served.answer(request),
        _ => challenge(&realm),
    });
    let mut ground = Ground::new();
    match ground.refused(&image(&server)).await {
        ImageError::Unauthorized { detail, .. } => {
            assert_eq!(detail, "no token was given: who are[31m you?")
        }
        other => panic!("{other}"),
    }
    ground.options.credentials = Credentials::login("me", "secret");
    ground.pull(&image(&server)).await.unwrap();
    let asked = tokens.requests("");
    assert_eq!(asked.len(), 2, "one without a login, one with");
    assert_eq!(
        asked[1].path,
        "/token?service=the+registry&scope=repository%3Aapp%3Apull&account=me"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn c32_other_servers_get_no_token() {
    let content = Content::new(&[1000]);
    let served = content.clone();
    let storage = Server::new(move |request| served.answer(request));
    let tokens = Server::new(|_| Reply::new("200 OK", &[], br#"{"token": "t0ken"}"#));
    let (realm, target, served) = (
        format!("http://{}/", tokens.address),
        storage.address.clone(),
        content.clone(),
    );
    let server = Server::new(move |request| match authorization(request) {
        None => challenge(&realm),
        Some(_) if request.path.contains("/blobs/") => Reply::new(
            "307 Temporary Redirect",
            &[("Location", &format!("http://{target}{}", request.path))],
            b"",
        ),
        Some(_) => served.answer(request),
    });
    Ground::new().pull(&image(&server)).await.unwrap();
    let seen = storage.requests("");
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(
        |request| authorization(request).is_none() && !request.headers.contains_key("referer")
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn b45_odd_answers_to_a_login_are_bounded_and_named() {
    let endless =
        Server::new(|_| Reply::lying("200 OK", &[], u64::MAX >> 1, b"").forever("{\"token\": "));
    let chunked = Server::new(|_| {
        Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .forever("a\r\n0123456789\r\n")
    });
    let empty = Server::new(|_| Reply::new("200 OK", &[], b"{}"));
    let newline = Server::new(|_| Reply::new("200 OK", &[], br#"{"token": "a\nHost: evil"}"#));
    let url = |server: &Server| format!("http://{}/", server.address);
    for (realm, expected) in [
        (url(&endless), "longer than"),
        (url(&chunked), "longer than"),
        (url(&empty), "sends none"),
        (url(&newline), "no header can have"),
        ("file:///etc/passwd".into(), "no server for tokens"),
        ("nonsense".into(), "no server for tokens"),
    ] {
        let asked = realm.clone();
        let server = Server::new(move |_| challenge(&asked));
        let error = Ground::new().refused(&image(&server)).await.to_string();
        assert!(error.contains(expected), "{realm}: {error}");
    }
    for (header, expected) in [
        ("Basic realm=\"x\"", "user name and password"),
        ("Digest realm=\"x\"", "kind of login"),
        ("", "kind of login"),
    ] {
        let server = Server::new(move |_| {
            Reply::new("401 Unauthorized", &[("WWW-Authenticate", header)], b"")
        });
        let error = Ground::new().refused(&image(&server)).await;
        assert!(
            matches!(&error, ImageError::Unauthorized { detail, .. } if detail.contains(expected)),
            "{error}"
        );
    }
}
