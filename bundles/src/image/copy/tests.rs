//! Copies of directories of images.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, lchown, symlink};

use nix::sys::stat::makedev;
use rustix::fs::XattrFlags;
use tempfile::TempDir;

use super::*;
use crate::image::testing::tree;

/// Layers, the topmost first, beside a place for copies.
struct Layers {
    top: TempDir,
    paths: Vec<PathBuf>,
}

impl Layers {
    fn new(count: usize) -> Self {
        let top = TempDir::new().unwrap();
        let paths: Vec<_> = (0..count).map(|n| top.path().join(n.to_string())).collect();
        for path in &paths {
            fs::create_dir_all(path.join("data")).unwrap();
        }
        Self { top, paths }
    }

    fn target(&self) -> PathBuf {
        self.top.path().join("copy")
    }

    fn copy(&self, path: &str) -> Result<bool> {
        copy(&self.paths, path, &self.target(), &Limits::default())
    }

    fn refused(&self, limits: Limits) -> String {
        let result = copy(&self.paths, "/data", &self.target(), &limits);
        if self.target().exists() {
            fs::remove_dir_all(self.target()).unwrap();
        }
        result.unwrap_err().to_string()
    }
}

#[test]
fn a_copy_has_all_that_the_original_has() {
    let layers = Layers::new(1);
    let data = layers.paths[0].join("data");
    fs::create_dir_all(data.join("sub/deep")).unwrap();
    chown(data.join("sub"), Some(1000), Some(1001)).unwrap();
    fs::set_permissions(data.join("sub"), Permissions::from_mode(0o2750)).unwrap();
    let program = data.join("sub/program");
    fs::write(&program, "#!").unwrap();
    chown(&program, Some(33), Some(44)).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o6711)).unwrap();
    // cap_net_raw=ep
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let flags = XattrFlags::empty();
    rustix::fs::setxattr(&program, "security.capability", &capability, flags).unwrap();
    fs::hard_link(&program, data.join("sub/deep/same")).unwrap();
    let sparse = File::create(data.join("sparse")).unwrap();
    sparse.set_len(16 << 20).unwrap();
    sparse.write_all_at(b"middle", 1 << 20).unwrap();
    fs::write(data.join("empty"), "").unwrap();
    symlink("/etc/shadow", data.join("link")).unwrap();
    lchown(data.join("link"), Some(7), Some(8)).unwrap();
    nix::unistd::mkfifo(&data.join("fifo"), Mode::S_IRWXU).unwrap();
    mknodat(
        AT_FDCWD,
        &data.join("null"),
        SFlag::S_IFCHR,
        Mode::S_IRWXU,
        makedev(1, 3),
    )
    .unwrap();
    chown(&data, Some(5), Some(6)).unwrap();
    fs::set_permissions(&data, Permissions::from_mode(0o1733)).unwrap();

    assert!(layers.copy("/data").unwrap());
    let copied = layers.target();
    assert_eq!(tree(&copied), tree(&data));
    let [ours, theirs] = [&copied, &data].map(|path| {
        let meta = fs::metadata(path).unwrap();
        (
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec(),
        )
    });
    assert_eq!(ours, theirs);
    assert_ne!(
        fs::metadata(copied.join("sub/program")).unwrap().ino(),
        fs::metadata(&program).unwrap().ino(),
        "a copy, not a link into the layer"
    );
    let blocks = |path: &Path| fs::metadata(path.join("sparse")).unwrap().blocks();
    assert_eq!(blocks(&copied), blocks(&data));
    assert!(layers.copy("/data").is_err(), "it is there already");
}

#[test]
fn a_copy_is_of_what_the_layers_show_together() {
    let layers = Layers::new(3);
    let at = |layer: usize, name: &str| layers.paths[layer].join("data").join(name);
    for name in ["lowest", "gone", "over"] {
        fs::write(at(2, name), "2").unwrap();
    }
    fs::create_dir(at(2, "opaque")).unwrap();
    fs::write(at(2, "opaque/hidden"), "").unwrap();
    mknodat(AT_FDCWD, &at(1, "gone"), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
    fs::write(at(1, "over"), "1").unwrap();
    fs::create_dir(at(0, "opaque")).unwrap();
    fs::write(at(0, "opaque/seen"), "").unwrap();
    let name = "trusted.overlay.opaque";
    rustix::fs::setxattr(at(0, "opaque"), name, b"y", XattrFlags::empty()).unwrap();

    assert!(layers.copy("/data").unwrap());
    let copied = tree(&layers.target());
    let paths: Vec<_> = copied.keys().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(paths, ["lowest", "opaque", "opaque/seen", "over"]);
    assert_eq!(fs::read(layers.target().join("over")).unwrap(), b"1");
    assert!(
        !copied[Path::new("opaque")].contains("overlay"),
        "the layers' own sign"
    );
}

#[test]
fn c10_nothing_of_the_host_is_copied() {
    let layers = Layers::new(1);
    let outside = layers.top.path().join("host");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "host").unwrap();
    let link = layers.paths[0].join("volume");
    for target in [
        outside.to_str().unwrap(),
        "../host",
        "../../../../../../../../../../root",
        "volume",
    ] {
        symlink(target, &link).unwrap();
        for path in ["/volume", "/data/../volume", "/../host", "/volume/secret"] {
            // A link that leads to itself is an error, the others lead to nothing within the image.
            assert!(
                matches!(layers.copy(path), Ok(false) | Err(_)),
                "{target} {path}"
            );
            assert!(!layers.target().exists());
        }
        fs::remove_file(&link).unwrap();
    }
    // Within the image it leads somewhere; links below are copied as what they are.
    symlink("/../data", &link).unwrap();
    symlink(&outside, layers.paths[0].join("data/out")).unwrap();
    assert!(layers.copy("/volume").unwrap());
    assert_eq!(fs::read_link(layers.target().join("out")).unwrap(), outside);
    assert_eq!(tree(&layers.target()).len(), 1);
}

#[test]
fn a_volume_without_a_directory_in_the_image_is_not_made() {
    let layers = Layers::new(1);
    assert!(!layers.copy("/none").unwrap());
    fs::write(layers.paths[0].join("file"), "").unwrap();
    let error = layers.copy("/file").unwrap_err().to_string();
    assert!(error.contains("not a directory"), "{error}");
    assert!(!layers.target().exists());
}

#[test]
fn c10_a_copy_is_bounded() {
    let layers = Layers::new(1);
    let data = layers.paths[0].join("data");
    let sparse = File::create(data.join("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    assert!(layers.refused(Limits::default()).contains("bytes"));
    fs::remove_file(data.join("sparse")).unwrap();
    for name in ["a", "b", "c"] {
        fs::write(data.join(name), "").unwrap();
    }
    let few = Limits {
        entries: 2,
        ..Limits::default()
    };
    let error = layers.refused(few);
    assert!(error.contains("more than 2 entries"), "{error}");
    fs::create_dir_all(data.join("d/".repeat(MAX_DEPTH))).unwrap();
    let error = layers.refused(Limits::default());
    assert!(error.contains("directories within each other"), "{error}");
}
