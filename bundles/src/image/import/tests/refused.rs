//! Imports of bad images.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::{import, store, zstd};
use crate::image::digest::Digest;
use crate::image::store::Store;
use crate::image::testing::{Archive, LAYER, Layout, gzip, host_arch};

#[test]
fn b41_b44_bad_images_are_refused_and_leave_nothing() {
    let top = TempDir::new().unwrap();
    let layer = Archive::new().file("f", b"content").finish();
    let good = |layout: &Layout| layout.image(std::slice::from_ref(&layer), json!({}), gzip);
    type Spoil<'a> = &'a dyn Fn(&Layout);
    let cases: [(&str, Spoil<'_>); 14] = [
        ("index.json", &|_| {}),
        ("malformed", &|l| {
            l.index(&[("a", &json!({"mediaType": "x"}))])
        }),
        ("lists no image", &|l| l.index(&[])),
        ("not valid", &|l| l.index(&[("UPPER", &good(l))])),
        ("missing", &|l| {
            l.index(&[(
                "a",
                &json!({"mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": Digest::of(b"absent"), "size": 1}),
            )])
        }),
        ("bytes", &|l| {
            let mut manifest = good(l);
            manifest["size"] = 1.into();
            l.index(&[("a", &manifest)]);
        }),
        ("its manifest says", &|l| {
            let manifest = good(l);
            let blob = l
                .path
                .join("blobs/sha256")
                .join(Digest::of(&gzip(&layer)).hex());
            fs::write(blob, gzip(&Archive::new().file("f", b"changed").finish())).unwrap();
            l.index(&[("a", &manifest)]);
        }),
        ("its manifest says", &|l| {
            // The blob is as promised, but not what the configuration promises of its content.
            let config = json!({"os": "linux", "architecture": host_arch(),
                "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"other")]}});
            let blob = l.blob(LAYER, &gzip(&layer));
            l.index(&[("a", &l.manifest(&config, &[blob]))]);
        }),
        ("lists 0 layers", &|l| {
            let config = json!({"os": "linux", "architecture": host_arch(), "rootfs": {"type": "layers", "diff_ids": []}});
            let blob = l.blob(LAYER, &gzip(&layer));
            l.index(&[("a", &l.manifest(&config, &[blob]))]);
        }),
        ("more than 127", &|l| {
            let many = vec![layer.clone(); 100_000];
            let digest = Digest::of(&layer);
            let config = json!({"os": "linux", "architecture": host_arch(),
                "rootfs": {"type": "layers", "diff_ids": vec![digest; 10_000]}});
            let blob = l.blob(LAYER, &gzip(&many[0]));
            l.index(&[("a", &l.manifest(&config, &vec![blob; 10_000]))]);
        }),
        ("leads out of the layer", &|l| {
            let evil = Archive::new()
                .file("ok", b"")
                .file("../../../evil", b"")
                .finish();
            l.index(&[("a", &l.image(&[layer.clone(), evil], json!({}), gzip))]);
        }),
        ("is not a directory", &|l| {
            let evil = Archive::new().file("f", b"").file("f/x", b"").finish();
            l.index(&[("a", &l.image(&[evil], json!({}), zstd))]);
        }),
        ("for windows", &|l| {
            let config = json!({"os": "windows", "architecture": host_arch(), "rootfs": {"type": "layers", "diff_ids": []}});
            l.index(&[("a", &l.manifest(&config, &[]))]);
        }),
        ("nested", &|l| {
            let mut inner = good(l);
            for _ in 0..5 {
                let index = json!({"schemaVersion": 2, "manifests": [inner]});
                inner = l.blob(
                    "application/vnd.oci.image.index.v1+json",
                    index.to_string().as_bytes(),
                );
            }
            l.index(&[("a", &inner)]);
        }),
    ];
    for (number, (expected, spoil)) in cases.into_iter().enumerate() {
        let root = top.path().join(number.to_string());
        let store = Store::open(&root).unwrap();
        let layout = Layout::new(&root.join("layout"));
        spoil(&layout);
        let error = import(&store, &layout.path)
            .expect_err(expected)
            .to_string();
        assert!(
            error.contains(expected) && !error.contains('\n'),
            "{number}: {error}"
        );
        assert_eq!(store.list().unwrap(), []);
        assert_eq!(fs::read_dir(root.join("images/tmp")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(root.join("images/leases")).unwrap().count(), 0);
        store.prune().unwrap();
        assert_eq!(
            fs::read_dir(root.join("images/layers")).unwrap().count(),
            0,
            "{number}"
        );
    }
    for (name, content) in [
        ("empty", &b""[..]),
        ("text", b"not an archive"),
        ("zeros", &[0; 2048]),
    ] {
        let path = top.path().join(name);
        fs::write(&path, content).unwrap();
        let error = import(&store(&top), &path).unwrap_err().to_string();
        assert!(
            error.contains("is refused") && error.contains(name),
            "{error}"
        );
    }
    // A layout whose blob is a link to the host's files.
    let layout = Layout::new(&top.path().join("linked"));
    std::os::unix::fs::symlink("/etc/passwd", layout.path.join("index.json")).unwrap();
    assert!(import(&store(&top), &layout.path).is_err());
}
