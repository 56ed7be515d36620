//! An image in its registry: what it is, and its layers, for whoever keeps them.

use std::sync::Arc;

use super::Reporter;
use super::blob::Sink;
use super::manifest::Resolved;
use super::options::PullOptions;
use super::registry::Registry;
use crate::image::config::{self, ImageConfig, ParsedConfig};
use crate::image::digest::Digest;
use crate::image::document::Blob;
use crate::image::error::{ImageError, Result};
use crate::image::import::check_layers;
use crate::image::platform::Host;
use crate::image::progress::Progress;
use crate::image::reference::Reference;

/// An image in its registry. Cheap to clone.
#[derive(Clone)]
pub struct Remote {
    registry: Arc<Registry>,
    options: PullOptions,
}

/// What an image is, checked; its layers are yet to be received.
#[derive(Debug)]
pub struct RemoteImage {
    /// The documents that lead to the image for this machine and what they are: that which the name stands for
    /// first, its manifest last. Never empty.
    pub documents: Vec<(Blob, Vec<u8>)>,
    /// What the manifest says of the configuration.
    pub config_blob: Blob,
    /// The configuration as it is.
    pub config_bytes: Vec<u8>,
    /// The same, read.
    pub config: ImageConfig,
    /// The base first.
    pub layers: Vec<Blob>,
    /// Digests of the layers uncompressed; as many.
    pub diff_ids: Vec<Digest>,
}

impl RemoteImage {
    /// What the image's name stands for: an index or a manifest.
    #[must_use]
    pub fn target(&self) -> &Blob {
        &self.documents[0].0
    }

    /// Bytes of configuration, manifest and layers.
    #[must_use]
    pub fn size(&self) -> u64 {
        let layers = self.layers.iter().map(|layer| layer.size).sum::<u64>();
        let manifest = self.documents.last().map_or(0, |(blob, _)| blob.size);
        layers + manifest + self.config_blob.size
    }
}

impl Remote {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// When `hosts.toml`, or what it names, can't be used.
    pub fn new(reference: &Reference, options: &PullOptions) -> Result<Self> {
        Ok(Self {
            registry: Arc::new(Registry::new(reference, options)?),
            options: options.clone(),
        })
    }

    /// Asks what the image is, and tells of it.
    ///
    /// # Errors
    /// As [`Store::pull`](crate::image::store::Store::pull).
    pub async fn resolve(&self) -> Result<RemoteImage> {
        let host = Host::current();
        let Resolved {
            documents,
            manifest,
        } = self.registry.resolve(&host).await?;
        let config_bytes = self
            .registry
            .blob(&manifest.config.digest, manifest.config.size)
            .await?;
        let ParsedConfig { config, diff_ids } = config::parse(&config_bytes, &host)?;
        let limits = &self.options.limits;
        let what = format!("image {}", self.registry.image);
        check_layers(&what, &diff_ids, manifest.layers.len(), limits)?;
        if let Some(large) = manifest
            .layers
            .iter()
            .find(|layer| layer.size > limits.bytes)
        {
            let reason = format!(
                "layer {} has {} bytes, more than {}",
                large.digest, large.size, limits.bytes
            );
            return Err(ImageError::refused(what, reason));
        }
        (self.options.progress)(Progress::Resolved {
            image: self.registry.image.to_string(),
            layers: manifest
                .layers
                .iter()
                .map(|layer| (layer.digest.clone(), layer.size))
                .collect(),
        });
        Ok(RemoteImage {
            documents,
            config_blob: manifest.config,
            config_bytes,
            config,
            layers: manifest.layers,
            diff_ids,
        })
    }

    /// Receives a blob until it is whole and right, and tells of it.
    ///
    /// # Errors
    /// As [`Store::pull`](crate::image::store::Store::pull), and the sink's.
    pub async fn receive(&self, blob: &Blob, sink: &mut impl Sink) -> Result<()> {
        let reporter = Reporter(self.options.progress.clone());
        self.registry.receive(blob, sink, &reporter).await
    }
}
