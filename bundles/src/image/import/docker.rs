//! Archives of `docker save` (image specification v1.2): `manifest.json` names configurations and layers.

use serde::Deserialize;

use super::source::Source;
use super::{Found, LayerFile};
use crate::image::error::{ImageError, Result};

/// An element of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    /// `null` for images without a name.
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// The images of an archive.
pub(super) fn images(source: &Source, manifest: &[u8]) -> Result<Vec<Found>> {
    let what = format!("manifest.json in {}", source.name());
    let items: Vec<Item> = serde_json::from_slice(manifest)
        .map_err(|error| ImageError::refused(&what, format!("it is malformed: {error}")))?;
    if items.is_empty() {
        return Err(ImageError::refused(what, "it lists no image"));
    }
    items
        .into_iter()
        .map(|item| image(source, &what, item))
        .collect()
}

fn image(source: &Source, what: &str, item: Item) -> Result<Found> {
    let missing = |path: &str| ImageError::refused(what, format!("its file {path:?} is missing"));
    let config = source
        .document(&item.config)?
        .ok_or_else(|| missing(&item.config))?;
    let mut layers = Vec::new();
    for path in item.layers.unwrap_or_default() {
        let (_, size) = source.open(&path)?.ok_or_else(|| missing(&path))?;
        // The archive says no digest of the file; that of its content is in the configuration.
        layers.push(LayerFile {
            path,
            digest: None,
            size,
        });
    }
    let names = item.repo_tags.unwrap_or_default();
    let names = names
        .iter()
        .map(|name| name.parse())
        .collect::<Result<_>>()?;
    Ok(Found {
        names,
        manifest: None,
        config,
        layers,
    })
}
