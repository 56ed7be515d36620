//! OCI image layouts: `index.json` leads to manifests, and those to blobs.

use std::collections::BTreeMap;

use oci_spec::image::Descriptor;

use super::source::Source;
use super::{Found, LayerFile, blob_path};
use crate::image::digest::Digest;
use crate::image::document::{self, Blob, Document, MAX_DEPTH, Manifest};
use crate::image::error::{ImageError, Result};
use crate::image::platform::Host;
use crate::image::reference::Reference;

/// The full name, as containerd and BuildKit write it.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// A name or only a tag (OCI image specification, "pre-defined annotation keys").
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The images of a layout for this machine.
pub(super) fn images(source: &Source, index: &[u8], host: &Host) -> Result<Vec<Found>> {
    let what = format!("index.json in {}", source.name());
    let Document::Index(descriptors) = document::parse(&what, index, None)? else {
        return Err(ImageError::refused(what, "it is a manifest, not an index"));
    };
    // One image may stand here once for each platform.
    let mut groups: BTreeMap<Option<&str>, Vec<Descriptor>> = BTreeMap::new();
    for descriptor in &descriptors {
        groups
            .entry(name(descriptor))
            .or_default()
            .push(descriptor.clone());
    }
    let mut found = Vec::new();
    for (name, group) in groups {
        let names: Vec<Reference> = name.map(str::parse).transpose()?.into_iter().collect();
        // Without names and platforms, each is an image of its own.
        let separate = name.is_none() && group.iter().all(|entry| entry.platform().is_none());
        let chosen: Vec<&Descriptor> = if separate {
            group.iter().collect()
        } else {
            vec![choose(&what, &group, host)?]
        };
        for descriptor in chosen {
            found.push(image(source, &what, descriptor, names.clone(), host)?);
        }
    }
    if found.is_empty() {
        return Err(ImageError::refused(what, "it lists no image"));
    }
    Ok(found)
}

fn name(descriptor: &Descriptor) -> Option<&str> {
    let annotations = descriptor.annotations().as_ref()?;
    let name = annotations
        .get(CONTAINERD_NAME)
        .or_else(|| annotations.get(REF_NAME))?;
    Some(name.as_str()).filter(|name| !name.is_empty())
}

fn choose<'a>(what: &str, entries: &'a [Descriptor], host: &Host) -> Result<&'a Descriptor> {
    host.choose(entries)
        .ok_or_else(|| ImageError::refused(what, format!("it has no image for {host}")))
}

fn image(
    source: &Source,
    what: &str,
    descriptor: &Descriptor,
    names: Vec<Reference>,
    host: &Host,
) -> Result<Found> {
    let mut descriptor = descriptor.clone();
    for _ in 0..MAX_DEPTH {
        let blob = document::blob(what, &descriptor)?;
        let bytes = document(source, &blob)?;
        let label = format!("manifest {}", blob.digest);
        match document::parse(&label, &bytes, Some(descriptor.media_type().as_ref()))? {
            Document::Index(entries) => descriptor = choose(&label, &entries, host)?.clone(),
            Document::Manifest(Manifest { config, layers }) => {
                return Ok(Found {
                    names,
                    config: document(source, &config)?,
                    manifest: Some(bytes),
                    layers: layers.iter().map(LayerFile::of_blob).collect(),
                });
            }
        }
    }
    Err(ImageError::refused(
        what,
        "its indexes are nested too deeply",
    ))
}

/// A blob in memory, verified.
fn document(source: &Source, blob: &Blob) -> Result<Vec<u8>> {
    let path = blob_path(&blob.digest);
    let what = || format!("{path} in {}", source.name());
    let bytes = source
        .document(&path)?
        .ok_or_else(|| ImageError::refused(what(), "the file is missing"))?;
    if bytes.len() as u64 != blob.size || Digest::of(&bytes) != blob.digest {
        let reason = format!("its content is not {} of {} bytes", blob.digest, blob.size);
        return Err(ImageError::refused(what(), reason));
    }
    Ok(bytes)
}
