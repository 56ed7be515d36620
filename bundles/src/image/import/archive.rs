//! Images on disk for a store that is not ours: their documents, and their layers as they are.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::json;

use super::source::Source;
use super::{Found, ImportOptions, Input, LayerFile, check_layers, found};
use crate::image::config::{self, ParsedConfig};
use crate::image::contents::Contents;
use crate::image::digest::Digest;
use crate::image::document::{self, Blob, Step};
use crate::image::error::{ImageError, IoContext, Result};
use crate::image::platform::Host;
use crate::image::reference::Reference;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An OCI layout directory, an OCI archive or a Docker archive (each also compressed).
pub struct Archive(Source);

/// An image within it.
pub struct ArchiveImage {
    /// As the archive has them, or that which was asked for.
    pub names: Vec<Reference>,
    /// What it is. A Docker archive has no manifest; then it is made, and always comes out the same.
    pub contents: Contents,
    files: Vec<LayerFile>,
}

impl Archive {
    /// Opens one. What cannot be read in place is copied to an unnamed file in `tmp`.
    ///
    /// # Errors
    /// [`ImageError::Refused`] for what is none, [`ImageError::Io`].
    pub fn open(path: &Path, tmp: &Path, options: &ImportOptions<'_>) -> Result<Self> {
        if std::fs::metadata(path).at("open", path)?.is_dir() {
            return Ok(Self(Source::directory(path)?));
        }
        let input = Input::File(File::open(path).at("open", path)?);
        let name = path.display().to_string();
        let source = Source::archive(input, &name, tmp, &options.limits, &options.cancel)?;
        Ok(Self(source))
    }

    /// Its images for this machine.
    ///
    /// # Errors
    /// [`ImageError::Refused`] for what is not an image, [`ImageError::InvalidName`], [`ImageError::Io`].
    pub fn images(&self, options: &ImportOptions<'_>) -> Result<Vec<ArchiveImage>> {
        let host = Host::current();
        found(&self.0, options.name.as_ref(), &host)?
            .into_iter()
            .map(|image| self.image(image, &host, options))
            .collect()
    }

    fn image(
        &self,
        found: Found,
        host: &Host,
        options: &ImportOptions<'_>,
    ) -> Result<ArchiveImage> {
        let ParsedConfig { config, diff_ids } = config::parse(&found.config, host)?;
        let files = found.layers;
        check_layers(&self.0.name(), &diff_ids, files.len(), &options.limits)?;
        let bytes = match found.manifest {
            Some(bytes) => bytes,
            None => {
                let layers = files.iter().map(|file| self.measure(file));
                manifest(&found.config, &layers.collect::<Result<Vec<_>>>()?)
            }
        };
        let what = format!("the manifest in {}", self.0.name());
        let (blob, step) = document::follow(&what, &bytes, None)?;
        let Step::Image(manifest) = step else {
            return Err(ImageError::refused(what, "it is an index"));
        };
        Ok(ArchiveImage {
            names: found.names,
            contents: Contents {
                documents: vec![(blob, bytes)],
                config_blob: manifest.config,
                config_bytes: found.config,
                config,
                layers: manifest.layers,
                diff_ids,
            },
            files,
        })
    }

    /// A layer's bytes as they are in the archive, by number. They are not verified yet.
    ///
    /// # Errors
    /// [`ImageError::Refused`] when it is missing, [`ImageError::Io`].
    pub fn layer(&self, image: &ArchiveImage, number: usize) -> Result<Box<dyn Read + '_>> {
        self.open_layer(&image.files[number])
    }

    fn open_layer(&self, file: &LayerFile) -> Result<Box<dyn Read + '_>> {
        let missing =
            || ImageError::refused(self.0.name(), format!("its file {} is missing", file.path));
        Ok(self.0.open(&file.path)?.ok_or_else(missing)?.0)
    }

    /// What a file is of which the archive says nothing.
    fn measure(&self, file: &LayerFile) -> Result<Blob> {
        let path = Path::new(&file.path);
        let mut start = Vec::new();
        self.open_layer(file)?
            .take(4)
            .read_to_end(&mut start)
            .at("read", path)?;
        let suffix = match start[..] {
            [0x1f, 0x8b, ..] => "+gzip",
            [0x28, 0xb5, 0x2f, 0xfd] => "+zstd",
            _ => "",
        };
        let (digest, size) = Digest::of_reader(&mut self.open_layer(file)?).at("read", path)?;
        Ok(Blob {
            media_type: format!("{LAYER}{suffix}"),
            digest,
            size,
        })
    }
}

/// The manifest of an image that came without one.
fn manifest(config: &[u8], layers: &[Blob]) -> Vec<u8> {
    let descriptor = |media_type: &str, digest: &Digest, size: u64| json!({"mediaType": media_type, "digest": digest, "size": size});
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| descriptor(&layer.media_type, &layer.digest, layer.size))
        .collect();
    let config = descriptor(CONFIG, &Digest::of(config), config.len() as u64);
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
        .to_string()
        .into_bytes()
}
