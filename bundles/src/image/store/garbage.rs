//! Removing: images by name, and whatever nothing refers to any more.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use serde::Serialize;
use tempfile::TempDir;

use super::layers::LayerMeta;
use super::{Store, files};
use crate::image::digest::Digest;
use crate::image::error::{ImageError, IoContext, Result};

/// What [`Store::remove`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Names that are gone.
    pub untagged: Vec<String>,
    /// The image, if it went with its last name.
    pub deleted: Option<Digest>,
}

/// What [`Store::prune`] removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Unfinished downloads.
    pub partial_blobs: usize,
    /// Layers without an image.
    pub layers: usize,
}

impl Store {
    /// Removes a name, and with the last tag the image and the layers that no other image has. An ID (or its
    /// start) stands for all names of its image.
    ///
    /// # Errors
    /// Those of [`Store::find`]; [`ImageError::InUse`] when a live Pod uses the image, which then stays as it is.
    pub fn remove(&self, text: &str) -> Result<Removed> {
        let lock = self.lock()?;
        let mut index = self.index()?;
        let (id, key) = self.find_id(text, &index)?;
        let all: Vec<_> = index
            .references
            .iter()
            .filter(|(_, other)| **other == id)
            .map(|(name, _)| name.clone())
            .collect();
        let others_have_tags = all
            .iter()
            .any(|name| Some(name) != key.as_ref() && !name.contains('@'));
        let untagged = match key {
            Some(key) if others_have_tags => vec![key],
            _ => all,
        };
        let deleted = index
            .references
            .iter()
            .filter(|(_, other)| **other == id)
            .count()
            == untagged.len();
        if deleted {
            let owners = self.users_of(&id)?;
            if !owners.is_empty() {
                return Err(ImageError::InUse {
                    image: text.to_owned(),
                    owners,
                });
            }
        }
        for name in &untagged {
            index.references.remove(name);
        }
        self.write_index(&index)?;
        if deleted {
            files::remove_file(&self.record_path(&id))?;
            let layers = self.collect()?;
            drop(lock);
            erase(layers)?;
        }
        Ok(Removed {
            untagged,
            deleted: deleted.then_some(id),
        })
    }

    /// Removes unfinished downloads that nobody works on, and layers that no image has.
    ///
    /// # Errors
    /// [`ImageError::Io`].
    pub fn prune(&self) -> Result<Pruned> {
        let lock = self.lock()?;
        let mut pruned = Pruned::default();
        for name in files::names(&self.path("partial"))? {
            pruned.partial_blobs +=
                usize::from(self.remove_unlocked(&self.path("partial").join(name))?);
        }
        for name in files::names(&self.path("locks"))? {
            self.remove_unlocked(&self.path("locks").join(name))?;
        }
        let layers = self.collect()?;
        drop(lock);
        pruned.layers = layers.len();
        erase(layers)?;
        Ok(pruned)
    }

    /// Layers in the making whose process is gone.
    pub(super) fn remove_leftovers(&self) -> Result<()> {
        let _lock = self.lock()?;
        for name in files::names(&self.path("tmp"))? {
            self.remove_unlocked(&self.path("tmp").join(name))?;
        }
        Ok(())
    }

    /// Removes a file or directory unless its maker still holds its lock.
    fn remove_unlocked(&self, path: &Path) -> Result<bool> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).at("open", path),
        };
        if file.try_lock().is_err() {
            return Ok(false);
        }
        let is_dir = file.metadata().at("read", path)?.is_dir();
        let removed = if is_dir {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        };
        removed.at("remove", path)?;
        Ok(true)
    }

    /// Removes documents that no image has, and puts layers aside that none has. The store must be locked.
    fn collect(&self) -> Result<Vec<(TempDir, File)>> {
        let (mut layers, mut documents) = (self.leased()?, BTreeSet::new());
        for record in self.records()? {
            layers.extend(record.layers);
            layers.extend(record.diff_ids);
            documents.insert(record.id);
            documents.extend(record.manifest);
        }
        let mut removed = Vec::new();
        for name in files::names(&self.path("layers"))? {
            let path = self.path("layers").join(&name);
            let meta = files::read_json::<LayerMeta>(&path.join("layer.json"))?;
            if meta.is_some_and(|meta| layers.contains(&meta.key)) {
                continue;
            }
            // Out of sight at once: a crash must not leave half a layer under its name.
            let aside = self.locked_dir("removed-")?;
            fs::rename(&path, aside.0.path().join("layer")).at("remove", &path)?;
            removed.push(aside);
        }
        if !removed.is_empty() {
            // Nothing of them may go before their names have, also after a power cut.
            let layers = self.path("layers");
            files::sync_dir(&layers).at("flush", &layers)?;
        }
        for name in files::names(&self.path("blobs/sha256"))? {
            if !documents.iter().any(|digest| digest.hex() == name) {
                files::remove_file(&self.path("blobs/sha256").join(name))?;
            }
        }
        Ok(removed)
    }
}

/// Takes its time for large layers; nobody needs to wait for that.
fn erase(layers: Vec<(TempDir, File)>) -> Result<()> {
    for (layer, _lock) in layers {
        let path = layer.path().to_owned();
        layer.close().at("remove", &path)?;
    }
    Ok(())
}
