//! Broken connections, killed processes, and several pulls at once.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// The part of a blob that a request asks for.
fn start(request: &Request) -> usize {
    let range = request
        .headers
        .get("range")
        .map(|range| range.trim_start_matches("bytes=").trim_end_matches('-'));
    range.map_or(0, |start| start.parse().unwrap())
}

fn part(blob: &[u8], from: usize, count: usize) -> Reply {
    let range = format!("bytes {from}-{}/{}", blob.len() - 1, blob.len());
    let rest = &blob[from..];
    let (status, headers) = match from {
        0 => ("200 OK", vec![]),
        _ => (
            "206 Partial Content",
            vec![("Content-Range", range.as_str())],
        ),
    };
    Reply::lying(
        status,
        &headers,
        rest.len() as u64,
        &rest[..count.min(rest.len())],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn f17_a_cut_connection_is_continued_where_it_broke() {
    let content = Content::new(&[100_000]);
    let (end, layer, served) = (content.blob(0), content.layers[0].clone(), content.clone());
    let server = Server::new(move |request| {
        if !request.path.ends_with(&end) {
            return served.answer(request);
        }
        // More cuts than there are tries without any progress.
        part(&layer, start(request), 9_000)
    });
    let ground = Ground::new();
    ground.pull(&image(&server)).await.unwrap();
    let starts: Vec<_> = server
        .requests(&content.blob(0))
        .iter()
        .map(start)
        .collect();
    assert_eq!(
        starts,
        (0..starts.len()).map(|n| n * 9_000).collect::<Vec<_>>()
    );
    assert!(starts.len() > 10);
    let steps = ground.progress.lock().unwrap();
    let received = steps.iter().filter_map(|step| match step {
        Progress::Receiving { bytes, .. } => Some(*bytes),
        _ => None,
    });
    let received: Vec<_> = received.collect();
    assert!(received.is_sorted());
    assert_eq!(received.last(), Some(&(content.layers[0].len() as u64)));
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_cannot_continue_start_again() {
    for kind in 0..3 {
        let content = Content::new(&[100_000]);
        let (end, layer, served) = (content.blob(0), content.layers[0].clone(), content.clone());
        let count = AtomicUsize::new(0);
        let server = Server::new(move |request| {
            if !request.path.ends_with(&end) {
                return served.answer(request);
            }
            match (count.fetch_add(1, Ordering::Relaxed), kind) {
                (0, _) => part(&layer, 0, 50_000),
                // From the start again, although asked for the rest.
                (1, 0) => part(&layer, 0, usize::MAX),
                // Another part than asked for.
                (1, 1) => part(&layer, 10, usize::MAX),
                // Of another content: the digest tells, and all is fetched again.
                (1, _) => part(&vec![0; layer.len()], start(request), usize::MAX),
                _ => part(&layer, start(request), usize::MAX),
            }
        });
        let ground = Ground::new();
        let result = ground.pull(&image(&server)).await;
        if kind < 2 {
            result.unwrap();
        } else {
            // One process's own work is not doubted: the registry changed its mind.
            assert!(
                matches!(result, Err(ImageError::Layer { .. })),
                "{result:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_left_is_used() {
    let content = Content::new(&[100_000]);
    let (end, layer, served) = (content.blob(0), content.layers[0].clone(), content.clone());
    let size = layer.len();
    let server = Server::new(move |request| {
        if request.path.ends_with(&end) {
            part(&layer, start(request), usize::MAX)
        } else {
            served.answer(request)
        }
    });
    let digest = Digest::of(&content.layers[0]);
    // Whole parts, damaged ones (as after a power cut), all of it, too much.
    for (length, damage, starts) in [
        (60_000, None, vec![60_000]),
        (60_000, Some(100), vec![60_000, 0]),
        (size, None, vec![]),
        (size, Some(5), vec![0]),
        (size + 1, None, vec![0]),
    ] {
        let ground = Ground::new();
        let partial = fs::File::create_new(ground.path("partial").join(digest.hex())).unwrap();
        let mut left = content.layers[0].clone();
        left.resize(length, 0);
        partial.write_all_at(&left, 0).unwrap();
        if let Some(place) = damage {
            partial.write_all_at(&[!left[place]], place as u64).unwrap();
        }
        drop(partial);
        let before = server.requests(&content.blob(0)).len();
        ground.pull(&image(&server)).await.unwrap();
        let asked: Vec<_> = server.requests(&content.blob(0))[before..]
            .iter()
            .map(start)
            .collect();
        assert_eq!(asked, starts, "{length} {damage:?}");
        assert_eq!(ground.count("partial"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_a_dropped_pull_leaves_only_what_can_be_continued() {
    let content = Content::new(&[100_000, 100_000]);
    let (end, layer, served) = (content.blob(1), content.layers[1].clone(), content.clone());
    let server = Server::new(move |request| {
        if request.path.ends_with(&end) && start(request) == 0 {
            return part(&layer, 0, 40_000).stalling();
        }
        if request.path.ends_with(&end) {
            part(&layer, start(request), usize::MAX)
        } else {
            served.answer(request)
        }
    });
    let ground = Ground::new();
    let partial = ground
        .path("partial")
        .join(Digest::of(&content.layers[1]).hex());
    {
        let name = image(&server);
        let pull = ground.pull(&name);
        let received = async {
            while fs::metadata(&partial).map_or(0, |meta| meta.len()) < 40_000 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            result = pull => panic!("it cannot end: {result:?}"),
            () = received => {}
        }
    }
    ground.settled().await;
    assert_eq!(ground.store.list().unwrap(), []);
    ground.pull(&image(&server)).await.unwrap();
    let starts: Vec<_> = server
        .requests(&content.blob(1))
        .iter()
        .map(start)
        .collect();
    assert_eq!(starts, [0, 40_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn f17_a_registry_that_stalls_is_given_up() {
    let content = Content::new(&[100_000]);
    let mut ground = Ground::new();
    ground.options.stall_timeout = Duration::from_millis(50);
    let (end, served, size) = (
        content.blob(0),
        content.clone(),
        content.layers[0].len() as u64,
    );
    let server = Server::new(move |request| {
        if request.path.ends_with(&end) {
            Reply::lying("200 OK", &[], size, b"").stalling()
        } else {
            served.answer(request)
        }
    });
    let error = ground.refused(&image(&server)).await;
    assert!(matches!(error, ImageError::Unavailable { .. }), "{error}");
    assert_eq!(server.requests(&content.blob(0)).len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn f34_pulls_at_once_fetch_each_layer_once() {
    let content = Content::new(&[300_000, 200_000, 100_000, 50_000, 10]);
    let served = content.clone();
    let server = Server::new(move |request| served.answer(request));
    let ground = Ground::new();
    let mut pulls = JoinSet::new();
    for _ in 0..6 {
        // Each with a store of its own, like a process of its own.
        let store = Store::open(&ground.top.path().join("root")).unwrap();
        let (reference, options) = (image(&server).parse().unwrap(), ground.options.clone());
        pulls.spawn(async move { store.pull(&reference, &options).await });
    }
    let images: Vec<_> = pulls
        .join_all()
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(
        images
            .iter()
            .all(|image| image.layers == images[0].layers && image.layers.len() == 5)
    );
    for number in 0..5 {
        assert_eq!(
            server.requests(&content.blob(number)).len(),
            1,
            "layer {number}"
        );
    }
    assert_eq!(
        (
            ground.count("partial"),
            ground.count("leases"),
            ground.count("tmp")
        ),
        (0, 0, 0)
    );
}
