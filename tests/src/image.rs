//! Images made by hand, also such as no honest tool makes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::given;

/// A layer: a tar archive in the making.
#[derive(Default)]
pub struct Layer(Vec<u8>);

impl Layer {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that another program has made; its end may be missing.
    pub fn made(archive: Vec<u8>) -> Self {
        Self(archive)
    }

    /// A regular file with mode 0755.
    #[must_use]
    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(b'0', name, "", content)
    }

    /// A directory.
    #[must_use]
    pub fn dir(self, name: &str) -> Self {
        self.entry(b'5', name, "", b"")
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(b'2', name, target, b"")
    }

    /// A hard link.
    #[must_use]
    pub fn hardlink(self, name: &str, target: &str) -> Self {
        self.entry(b'1', name, target, b"")
    }

    /// A named pipe.
    #[must_use]
    pub fn fifo(self, name: &str) -> Self {
        self.entry(b'6', name, "", b"")
    }

    /// A character device of number 1:5, which is `/dev/zero`.
    #[must_use]
    pub fn zero_device(self, name: &str) -> Self {
        self.entry(b'3', name, "", b"")
    }

    /// One header of the ustar format, owned by root.
    fn entry(mut self, kind: u8, name: &str, target: &str, content: &[u8]) -> Self {
        let mut header = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(100, b"0000755\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", content.len()).as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, &[kind]);
        put(157, target.as_bytes());
        put(257, b"ustar\x0000");
        put(329, b"0000001\0");
        put(337, b"0000005\0");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(header);
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }
}

/// Writes an OCI layout of one image, whose tag is `1`: the files of busybox with these layers upon them.
pub fn busybox_with(dir: &Path, config: Value, layers: Vec<Layer>) -> PathBuf {
    let base = given::images().join("busybox");
    let read = |path: PathBuf| fs::read(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    let parse = |bytes: Vec<u8>| -> Value { serde_json::from_slice(&bytes).expect("it is JSON") };
    let of = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().expect("it has a digest");
        base.join("blobs/sha256")
            .join(digest.trim_start_matches("sha256:"))
    };
    let index = parse(read(base.join("index.json")));
    let manifest = parse(read(of(&index["manifests"][0])));
    let image = parse(read(of(&manifest["config"])));
    let mut ids = image["rootfs"]["diff_ids"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut descriptors = manifest["layers"].as_array().cloned().unwrap_or_default();
    let layout = Layout::new(dir);
    for descriptor in &descriptors {
        layout.blob("", &read(of(descriptor)));
    }
    for Layer(mut tar) in layers {
        tar.resize(tar.len() + 1024, 0);
        let descriptor = layout.blob("application/vnd.oci.image.layer.v1.tar", &tar);
        ids.push(descriptor["digest"].clone());
        descriptors.push(descriptor);
    }
    layout.image(
        &image["architecture"],
        &config,
        &ids.into(),
        &descriptors.into(),
    );
    dir.to_owned()
}

/// An OCI layout in the making.
struct Layout(PathBuf);

impl Layout {
    fn new(dir: &Path) -> Self {
        fs::create_dir_all(dir.join("blobs/sha256")).expect("the test's directory can be written");
        let version = r#"{"imageLayoutVersion": "1.0.0"}"#;
        fs::write(dir.join("oci-layout"), version).expect("the test's directory can be written");
        Self(dir.to_owned())
    }

    /// Files a blob and returns its descriptor.
    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let hash: String = Sha256::digest(bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        fs::write(self.0.join("blobs/sha256").join(&hash), bytes)
            .expect("the test's directory can be written");
        json!({"mediaType": media_type, "digest": format!("sha256:{hash}"), "size": bytes.len()})
    }

    fn image(&self, architecture: &Value, config: &Value, ids: &Value, layers: &Value) {
        let image = json!({
            "architecture": architecture, "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": ids},
        });
        let config = self.blob(
            "application/vnd.oci.image.config.v1+json",
            image.to_string().as_bytes(),
        );
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers});
        let mut descriptor = self.blob(media_type, manifest.to_string().as_bytes());
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": "1"});
        let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
        fs::write(self.0.join("index.json"), index.to_string())
            .expect("the test's directory can be written");
    }
}
