//! What comes out of archives that are legal, however odd.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use tar::EntryType;
use tempfile::TempDir;

use super::Ground;
use crate::image::testing::{Archive, run};

#[test]
fn c31_absolute_names_and_links_stay_inside() {
    let ground = Ground::new();
    let outside = ground.outside.to_str().unwrap();
    let archive = Archive::new()
        .file(&format!("{outside}/canary"), b"mine")
        .hard_link("/link", &format!("{outside}/canary"))
        .symlink("lib", "usr/lib")
        .dir("usr/lib", 0o755)
        .file("lib/inner", b"inner")
        .symlink("dir", outside)
        .dir("dir", 0o700)
        .symlink("file", &format!("{outside}/canary"))
        .file("file", b"own");
    ground.unpack(&archive.finish()).unwrap();
    assert_eq!(ground.read(&format!(".{outside}/canary")), "mine");
    assert_eq!(ground.read("link"), "mine");
    assert_eq!(ground.read("usr/lib/inner"), "inner");
    assert_eq!(ground.read("file"), "own");
    assert!(
        fs::symlink_metadata(ground.layer.join("dir"))
            .unwrap()
            .is_dir()
    );
}

#[test]
fn b43_attributes_are_kept() {
    let ground = Ground::new();
    let capability = [
        1, 0, 0, 2, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let setuid = {
        let mut header = Archive::header(EntryType::Regular, "su", 0o4755, 2);
        header.set_uid(7);
        header.set_gid(8);
        header
    };
    let long = "n".repeat(200);
    let archive = Archive::new()
        .raw(setuid, b"su")
        .pax(&[
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.user.note", b"hello"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("mtime", b"1500000000.25"),
            ("path", long.as_bytes()),
        ])
        .file("short", b"x")
        .dir("sticky", 0o1777)
        .file("sticky/x", b"")
        .device(EntryType::Char, "null", 1, 3)
        .device(EntryType::Block, "disk", 7, 1)
        .device(EntryType::Fifo, "fifo", 0, 0)
        .file("one", b"")
        .hard_link("two", "one")
        .symlink("away", "/etc/passwd");
    ground.unpack(&archive.finish()).unwrap();
    let status = |name: &str| fs::symlink_metadata(ground.layer.join(name)).unwrap();
    let su = status("su");
    assert_eq!(
        (su.mode(), su.uid(), su.gid(), su.mtime()),
        (0o104_755, 7, 8, 1_600_000_000)
    );
    let file = status(&long);
    assert_eq!(
        (file.mtime(), file.mtime_nsec()),
        (1_500_000_000, 250_000_000)
    );
    let mut value = [0; 64];
    let path = ground.layer.join(&long);
    let length = rustix::fs::lgetxattr(&path, "security.capability", &mut value).unwrap();
    assert_eq!(value[..length], capability);
    assert!(rustix::fs::lgetxattr(&path, "trusted.overlay.redirect", &mut value).is_err());
    assert_eq!(
        (status("sticky").mode(), status("sticky").mtime()),
        (0o041_777, 1_600_000_000)
    );
    assert_eq!(
        (status("null").mode(), status("null").rdev()),
        (0o020_666, nix::sys::stat::makedev(1, 3))
    );
    assert!(status("disk").file_type().is_block_device() && status("fifo").file_type().is_fifo());
    assert_eq!(
        (status("one").ino(), status("one").nlink()),
        (status("two").ino(), 2)
    );
    assert_eq!(
        fs::read_link(ground.layer.join("away")).unwrap().to_str(),
        Some("/etc/passwd")
    );
}

#[test]
fn b43_whiteouts_hide_lower_layers_only() {
    let ground = Ground::new();
    let archive = Archive::new()
        .file("dir/.wh.gone", b"")
        .dir("made-before", 0o755)
        .file("made-before/x", b"")
        .file(".wh.made-before", b"")
        .file(".wh.made-after", b"")
        .dir("made-after", 0o755)
        .file(".wh.below", b"")
        .file("below/x", b"")
        .file("kept", b"kept")
        .file(".wh.kept", b"")
        .dir("plain", 0o755)
        .file("full/.wh..wh..opq", b"")
        .file("full/x", b"")
        .file("replaced", b"")
        .dir("replaced", 0o755)
        .file(".wh..wh.plnk/1", b"")
        .file(".wh..wh.aufs", b"");
    let unpacked = ground.unpack(&archive.finish()).unwrap();
    assert!(ground.whiteout("dir/gone") && !ground.opaque("dir"));
    assert!(ground.opaque("made-before") && ground.layer.join("made-before/x").exists());
    assert!(ground.opaque("made-after") && ground.opaque("below") && ground.opaque("full"));
    assert!(ground.opaque("replaced") && !ground.opaque("plain"));
    assert_eq!(ground.read("kept"), "kept");
    assert!(!ground.layer.join(".wh..wh.aufs").exists());
    let implicit: Vec<_> = unpacked
        .implicit
        .iter()
        .map(|p| p.to_str().unwrap())
        .collect();
    assert_eq!(implicit, ["dir", "full"]);
    assert!(!unpacked.opaque_root);
    let ground = Ground::new();
    assert!(
        ground
            .unpack(&Archive::new().file(".wh..wh..opq", b"").finish())
            .unwrap()
            .opaque_root
    );
}

#[test]
fn b43_the_last_of_duplicate_paths_wins() {
    let ground = Ground::new();
    let archive = Archive::new()
        .file("a", b"first")
        .file("./a", b"second")
        .dir("d", 0o755)
        .file("d/old", b"")
        .file("d", b"now a file")
        .symlink("s", "a")
        .file("s", b"now a file")
        .dir("e", 0o700)
        .file("e/x", b"")
        .dir("e/", 0o711);
    ground.unpack(&archive.finish()).unwrap();
    assert_eq!(
        (ground.read("a"), ground.read("d")),
        ("second".into(), "now a file".into())
    );
    assert_eq!(ground.read("s"), "now a file");
    assert!(ground.layer.join("e/x").exists());
    assert_eq!(
        fs::metadata(ground.layer.join("e")).unwrap().mode() & 0o777,
        0o711
    );
}

#[test]
fn c31_gnu_tar_agrees_on_all_its_formats() {
    let source = TempDir::new().unwrap();
    let long = "d".repeat(120);
    let script = format!(
        "mkdir -p tree/{long}/{long} && echo deep > tree/{long}/{long}/{long} && ln -s {long}/{long} tree/link &&
         ln tree/{long}/{long}/{long} tree/hard && mkfifo tree/fifo && touch tree/$(printf 'bad\\377name') &&
         truncate -s 3M tree/sparse && printf a | dd of=tree/sparse bs=1 seek=1500000 conv=notrunc status=none &&
         chown 70000:70001 tree/hard && touch -d @1234567890.123456789 tree/hard && chmod 6711 tree/hard"
    );
    run(source.path(), &["sh", "-c", &script]);
    for format in [
        "gnu --sparse",
        "posix --sparse",
        "posix --sparse --sparse-version=0.0",
        "posix --sparse --sparse-version=0.1",
        "gnu",
    ] {
        let create = format!(
            "tar --create --format={format} --file=archive.tar -C tree . && rm -rf expected && mkdir expected && tar -xpf archive.tar -C expected"
        );
        run(source.path(), &["sh", "-c", &create]);
        let ground = Ground::new();
        ground
            .unpack(&fs::read(source.path().join("archive.tar")).unwrap())
            .unwrap();
        let list = |root: &Path| {
            run(
                root,
                &[
                    "sh",
                    "-c",
                    "find . -mindepth 1 -printf '%P %y %m %U %G %n %l %T@ %s\\n' | sed -E 's/^([^ ]+ d .*) [0-9]+$/\\1/' | LC_ALL=C sort; LC_ALL=C md5sum $(find . -type f -name '[dsh]*' | LC_ALL=C sort)",
                ],
            )
        };
        assert_eq!(
            list(&ground.layer),
            list(&source.path().join("expected")),
            "{format}"
        );
        let blocks = fs::metadata(ground.layer.join("sparse")).unwrap().blocks();
        if format.contains("sparse") {
            assert!(
                blocks < 100,
                "{format}: holes were written, {blocks} blocks"
            );
        }
    }
}
