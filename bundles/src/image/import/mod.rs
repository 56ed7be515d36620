//! Images from disk: OCI layouts as directories or archives, and what `docker save` writes.

mod archive;
mod docker;
mod layout;
mod source;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::Path;

pub use self::archive::{Archive, ArchiveImage};
pub use self::source::Input;
use self::source::Source;
use super::config::{self, ParsedConfig};
use super::digest::{Digest, Hasher};
use super::document::Blob;
use super::error::{ImageError, IoContext, Result};
use super::overlay::Image;
use super::platform::Host;
use super::progress::Progress;
use super::reference::Reference;
use super::store::{NewImage, Store, Unpacking};
use super::unpack::{Cancel, LayerError, Limits};

/// How to import.
pub struct ImportOptions<'a> {
    /// The name to give instead of those in the archive, which must then hold one image.
    pub name: Option<Reference>,
    /// Bounds of each layer and of the archive.
    pub limits: Limits,
    /// To stop early.
    pub cancel: Cancel,
    /// Told of each step.
    pub progress: &'a dyn Fn(Progress),
}

impl Default for ImportOptions<'_> {
    fn default() -> Self {
        Self {
            name: None,
            limits: Limits::default(),
            cancel: Cancel::default(),
            progress: &|_| {},
        }
    }
}

impl Store {
    /// Imports an OCI layout directory, an OCI archive or a Docker archive (each also compressed).
    ///
    /// # Errors
    /// [`ImageError::Refused`] and [`ImageError::Layer`] for what is not an image or a dangerous one,
    /// [`ImageError::InvalidName`] for a name in it, [`ImageError::Io`]. What was imported before the error stays.
    pub fn import(&self, path: &Path, options: &ImportOptions<'_>) -> Result<Vec<Image>> {
        let meta = std::fs::metadata(path).at("open", path)?;
        if meta.is_dir() {
            return self.import_source(&Source::directory(path)?, options);
        }
        let file = File::open(path).at("open", path)?;
        self.import_archive(Input::File(file), &path.display().to_string(), options)
    }

    /// Imports an archive from a stream. `name` is what errors call it.
    ///
    /// # Errors
    /// Those of [`Store::import`].
    pub fn import_archive(
        &self,
        input: Input,
        name: &str,
        options: &ImportOptions<'_>,
    ) -> Result<Vec<Image>> {
        let tmp = self.spool_directory();
        let source = Source::archive(input, name, &tmp, &options.limits, &options.cancel)?;
        self.import_source(&source, options)
    }

    fn import_source(&self, source: &Source, options: &ImportOptions<'_>) -> Result<Vec<Image>> {
        let host = Host::current();
        found(source, options.name.as_ref(), &host)?
            .into_iter()
            .map(|image| self.import_image(source, image, &host, options))
            .collect()
    }

    fn import_image(
        &self,
        source: &Source,
        found: Found,
        host: &Host,
        options: &ImportOptions<'_>,
    ) -> Result<Image> {
        let ParsedConfig { config, diff_ids } = config::parse(&found.config, host)?;
        check_layers(
            &source.name(),
            &diff_ids,
            found.layers.len(),
            &options.limits,
        )?;
        let label = |number: usize| match &found.layers[number].digest {
            Some(digest) => digest.clone(),
            None => diff_ids[number].clone(),
        };
        (options.progress)(Progress::Resolved {
            image: found
                .names
                .first()
                .map_or_else(|| source.name(), Reference::to_string),
            layers: (0..diff_ids.len())
                .map(|number| (label(number), found.layers[number].size))
                .collect(),
        });
        let lease = self.lease(&diff_ids)?;
        for (number, diff_id) in diff_ids.iter().enumerate() {
            self.import_layer(
                source,
                &found.layers[number],
                diff_id,
                &label(number),
                options,
            )?;
        }
        let names = found.names.iter().map(Reference::key);
        let names = match &found.manifest {
            // The manifest is the image's own, so its digest names it as truly as a registry does.
            Some(bytes) => {
                let digests = found
                    .names
                    .iter()
                    .map(|name| name.with_digest(Digest::of(bytes)).key());
                names.chain(digests).collect()
            }
            None => names.collect(),
        };
        let size = found.layers.iter().map(|layer| layer.size).sum::<u64>()
            + found.config.len() as u64
            + found
                .manifest
                .as_ref()
                .map_or(0, |bytes| bytes.len() as u64);
        let new = NewImage {
            config,
            config_bytes: found.config,
            manifest_bytes: found.manifest,
            diff_ids,
            size,
            names,
        };
        self.commit(new, lease)
    }

