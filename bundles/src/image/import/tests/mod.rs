//! Imports of good images, and the comparison with what umoci makes of the same image.

mod refused;

use std::fs;

use serde_json::json;
use tar::EntryType;
use tempfile::TempDir;

use super::*;
use crate::image::testing::{
    Archive, Compress, Layout, gzip, host_arch, mounted, run, timeless, tree,
};

fn store(top: &TempDir) -> Store {
    Store::open(&top.path().join("root")).unwrap()
}

fn import(store: &Store, path: &Path) -> Result<Vec<Image>> {
    store.import(path, &ImportOptions::default())
}

fn plain(layer: &[u8]) -> Vec<u8> {
    layer.to_vec()
}

fn zstd(layer: &[u8]) -> Vec<u8> {
    zstd::encode_all(layer, 1).unwrap()
}

/// Layers with everything that a layer can do to the one below.
fn layers() -> Vec<Vec<u8>> {
    let owned = |name: &str, mode, uid| {
        let mut header = Archive::header(EntryType::Regular, name, mode, 1);
        header.set_uid(uid);
        header.set_gid(uid + 1);
        header.set_mtime(1_500_000_000);
        header
    };
    let private = {
        let mut header = Archive::header(EntryType::Directory, "srv/private", 0o2750, 0);
        header.set_uid(33);
        header.set_mtime(1_400_000_000);
        header
    };
    let capability = [
        1, 0, 0, 2, 0x0a, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let base = Archive::new()
        .dir("./", 0o755)
        .dir("etc", 0o755)
        .file(
            "etc/passwd",
            b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/srv:/bin/false\n",
        )
        .file("etc/group", b"root:x:0:\nlog:x:4:web\n")
        .dir("usr/", 0o755)
        .dir("usr/lib", 0o755)
        .file("usr/lib/libc", b"c")
        .symlink("lib", "usr/lib")
        .dir("tmp", 0o1777)
        .dir("srv", 0o755)
        .pax(&[("SCHILY.xattr.user.note", b"private")])
        .raw(private, b"")
        .file("srv/private/kept", b"kept")
        .file("srv/private/gone", b"gone")
        .dir("var", 0o755)
        .dir("var/cache", 0o755)
        .file("var/cache/a", b"a")
        .dir("var/cache/sub", 0o755)
        .file("var/cache/sub/b", b"b")
        .dir("opt", 0o755)
        .dir("opt/tool", 0o755)
        .file("opt/tool/x", b"x")
        .raw(owned("su", 0o6755, 0), b"s")
        .pax(&[("SCHILY.xattr.security.capability", &capability)])
        .raw(owned("ping", 0o755, 7), b"p")
        .file("replaced-by-dir", b"file")
        .dir("replaced-by-file", 0o755)
        .file("replaced-by-file/x", b"");
    let middle = Archive::new()
        // Neither tmp nor srv/private is described here.
        .file("tmp/made", b"made")
        .file("srv/private/.wh.gone", b"")
        .file("srv/fresh/new", b"new")
        .dir("var", 0o755)
        .dir("var/cache", 0o700)
        .file("var/cache/.wh..wh..opq", b"")
        .file("var/cache/c", b"c")
        .file("opt/.wh.tool", b"")
        .device(EntryType::Char, "null", 1, 3)
        .device(EntryType::Fifo, "pipe", 0, 0)
        .dir("replaced-by-dir", 0o711)
        .file("replaced-by-dir/inner", b"")
        .file("replaced-by-file", b"now a file")
        .file("one", b"linked")
        .hard_link("two", "one");
    let top = Archive::new()
        .dir("opt", 0o755)
        .dir("opt/tool", 0o750)
        .file("opt/tool/y", b"y")
        .raw(owned("su", 0o4711, 5), b"t")
        .symlink("away", "/etc/passwd");
    vec![
        base.finish(),
        middle.finish(),
        top.finish(),
        Archive::new().finish(),
    ]
}

#[test]
fn the_merged_tree_is_what_umoci_unpacks() {
    for (compress, name) in [(gzip as Compress, "gzip"), (plain, "plain"), (zstd, "zstd")] {
        let top = TempDir::new().unwrap();
        let layout = Layout::new(&top.path().join("layout"));
        // umoci of Debian 12 knows no zstd.
        let comparable = Layout::new(&top.path().join("comparable"));
        comparable.index(&[("test", &comparable.image(&layers(), json!({}), gzip))]);
        layout.index(&[("test", &layout.image(&layers(), json!({}), compress))]);
        run(
            top.path(),
            &["umoci", "unpack", "--image", "comparable:test", "bundle"],
        );
        let image = import(&store(&top), &layout.path).unwrap().remove(0);
        // Directories that the layers do not describe have the time when they were made.
        let unlike = ["srv", "srv/private", "srv/fresh"];
        let expected = timeless(tree(&top.path().join("bundle/rootfs")), &unlike);
        let actual = timeless(mounted(&image), &unlike);
        let differences: Vec<_> = expected
            .iter()
            .filter(|(path, line)| actual.get(*path) != Some(line))
            .map(|(path, line)| format!("{path:?}\n umoci {line}\n carob {:?}", actual.get(path)))
            .collect();
        assert!(differences.is_empty(), "{name}: {}", differences.join("\n"));
        assert_eq!(actual.len(), expected.len(), "{name}");
        let of_web = image
            .users
            .group
            .iter()
            .filter(|group| group.members == ["web"]);
        assert_eq!(of_web.map(|group| group.gid).collect::<Vec<_>>(), [4]);
        assert_eq!(
            image.layers.len(),
            4,
            "three of the image that are not empty, and one for attributes"
        );
    }
}

#[test]
fn archives_of_every_tool() {
    let top = TempDir::new().unwrap();
    let layout = Layout::new(&top.path().join("layout"));
    let config = json!({"Entrypoint": ["/su"], "Env": ["A=b"], "User": "web"});
    layout.index(&[(
        "example.org/team/app:v1",
        &layout.image(&layers(), config, gzip),
    )]);
    let expected = {
        let image = import(&store(&top), &layout.path).unwrap().remove(0);
        assert_eq!(image.references, ["example.org/team/app:v1"]);
        assert_eq!(
            image.digests,
            [format!(
                "example.org/team/app@{}",
                image.manifest.clone().unwrap()
            )]
        );
        assert_eq!(
            (image.config.user.as_str(), &image.config.entrypoint[..]),
            ("web", &["/su".to_owned()][..])
        );
        (image.id.clone(), timeless(mounted(&image), &["srv/fresh"]))
    };
    let from = "oci:layout:example.org/team/app:v1";
    run(
        top.path(),
        &[
            "skopeo",
            "copy",
            "--quiet",
            from,
            "docker-archive:docker.tar:example.org/team/app:v2",
        ],
    );
    run(
        top.path(),
        &[
            "skopeo",
            "copy",
            "--quiet",
            from,
            "oci-archive:oci.tar:example.org/team/app:v3",
        ],
    );
    run(
        top.path(),
        &[
            "sh",
            "-c",
            "gzip -k docker.tar; zstd -q oci.tar 2>/dev/null || gzip -c oci.tar > oci.tar.zst",
        ],
    );
    for (file, tag) in [
        ("docker.tar", "v2"),
        ("oci.tar", "v3"),
        ("docker.tar.gz", "v2"),
        ("oci.tar.zst", "v3"),
    ] {
        let other = TempDir::new().unwrap();
        let store = store(&other);
        let image = import(&store, &top.path().join(file)).unwrap().remove(0);
        assert_eq!(
            image.references,
            [format!("example.org/team/app:{tag}")],
            "{file}"
        );
        assert_eq!(image.id, expected.0, "{file}");
        assert_eq!(
            timeless(mounted(&image), &["srv/fresh"]),
            expected.1,
            "{file}"
        );
        // From a pipe, and under another name.
        let stream = fs::File::open(top.path().join(file)).unwrap();
        let options = ImportOptions {
            name: Some("other".parse().unwrap()),
            ..Default::default()
        };
        let again = store
            .import_archive(Input::Stream(Box::new(stream)), "standard input", &options)
            .unwrap();
        assert!(
            again[0]
                .references
                .contains(&"docker.io/library/other:latest".to_owned())
        );
        assert_eq!(again[0].layers, image.layers);
        assert_eq!(
            fs::read_dir(other.path().join("root/images/tmp"))
                .unwrap()
                .count(),
            0
        );
    }
}

#[test]
fn odd_but_legal_images() {
    let top = TempDir::new().unwrap();
    let store = store(&top);
    let layout = Layout::new(&top.path().join("layout"));
    let one = Archive::new().file("one", b"1").finish();
    let hiding = Archive::new()
        .file(".wh..wh..opq", b"")
        .file("two", b"2")
        .finish();
    let again = [
        one.clone(),
        hiding.clone(),
        one.clone(),
        Archive::new().finish(),
    ];
    let foreign = json!({"os": "windows", "architecture": host_arch()});
    let native = json!({"os": "linux", "architecture": host_arch()});
    let windows = layout.blob(crate::image::testing::MANIFEST, b"never read");
    let nested = {
        let image = |descriptor: &serde_json::Value, platform: &serde_json::Value| {
            let mut descriptor = descriptor.clone();
            descriptor["platform"] = platform.clone();
            descriptor
        };
        let linux = layout.image(std::slice::from_ref(&one), json!({"User": "7"}), gzip);
        let index = json!({"schemaVersion": 2, "manifests": [image(&windows, &foreign), image(&linux, &native)]});
        layout.blob(
            "application/vnd.oci.image.index.v1+json",
            index.to_string().as_bytes(),
        )
    };
    layout.index(&[
        ("none", &layout.image(&[], json!({}), gzip)),
        ("twice", &layout.image(&again, json!({}), gzip)),
        (
            "single",
            &layout.image(std::slice::from_ref(&one), json!({}), gzip),
        ),
        ("nested", &nested),
        ("", &layout.image(&[one], json!({"User": "8"}), gzip)),
    ]);
    let images = import(&store, &layout.path).unwrap();
    let names = |name: &str| {
        let image = store.get(&name.parse().unwrap()).unwrap().unwrap();
        mounted(&image)
            .into_keys()
            .map(|path| path.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("none"), Vec::<String>::new());
    assert_eq!(names("twice"), ["one", "two"]);
    assert_eq!(names("single"), ["one"]);
    assert_eq!(names("nested"), ["one"]);
    let untagged = images
        .iter()
        .find(|image| image.references.is_empty())
        .unwrap();
    assert_eq!(store.find(untagged.id.short()).unwrap(), *untagged);
    assert_eq!(store.list().unwrap().len(), 5);
}
