//! An image in its registry: what it is, and its layers, for whoever keeps them.

use std::sync::Arc;

use super::Reporter;
use super::blob::Sink;
use super::manifest::Resolved;
use super::options::PullOptions;
use super::registry::Registry;
use crate::image::config::{self, ParsedConfig};
use crate::image::contents::Contents;
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
    pub async fn resolve(&self) -> Result<Contents> {
        let host = Host::current();
        let Resolved {
            documents,
            manifest,
        } = self.registry.resolve().await?;
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
        Ok(Contents {
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
