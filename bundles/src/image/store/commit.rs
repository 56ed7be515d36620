//! The last step of a pull or import: the image gets its record and its names.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use super::names::Record;
use super::{Lease, Store, files};
use crate::image::config::ImageConfig;
use crate::image::digest::Digest;
use crate::image::error::{ImageError, IoContext, Result};
use crate::image::merged::Stack;
use crate::image::overlay::Image;
use crate::image::users::Users;

/// An image whose layers are all in the store.
pub(crate) struct NewImage {
    pub config: ImageConfig,
    /// The configuration as received; its digest is the image's ID.
    pub config_bytes: Vec<u8>,
    pub manifest_bytes: Option<Vec<u8>>,
    /// The base first.
    pub diff_ids: Vec<Digest>,
    /// Bytes transferred.
    pub size: u64,
    /// Keys of the index, taken over from other images that have them.
    pub names: Vec<String>,
}

impl Store {
    /// Makes the image visible. The lease must cover its layers.
    pub(crate) fn commit(&self, new: NewImage, lease: Lease) -> Result<Image> {
        let id = Digest::of(&new.config_bytes);
        let mut record = Record::new(id.clone(), new.config);
        let (layers, own_lease) = self.effective_layers(&new.diff_ids)?;
        record.layers = layers;
        record.diff_ids = new.diff_ids;
        record.manifest = new.manifest_bytes.as_deref().map(Digest::of);
        record.size = new.size;
        record.imported = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs());
        let mut roots = Vec::new();
        for key in &record.layers {
            roots.push(self.present(key)?.root);
        }
        let stack = Stack::open(&roots).at("open the layers in", &self.path("layers"))?;
        record.users = Users::read(&stack);

        let _lock = self.lock()?;
        for bytes in std::iter::once(&new.config_bytes).chain(&new.manifest_bytes) {
            files::write(
                &self.path("blobs/sha256").join(Digest::of(bytes).hex()),
                bytes,
            )?;
        }
        files::write_json(&self.record_path(&id), &record)?;
        let mut index = self.index()?;
        for name in new.names {
            index.references.insert(name, id.clone());
        }
        self.write_index(&index)?;
        drop((lease, own_lease));
        self.image(record, &index)?
            .ok_or_else(|| ImageError::NotPresent(id.to_string()))
    }

    fn present(&self, key: &Digest) -> Result<super::Layer> {
        let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
        self.layer(key)?
            .ok_or_else(missing)
            .at("find layer", &self.path("layers").join(key.short()))
    }

    /// What a container mounts, the topmost first: without what is hidden or empty, and with a layer of our own
    /// on top if directories would else lose their attributes.
    fn effective_layers(&self, diff_ids: &[Digest]) -> Result<(Vec<Digest>, Option<Lease>)> {
        let mut layers = Vec::new();
        let mut seen = BTreeSet::new();
        for key in diff_ids.iter().rev() {
            // overlayfs refuses a directory that is there twice. The upper one hides all of the lower.
            if !seen.insert(key) {
                continue;
            }
            let layer = self.present(key)?;
            let opaque = layer.meta.opaque_root;
            if layer.meta.entries > 0 {
                layers.push(layer);
            }
            if opaque {
                break;
            }
        }
        let own = match self.attribute_layer(&layers)? {
            None if layers.is_empty() => Some(self.empty_layer()?),
            own => own,
        };
        let (own, lease) = own.unzip();
        let keys = own.into_iter().chain(layers).map(|layer| layer.meta.key);
        Ok((keys.collect(), lease))
    }
}
