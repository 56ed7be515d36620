//! Registries that lie, refuse, limit, redirect or never end.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::image::document::MAX_DOCUMENT;
use crate::image::unpack::LayerError;

/// A server of `content` that answers `change` instead where that gives an answer.
fn spoilt(
    content: &Content,
    change: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
) -> Server {
    let content = content.clone();
    Server::new(move |request| change(request).unwrap_or_else(|| content.answer(request)))
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_have_their_own_errors() {
    let always = |status: &'static str, headers: &'static [(&str, &str)]| {
        Server::new(move |_| {
            Reply::new(
                status,
                headers,
                br#"{"errors": [{"code": "X", "message": "because"}]}"#,
            )
        })
    };
    let error = Ground::new()
        .refused(&image(&always("404 Not Found", &[])))
        .await;
    assert!(
        matches!(&error, ImageError::NotFound { detail, .. } if detail == "because"),
        "{error}"
    );
    assert_eq!(error.reason(), "ErrImagePull");
    let error = Ground::new()
        .refused(&image(&always("403 Forbidden", &[])))
        .await;
    assert!(
        matches!(&error, ImageError::Unauthorized { detail, .. } if detail == "because"),
        "{error}"
    );
    let limited = always("429 Too Many Requests", &[("Retry-After", "3600")]);
    match Ground::new().refused(&image(&limited)).await {
        ImageError::RateLimited { retry_after, .. } => {
            assert_eq!(retry_after, Some(Duration::from_secs(3600)))
        }
        other => panic!("{other}"),
    }
    assert_eq!(
        limited.requests("").len(),
        1,
        "who asks to be left alone for long is not asked again"
    );
    let down = always("503 Service Unavailable", &[]);
    let error = Ground::new().refused(&image(&down)).await;
    assert!(matches!(error, ImageError::Unavailable { .. }), "{error}");
    assert_eq!(
        (error.reason(), down.requests("").len()),
        ("RegistryUnavailable", 5)
    );
    let nobody = { Server::new(|_| Reply::raw("")).address.clone() };
    let error = Ground::new().refused(&format!("{nobody}/app:v1")).await;
    assert!(matches!(error, ImageError::Unavailable { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f17_short_trouble_is_waited_out() {
    let content = Content::new(&[1000]);
    let count = AtomicUsize::new(0);
    let server = spoilt(&content, move |_| {
        match count.fetch_add(1, Ordering::Relaxed) {
            0 => Some(Reply::new(
                "429 Too Many Requests",
                &[("Retry-After", "0")],
                b"",
            )),
            1 => Some(Reply::new("502 Bad Gateway", &[], b"<html>")),
            2 => Some(Reply::raw("")),
            3 => Some(Reply::lying("200 OK", &[], 10_000, b"half of a document")),
            _ => None,
        }
    });
    Ground::new().pull(&image(&server)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn b45_redirects_lead_nowhere_else() {
    for (target, expected) in [
        ("file:///etc/passwd", ""),
        ("ftp://127.0.0.1/", ""),
        ("/v2/app/manifests/v1", "too often"),
    ] {
        let server =
            Server::new(move |_| Reply::new("301 Moved Permanently", &[("Location", target)], b""));
        let error = Ground::new().refused(&image(&server)).await.to_string();
        assert!(error.contains(expected), "{target}: {error}");
        assert!(server.requests("").len() <= 60, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b45_c32_endless_answers_are_cut_off() {
    let content = Content::new(&[1000]);
    let manifest = |request: &Request| request.path.contains("/manifests/");
    let huge = format!("{}", u64::MAX >> 1);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    let again = chunk.clone();
    let servers = [
        spoilt(&content, |_| {
            Some(Reply::raw("HTTP/1.1 200 OK\r\n").forever("X-Header: again\r\n"))
        }),
        spoilt(&content, move |r| {
            manifest(r).then(|| Reply::raw(chunked).forever(&chunk))
        }),
        spoilt(&content, move |r| {
            manifest(r).then(|| Reply::lying("200 OK", &[], MAX_DOCUMENT + 1, b"{}"))
        }),
        spoilt(&content, move |r| {
            manifest(r).then(|| {
                Reply::raw(format!(
                    "HTTP/1.1 404 Not Found\r\nContent-Length: {huge}\r\n\r\n"
                ))
                .forever("x")
            })
        }),
        spoilt(&content, move |r| {
            r.path
                .contains("/blobs/")
                .then(|| Reply::raw(chunked).forever(&again))
        }),
    ];
    for (number, server) in servers.iter().enumerate() {
        let ground = Ground::new();
        let error = ground.refused(&image(server)).await;
        assert!(!matches!(error, ImageError::Io { .. }), "{number}: {error}");
        assert_eq!(ground.count("layers"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b45_f18_layers_of_another_length_or_content_are_not_unpacked() {
    let content = Content::new(&[100_000]);
    let size = content.layers[0].len() as u64;
    let mut flipped = content.layers[0].clone();
    flipped[50_000] ^= 1;
    let chunked = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n",
        &[7; 0xff_ffff][..],
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    let replies = [
        Reply::lying("200 OK", &[], size + 1, b""),
        Reply::lying("200 OK", &[], size - 1, b""),
        Reply::new("200 OK", &[], &flipped),
        Reply::raw(chunked),
    ];
    for (number, reply) in replies.into_iter().enumerate() {
        let end = content.blob(0);
        let server = spoilt(&content, move |r| {
            r.path.ends_with(&end).then(|| reply.clone())
        });
        let ground = Ground::new();
        let error = ground.refused(&image(&server)).await;
        assert!(
            matches!(
                error,
                ImageError::Layer {
                    source: LayerError::Mismatch { .. },
                    ..
                }
            ),
            "{number}: {error}"
        );
        ground.settled().await;
        assert_eq!(ground.count("layers"), 0, "{number}");
        if number == 2 {
            assert_eq!(
                ground.count("partial"),
                0,
                "a blob of the wrong digest is removed"
            );
        }
        // The registry is mended: so is the pull.
        let good = spoilt(&content, |_| None);
        ground.pull(&image(&good)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b41_b44_c32_bad_images_are_refused() {
    let good = Content::new(&[1000]);
    let layer = descriptor(LAYER, &good.layers[0]);
    let evil = Archive::new().file("../../../../evil", b"").finish();
    let other_diff = {
        let mut content = Content::new(&[1000]);
        content.layers = vec![gzip(&Archive::new().file("other", b"").finish())];
        let layers = json!([descriptor(LAYER, &content.layers[0])]);
        content.change(|manifest| manifest["layers"] = layers)
    };
    let cases = [
        (
            "both layers and manifests",
            good.clone().change(|m| m["manifests"] = json!([])),
        ),
        (
            "schema 1",
            good.clone()
                .change(|m| *m = json!({"schemaVersion": 1, "fsLayers": []})),
        ),
        (
            "lists 1 layers, its manifest 0",
            good.clone().change(|m| m["layers"] = json!([])),
        ),
        (
            "lists 1 layers, its manifest 20000",
            good.clone()
                .change(|m| m["layers"] = vec![layer.clone(); 20_000].into()),
        ),
        (
            "layer sha256:",
            good.clone()
                .change(|m| m["layers"][0]["size"] = (1u64 << 60).into()),
        ),
        (
            "malformed",
            good.clone().change(|m| m["layers"][0]["size"] = json!(-1)),
        ),
        (
            "malformed",
            good.clone()
                .change(|m| m["layers"][0]["digest"] = json!("sha256:../../../etc")),
        ),
        (
            "other places",
            good.clone()
                .change(|m| m["layers"][0]["urls"] = json!(["http://elsewhere.example/"])),
        ),
        (
            "configuration is larger",
            good.clone()
                .change(|m| m["config"]["size"] = (MAX_DOCUMENT + 1).into()),
        ),
        (
            "other content than",
            good.clone()
                .change(|m| m["config"]["size"] = 100_000.into()),
        ),
        (
            "longer than 5 bytes",
            good.clone().change(|m| m["config"]["size"] = 5.into()),
        ),
        (
            "no such blob",
            good.clone()
                .change(|m| m["config"]["digest"] = json!(Digest::of(b"absent"))),
        ),
        ("its manifest says", other_diff),
        ("leads out of the layer", Content::of(&[evil])),
    ];
    for (expected, content) in cases {
        let server = spoilt(&content, |_| None);
        let ground = Ground::new();
        let error = ground.refused(&image(&server)).await.to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        ground.settled().await;
        assert_eq!(
            (ground.count("layers"), ground.count("partial")),
            (0, 0),
            "{expected}"
        );
    }
    // The digest that was asked for is the one that comes, whatever the registry says.
    let server = spoilt(&good, |_| None);
    let wrong = format!("{}/app@{}", server.address, Digest::of(b"wanted"));
    assert!(
        Ground::new()
            .refused(&wrong)
            .await
            .to_string()
            .contains("in the place of")
    );
    let lying = good.clone();
    let server = spoilt(&good, move |request| {
        let digest = Digest::of(b"claimed").to_string();
        let headers = [
            ("Content-Type", MANIFEST),
            ("Docker-Content-Digest", digest.as_str()),
        ];
        request
            .path
            .contains("/manifests/")
            .then(|| Reply::new("200 OK", &headers, &lying.manifest))
    });
    assert!(
        Ground::new()
            .refused(&image(&server))
            .await
            .to_string()
            .contains("as the registry says")
    );
}
