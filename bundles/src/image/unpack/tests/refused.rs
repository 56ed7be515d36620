//! Archives that must be refused, with the host untouched.

use std::fs;

use tar::EntryType;

use super::Ground;
use crate::image::testing::{Archive, gzip};
use crate::image::unpack::{Cancel, LayerError, Limits, unpack};

#[test]
fn c31_b43_escapes_are_refused_and_the_host_is_untouched() {
    let ground = Ground::new();
    let outside = ground.outside.to_str().unwrap();
    let canary = format!("{outside}/canary");
    let evil = [
        Archive::new().file("../outside/canary", b"dead"),
        Archive::new().file("a/../../outside/canary", b"dead"),
        Archive::new().dir("..", 0o777),
        Archive::new().dir("../outside", 0o777),
        Archive::new()
            .symlink("x", outside)
            .file("x/canary", b"dead"),
        Archive::new()
            .symlink("x", "../outside")
            .file("x/canary", b"dead"),
        Archive::new()
            .symlink("x", "..")
            .file("x/outside/canary", b"dead"),
        Archive::new()
            .symlink("x", "/")
            .symlink("y", "x")
            .file(&format!("y{canary}"), b"dead"),
        Archive::new()
            .symlink("x", outside)
            .dir("x/", 0o777)
            .symlink("y", outside)
            .dir("y/new", 0o777),
        Archive::new()
            .symlink("x", outside)
            .file("x/.wh.canary", b""),
        Archive::new()
            .symlink("x", outside)
            .file("x/.wh..wh..opq", b""),
        Archive::new()
            .symlink("x", outside)
            .hard_link("mine", "x/canary")
            .file("mine", b"dead"),
        Archive::new()
            .hard_link("mine", &canary)
            .file("mine", b"dead"),
        Archive::new().hard_link("mine", "../outside/canary"),
        Archive::new().hard_link("mine", "."),
        Archive::new().dir("d", 0o755).hard_link("mine", "d"),
        Archive::new().hard_link("mine", "mine"),
        Archive::new().symlink("loop", "loop").file("loop/x", b""),
        Archive::new()
            .symlink("gone", "nowhere")
            .file("gone/x", b""),
        Archive::new().file("f", b"").file("f/x", b""),
        Archive::new().file(".", b""),
        Archive::new().file("/", b"").symlink("/", outside),
        Archive::new().symlink("/", outside),
        Archive::new().file(".wh.", b""),
        Archive::new().file(".wh..", b""),
        Archive::new().file(".wh...", b""),
        Archive::new().symlink("x", ""),
        Archive::new()
            .pax(&[("path", b"../outside/canary")])
            .file("harmless", b"dead"),
        Archive::new()
            .pax(&[("linkpath", b"../outside/canary")])
            .hard_link("mine", "harmless"),
        Archive::new()
            .pax(&[("path", "x/".repeat(3000).as_bytes())])
            .file("harmless", b""),
        Archive::new().pax(&[("uid", b"4294967295")]).file("f", b""),
        Archive::new().raw(Archive::header(EntryType::new(b'Z'), "f", 0, 0), b""),
    ];
    for (number, archive) in evil.into_iter().enumerate() {
        let ground = &ground;
        fs::remove_dir_all(&ground.layer).unwrap();
        fs::create_dir(&ground.layer).unwrap();
        let error = match ground.unpack(&archive.finish()) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("archive {number} was accepted"),
        };
        assert!(!error.contains('\n') && error.len() < 500, "{error}");
    }
}

#[test]
fn b42_bombs_stop_at_the_quota() {
    let limits = Limits {
        entries: 10,
        bytes: 1 << 20,
        layers: 1,
    };
    let quota = |archive: &[u8]| {
        let ground = Ground::new();
        let result = ground.limited(archive, &limits);
        assert!(
            matches!(result, Err(LayerError::Quota { .. })),
            "{result:?}"
        );
    };
    let zeros = vec![0; 2 << 20];
    quota(&gzip(&Archive::new().file("zeros", &zeros).finish()));
    quota(&zstd::encode_all(&Archive::new().file("zeros", &zeros).finish()[..], 1).unwrap());
    quota(
        &(0..11)
            .fold(Archive::new(), |a, n| a.file(&n.to_string(), b""))
            .finish(),
    );
    // Few entries, but many directories.
    let deep = (0..4).fold(Archive::new(), |a, n| a.file(&format!("{n}/a/b/c/d"), b""));
    quota(&deep.finish());
    // A name of 2 MiB, an entry that claims more than there is, what follows the archive's end.
    quota(
        &Archive::new()
            .raw(
                Archive::header(EntryType::Regular, "big", 0o644, 1 << 40),
                b"",
            )
            .finish(),
    );
    quota(&gzip(&[Archive::new().finish(), zeros.clone()].concat()));
    let long = Archive::new().raw(
        Archive::header(EntryType::GNULongName, "x", 0, 2 << 20),
        &zeros,
    );
    let error = Ground::new().unpack(&long.finish()).unwrap_err();
    assert!(error.to_string().contains("1 MiB"), "{error}");
    // CVE-2025-58183: a sparse file whose holes are larger than any disk.
    let sparse = Archive::new()
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", b"9000000000000000000"),
        ])
        .file("holes", &{
            let mut map = b"0\n".to_vec();
            map.resize(512, 0);
            map
        });
    quota(&sparse.finish());
}

#[test]
fn b43_archives_that_readers_disagree_on_are_refused() {
    for archive in [
        Archive::new().pax(&[("size", b"1024")]).file("x", b"abc"),
        Archive::new().raw(
            Archive::header(EntryType::Regular, "x", 0, u64::MAX / 2 + 1),
            b"",
        ),
        Archive::new()
            .pax(&[("size", b"9223372036854775807")])
            .file("x", b""),
        Archive::new()
            .pax(&[("path", b"a")])
            .pax(&[("path", b"b")])
            .file("x", b""),
        Archive::new()
            .pax(&[("path", b"a")])
            .raw(Archive::header(EntryType::XGlobalHeader, "g", 0, 0), b""),
        Archive::new().pax(&[("path", b"a")]),
    ] {
        let result = Ground::new().unpack(&archive.finish());
        assert!(result.is_err(), "{result:?}");
    }
    let whole = Archive::new().file("x", &[7; 3000]).finish();
    for end in [100, 512, 1000, 3000] {
        let ground = Ground::new();
        // Cut at a header's end there is an empty archive or a file of no data: never an accepted part of one.
        assert!(ground.unpack(&whole[..end]).is_err(), "cut at {end}");
    }
    let mut damaged = gzip(&whole);
    let end = damaged.len() - 5;
    damaged[end] ^= 1;
    assert!(matches!(
        Ground::new().unpack(&damaged),
        Err(LayerError::Malformed(_))
    ));
    assert!(matches!(
        Ground::new().unpack(&b"not a tar ".repeat(100)),
        Err(LayerError::Malformed(_))
    ));
}

#[test]
fn cancelling_stops() {
    let ground = Ground::new();
    let cancel = Cancel::default();
    cancel.cancel();
    let archive = Archive::new().file("x", b"x").finish();
    let result = unpack(
        &archive[..],
        &ground.layer,
        &Limits::default(),
        &cancel,
        &mut |_| {},
    );
    assert!(matches!(result, Err(LayerError::Cancelled)), "{result:?}");
}
