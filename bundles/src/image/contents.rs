//! What an image consists of, for stores that keep it as it came: its documents, configuration and layers.

use super::config::ImageConfig;
use super::digest::Digest;
use super::document::Blob;

/// What an image is, checked, wherever it comes from; its layers are yet to be had.
#[derive(Debug)]
pub struct Contents {
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

impl Contents {
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
