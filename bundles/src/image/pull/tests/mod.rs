//! Pulls from a real registry, and from servers that misbehave.

mod auth;
mod broken;
mod mirrors;
mod real;
mod resume;
mod server;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use self::server::{Reply, Request, Server};
use super::*;
use crate::image::error::ImageError;
use crate::image::testing::{Archive, LAYER, MANIFEST, gzip, host_arch};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// Documents and blobs of an image, as a registry has them.
#[derive(Clone)]
struct Content {
    manifest: Vec<u8>,
    config: Vec<u8>,
    layers: Vec<Vec<u8>>,
}

impl Content {
    /// An image of layers that do not compress, so that sizes are known.
    fn new(sizes: &[usize]) -> Self {
        let mut state = 1u32;
        let mut noise = |size| -> Vec<u8> {
            let next = |_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            };
            (0..size).map(next).collect()
        };
        let files = sizes
            .iter()
            .enumerate()
            .map(|(n, size)| Archive::new().file(&n.to_string(), &noise(*size)).finish());
        Self::of(&files.collect::<Vec<_>>())
    }

    fn of(archives: &[Vec<u8>]) -> Self {
        let diff_ids: Vec<_> = archives.iter().map(|archive| Digest::of(archive)).collect();
        let layers: Vec<_> = archives.iter().map(|archive| gzip(archive)).collect();
        let config = json!({"os": "linux", "architecture": host_arch(), "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = config.to_string().into_bytes();
        let blobs: Vec<_> = layers
            .iter()
            .map(|layer| descriptor(LAYER, layer))
            .collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, &config), "layers": blobs});
        Self {
            manifest: manifest.to_string().into_bytes(),
            config,
            layers,
        }
    }

    /// With another manifest.
    fn change(mut self, change: impl FnOnce(&mut Value)) -> Self {
        let mut manifest: Value = serde_json::from_slice(&self.manifest).unwrap();
        change(&mut manifest);
        self.manifest = manifest.to_string().into_bytes();
        self
    }

    /// What a registry that behaves answers; it serves any tag and no ranges.
    fn answer(&self, request: &Request) -> Reply {
        let (_, name) = request.path.rsplit_once('/').unwrap();
        if request.path.contains("/manifests/") {
            return Reply::new("200 OK", &[("Content-Type", MANIFEST)], &self.manifest);
        }
        let blobs = self.layers.iter().chain([&self.config]);
        match blobs
            .into_iter()
            .find(|blob| Digest::of(blob).to_string() == name)
        {
            Some(blob) => Reply::new("200 OK", &[], blob),
            None => Reply::new(
                "404 Not Found",
                &[],
                br#"{"errors": [{"code": "BLOB_UNKNOWN", "message": "no such blob"}]}"#,
            ),
        }
    }

    /// The end of a layer's path.
    fn blob(&self, number: usize) -> String {
        format!("blobs/{}", Digest::of(&self.layers[number]))
    }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

/// A store of one's own.
struct Ground {
    top: TempDir,
    store: Store,
    options: PullOptions,
    progress: Arc<Mutex<Vec<Progress>>>,
}

impl Ground {
    fn new() -> Self {
        let top = TempDir::new().unwrap();
        let store = Store::open(&top.path().join("root")).unwrap();
        let progress: Arc<Mutex<Vec<Progress>>> = Arc::default();
        let note = Arc::clone(&progress);
        let options = PullOptions {
            progress: Arc::new(move |step| note.lock().unwrap().push(step)),
            stall_timeout: Duration::from_secs(20),
            ..PullOptions::default()
        };
        Self {
            top,
            store,
            options,
            progress,
        }
    }

    /// What `hosts.toml` says of the registry of this image from now on.
    fn configure(&mut self, registry: &str, hosts: &str) {
        let directory = self.top.path().join("certs.d");
        fs::create_dir_all(directory.join(registry)).unwrap();
        fs::write(directory.join(registry).join("hosts.toml"), hosts).unwrap();
        self.options.hosts_directory = Some(directory);
    }

    async fn pull(&self, image: &str) -> Result<Image> {
        self.store
            .pull(&image.parse().unwrap(), &self.options)
            .await
    }

    /// A pull that fails, and leaves nothing but perhaps what can be continued.
    async fn refused(&self, image: &str) -> ImageError {
        let error = self.pull(image).await.expect_err(image);
        let text = error.to_string();
        assert!(!text.contains('\n') && text.len() < 800, "{text}");
        assert_eq!(self.store.list().unwrap(), []);
        error
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.path().join("root/images").join(name)
    }

    fn count(&self, directory: &str) -> usize {
        fs::read_dir(self.path(directory)).unwrap().count()
    }

    /// Waits until threads that nobody waits for any more have cleaned up.
    async fn settled(&self) {
        while self.count("tmp") + self.count("leases") > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn image(server: &Server) -> String {
    format!("{}/app:v1", server.address)
}
