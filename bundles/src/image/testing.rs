//! Archives and images made for the tests of this module.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::digest::Digest;
use super::overlay::Image;

/// A tar archive in the making. Names go in unchecked, as an attacker would write them.
pub(crate) struct Archive(Builder<Vec<u8>>);

impl Archive {
    pub(crate) fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    pub(crate) fn header(kind: EntryType, name: &str, mode: u32, size: u64) -> Header {
        let mut header = Header::new_gnu();
        let field = &mut header.as_old_mut().name;
        field[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_600_000_000);
        header.set_size(size);
        header
    }

    pub(crate) fn raw(mut self, mut header: Header, data: &[u8]) -> Self {
        header.set_cksum();
        self.0.append(&header, data).unwrap();
        self
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.raw(
            Self::header(EntryType::Regular, name, 0o644, data.len() as u64),
            data,
        )
    }

    pub(crate) fn dir(self, name: &str, mode: u32) -> Self {
        self.raw(Self::header(EntryType::Directory, name, mode, 0), b"")
    }

    pub(crate) fn link(self, kind: EntryType, name: &str, target: &str) -> Self {
        let mut header = Self::header(kind, name, 0o777, 0);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        self.raw(header, b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Symlink, name, target)
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Link, name, target)
    }

    pub(crate) fn device(self, kind: EntryType, name: &str, major: u32, minor: u32) -> Self {
        let mut header = Self::header(kind, name, 0o666, 0);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        self.raw(header, b"")
    }

    /// Records for the next entry.
    pub(crate) fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        self.0
            .append_pax_extensions(records.iter().copied())
            .unwrap();
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Runs a command that must succeed and returns its standard output.
pub(crate) fn run(directory: &Path, command: &[&str]) -> String {
    let output = Command::new(command[0])
        .args(&command[1..])
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The name of this machine's architecture in images.
pub(crate) fn host_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// How a layer's archive becomes a blob.
pub(crate) type Compress = fn(&[u8]) -> Vec<u8>;

/// An OCI layout in the making.
pub(crate) struct Layout {
    pub(crate) path: PathBuf,
}

impl Layout {
    pub(crate) fn new(path: &Path) -> Self {
        fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self {
            path: path.to_owned(),
        }
    }

    pub(crate) fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        fs::write(self.path.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// An image of uncompressed layers, the base first; each is stored as `compress` makes it.
    pub(crate) fn image(&self, layers: &[Vec<u8>], config: Value, compress: Compress) -> Value {
        let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let config = json!({
            "os": "linux", "architecture": host_arch(), "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| self.blob(LAYER, &compress(layer)))
            .collect();
        self.manifest(&config, &layers)
    }

    pub(crate) fn manifest(&self, config: &Value, layers: &[Value]) -> Value {
        let config = self.blob(
            "application/vnd.oci.image.config.v1+json",
            config.to_string().as_bytes(),
        );
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        self.blob(MANIFEST, manifest.to_string().as_bytes())
    }

    /// Writes `index.json` with the given names and manifests.
    pub(crate) fn index(&self, images: &[(&str, &Value)]) {
        let manifests: Vec<_> = images
            .iter()
            .map(|(name, descriptor)| {
                let mut descriptor = (*descriptor).clone();
                if !name.is_empty() {
                    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
                }
                descriptor
            })
            .collect();
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        fs::write(self.path.join("index.json"), index.to_string()).unwrap();
    }
}

pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// All that can be seen of a file: mode, owner, device, size, times, link target or digest, attributes.
pub(crate) type Tree = BTreeMap<PathBuf, String>;

/// Reads a tree below `root`, without the root's own attributes.
pub(crate) fn tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut todo = vec![root.to_owned()];
    let mut inodes = BTreeMap::new();
    while let Some(directory) = todo.pop() {
        let mut entries: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        entries.sort();
        for path in entries {
            let meta = fs::symlink_metadata(&path).unwrap();
            let relative = path.strip_prefix(root).unwrap().to_owned();
            let content = if meta.is_symlink() {
                format!("{:?}", fs::read_link(&path).unwrap())
            } else if meta.is_file() {
                Digest::of(&fs::read(&path).unwrap()).to_string()
            } else {
                String::new()
            };
            if meta.is_dir() {
                todo.push(path.clone());
            }
            // Which files are one and the same.
            let same = if meta.is_dir() || meta.nlink() == 1 {
                relative.clone()
            } else {
                inodes
                    .entry(meta.ino())
                    .or_insert_with(|| relative.clone())
                    .clone()
            };
            let size = if meta.is_dir() { 0 } else { meta.size() };
            let line = format!(
                "{:o} {}:{} {} {size} {content} {same:?} {:?} @{}.{}",
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.rdev(),
                xattrs(&path),
                meta.mtime(),
                meta.mtime_nsec(),
            );
            tree.insert(relative, line);
        }
    }
    tree
}

/// Leaves the times of these paths out of a comparison.
pub(crate) fn timeless(mut tree: Tree, paths: &[&str]) -> Tree {
    for path in paths {
        let line = tree.get_mut(Path::new(path)).unwrap();
        line.truncate(line.rfind('@').unwrap());
    }
    tree
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let names = names[..length]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty());
    names
        .map(|name| {
            let name = String::from_utf8(name.to_vec()).unwrap();
            let mut value = vec![0; 4096];
            let length = rustix::fs::lgetxattr(path, name.as_str(), &mut value[..]).unwrap();
            (name, value[..length].to_vec())
        })
        .collect()
}

/// Mounts an image in a mount namespace of its own and reads what a container would see.
pub(crate) fn mounted(image: &Image) -> Tree {
    let image = image.clone();
    let thread = std::thread::spawn(move || {
        let top = TempDir::new().unwrap();
        for directory in ["upper", "work", "merged"] {
            fs::create_dir(top.path().join(directory)).unwrap();
        }
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
        let nothing: Option<&str> = None;
        mount(
            nothing,
            "/",
            nothing,
            MsFlags::MS_PRIVATE | MsFlags::MS_REC,
            nothing,
        )
        .unwrap();
        let overlay = image.overlay_mount(&top.path().join("upper"), &top.path().join("work"));
        let merged = top.path().join("merged");
        let options = overlay.options.join(",");
        mount(
            Some("overlay"),
            &merged,
            Some("overlay"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .unwrap();
        let tree = tree(&merged);
        umount(&merged).unwrap();
        tree
    });
    thread.join().unwrap()
}