    fn import_layer(
        &self,
        source: &Source,
        layer: &LayerFile,
        diff_id: &Digest,
        label: &Digest,
        options: &ImportOptions<'_>,
    ) -> Result<()> {
        let progress = options.progress;
        let lock = self.lock_layer(diff_id)?;
        if self.layer(diff_id)?.is_some() {
            progress(Progress::Present {
                layer: label.clone(),
            });
            return Ok(());
        }
        let missing =
            || ImageError::refused(source.name(), format!("its file {} is missing", layer.path));
        if let Some(expected) = &layer.digest {
            let (mut reader, size) = source.open(&layer.path)?.ok_or_else(missing)?;
            let mut verifying = Verifying {
                hasher: Hasher::new(),
                bytes: 0,
                total: size,
                label,
                options,
            };
            std::io::copy(&mut reader, &mut verifying).at("read", Path::new(&layer.path))?;
            let actual = verifying.hasher.finish();
            if size != layer.size || actual != *expected {
                return Err(mismatch(label, expected, layer.size, &actual, size));
            }
        }
        let (reader, _) = source.open(&layer.path)?.ok_or_else(missing)?;
        let mut unpacking = Unpacking {
            limits: &options.limits,
            cancel: &options.cancel,
            progress: &mut |bytes| {
                progress(Progress::Unpacking {
                    layer: label.clone(),
                    bytes,
                })
            },
        };
        self.unpack_layer(&lock, diff_id, label, reader, &mut unpacking)?;
        progress(Progress::Done {
            layer: label.clone(),
        });
        Ok(())
    }
}

/// The images of a source, the only one named `name` if that is given.
fn found(source: &Source, name: Option<&Reference>, host: &Host) -> Result<Vec<Found>> {
    let mut found = if let Some(index) = source.document("index.json")? {
        layout::images(source, &index, host)?
    } else if let Some(manifest) = source.document("manifest.json")? {
        docker::images(source, &manifest)?
    } else {
        let reason = "it is no OCI layout (no index.json) and no Docker archive (no manifest.json)";
        return Err(ImageError::refused(source.name(), reason));
    };
    if let Some(name) = name {
        let [image] = &mut found[..] else {
            let reason = format!(
                "it holds {} images, which cannot all get the name {name}",
                found.len()
            );
            return Err(ImageError::refused(source.name(), reason));
        };
        image.names = vec![name.clone()];
    }
    Ok(found)
}

/// An image within a source, not yet unpacked.
struct Found {
    names: Vec<Reference>,
    manifest: Option<Vec<u8>>,
    config: Vec<u8>,
    layers: Vec<LayerFile>,
}

/// A layer's archive.
struct LayerFile {
    path: String,
    /// Of the file, where the format tells it.
    digest: Option<Digest>,
    size: u64,
}

impl LayerFile {
    fn of_blob(blob: &Blob) -> Self {
        let path = blob_path(&blob.digest);
        Self {
            path,
            digest: Some(blob.digest.clone()),
            size: blob.size,
        }
    }
}

/// The OCI image layout's place for content.
fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Hashes a blob, tells of it, and stops when cancelled.
struct Verifying<'a> {
    hasher: Hasher,
    bytes: u64,
    total: u64,
    label: &'a Digest,
    options: &'a ImportOptions<'a>,
}

impl std::io::Write for Verifying<'_> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        if self.options.cancel.is_cancelled() {
            return Err(std::io::Error::other(LayerError::Cancelled));
        }
        self.hasher.update(data);
        self.bytes += data.len() as u64;
        let (layer, bytes, total) = (self.label.clone(), self.bytes, self.total);
        (self.options.progress)(Progress::Receiving {
            layer,
            bytes,
            total,
        });
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A manifest and its configuration must agree on the layers, and have no absurd number of them.
pub(super) fn check_layers(
    what: &str,
    diff_ids: &[Digest],
    blobs: usize,
    limits: &Limits,
) -> Result<()> {
    if diff_ids.len() != blobs {
        let reason = format!(
            "its configuration lists {} layers, its manifest {blobs}",
            diff_ids.len()
        );
        return Err(ImageError::refused(what, reason));
    }
    if blobs > limits.layers {
        let reason = format!("it has {blobs} layers, more than {}", limits.layers);
        return Err(ImageError::refused(what, reason));
    }
    Ok(())
}

/// The error for a blob that is not what its descriptor says.
pub(super) fn mismatch(
    layer: &Digest,
    expected: &Digest,
    expected_size: u64,
    actual: &Digest,
    actual_size: u64,
) -> ImageError {
    let source = LayerError::Mismatch {
        expected: format!("{expected} of {expected_size} bytes"),
        found: format!("{actual} of {actual_size} bytes"),
    };
    ImageError::Layer {
        layer: layer.clone(),
        source,
    }
}
