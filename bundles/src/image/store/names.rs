//! Names of images and their records: finding and listing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Store, files};
use crate::image::config::ImageConfig;
use crate::image::digest::Digest;
use crate::image::error::{ImageError, Result};
use crate::image::overlay::Image;
use crate::image::reference::Reference;
use crate::image::users::Users;

/// `index.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Index {
    version: u32,
    /// `name:tag` and `name@digest`, normalised.
    pub references: BTreeMap<String, Digest>,
}

/// `records/HEX.json`: all that is known of an image but its names.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    version: u32,
    pub id: Digest,
    pub manifest: Option<Digest>,
    pub config: ImageConfig,
    pub diff_ids: Vec<Digest>,
    /// Keys of the layers that a container mounts, the topmost first.
    pub layers: Vec<Digest>,
    pub size: u64,
    pub imported: u64,
    pub users: Users,
}

/// Of `index.json` and the records; raised when an older Carob could not read them.
const VERSION: u32 = 1;

impl Record {
    /// A record as this version writes it.
    pub(super) fn new(id: Digest, config: ImageConfig) -> Self {
        Self {
            version: VERSION,
            id,
            manifest: None,
            config,
            diff_ids: Vec::new(),
            layers: Vec::new(),
            size: 0,
            imported: 0,
            users: Users::default(),
        }
    }
}

impl Store {
    pub(super) fn index(&self) -> Result<Index> {
        Ok(files::read_json(&self.path("index.json"))?.unwrap_or_default())
    }

    /// The store must be locked since the index was read.
    pub(super) fn write_index(&self, index: &Index) -> Result<()> {
        let index = Index {
            version: VERSION,
            references: index.references.clone(),
        };
        files::write_json(&self.path("index.json"), &index)
    }

    pub(super) fn record_path(&self, id: &Digest) -> PathBuf {
        self.path("records").join(format!("{}.json", id.hex()))
    }

    pub(super) fn record(&self, id: &Digest) -> Result<Option<Record>> {
        files::read_json(&self.record_path(id))
    }

    pub(super) fn records(&self) -> Result<Vec<Record>> {
        let names = files::names(&self.path("records"))?;
        let paths = names.iter().map(|name| self.path("records").join(name));
        // One that is gone since was removed by another process.
        paths
            .filter_map(|path| files::read_json(&path).transpose())
            .collect()
    }

    /// The image that a Pod's `image:` means, if it is here.
    ///
    /// # Errors
    /// [`ImageError::Io`] when the store cannot be read.
    pub fn get(&self, reference: &Reference) -> Result<Option<Image>> {
        let index = self.index()?;
        let Some(id) = index.references.get(&reference.key()) else {
            return Ok(None);
        };
        Ok(self
            .record(id)?
            .map(|record| self.image(record, &index))
            .transpose()?
            .flatten())
    }

    /// The image of a name, an ID (`sha256:…`) or the unambiguous start of one, for people.
    ///
    /// # Errors
    /// [`ImageError::NotPresent`], [`ImageError::InvalidName`] for a text that can be neither,
    /// [`ImageError::Ambiguous`], [`ImageError::Io`].
    pub fn find(&self, text: &str) -> Result<Image> {
        let index = self.index()?;
        let id = self.find_id(text, &index)?.0;
        let image = self
            .record(&id)?
            .map(|record| self.image(record, &index))
            .transpose()?
            .flatten();
        image.ok_or_else(|| ImageError::NotPresent(text.to_owned()))
    }

    /// The ID, and the key when the text was a name.
    pub(super) fn find_id(&self, text: &str, index: &Index) -> Result<(Digest, Option<String>)> {
        let reference = text.parse::<Reference>();
        if let Ok(reference) = &reference
            && let Some(id) = index.references.get(&reference.key())
        {
            return Ok((id.clone(), Some(reference.key())));
        }
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.len() >= 4 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            let records = self.records()?;
            let mut fitting = records
                .into_iter()
                .filter(|record| record.id.hex().starts_with(hex));
            if let Some(record) = fitting.next() {
                return match fitting.next() {
                    None => Ok((record.id, None)),
                    Some(_) => Err(ImageError::Ambiguous(text.to_owned())),
                };
            }
            return Err(ImageError::NotPresent(text.to_owned()));
        }
        reference.and_then(|_| Err(ImageError::NotPresent(text.to_owned())))
    }

    /// All images, by name; those without one last.
    ///
    /// # Errors
    /// [`ImageError::Io`] when the store cannot be read.
    pub fn list(&self) -> Result<Vec<Image>> {
        let index = self.index()?;
        let mut images = Vec::new();
        for record in self.records()? {
            images.extend(self.image(record, &index)?);
        }
        images.sort_by_cached_key(|image| {
            let name = image.references.first().or(image.digests.first()).cloned();
            (name.is_none(), name, image.id.clone())
        });
        Ok(images)
    }

    /// Puts a record together with its names and places. `None` when a layer is missing, as after somebody
    /// removed it by hand: the image must be pulled again.
    pub(super) fn image(&self, record: Record, index: &Index) -> Result<Option<Image>> {
        let mut layers = Vec::new();
        for key in &record.layers {
            match self.layer(key)? {
                Some(layer) => layers.push(layer.root),
                None => return Ok(None),
            }
        }
        let names = index
            .references
            .iter()
            .filter(|(_, id)| **id == record.id)
            .map(|(name, _)| name.clone());
        let (digests, references) = names.partition(|name| name.contains('@'));
        Ok(Some(Image {
            id: record.id,
            references,
            digests,
            manifest: record.manifest,
            config: record.config,
            layers,
            diff_ids: record.diff_ids,
            size: record.size,
            imported: record.imported,
            users: record.users,
        }))
    }
}
