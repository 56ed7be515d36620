//! Unpacked layers: made aside, flushed to disk, then put in place by one rename.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::{Store, files, lock_file};
use crate::image::digest::Digest;
use crate::image::error::{ImageError, IoContext, Result};
use crate::image::unpack::{self, Cancel, LayerError, Limits};

/// An unpacked layer.
#[derive(Debug)]
pub(crate) struct Layer {
    /// The directory to mount.
    pub root: PathBuf,
    pub meta: LayerMeta,
}

/// `layer.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LayerMeta {
    /// The digest of the uncompressed archive, or of a description for layers that Carob makes itself.
    pub key: Digest,
    /// Bytes of the uncompressed archive.
    pub bytes: u64,
    pub entries: u64,
    /// Directories whose attributes are those of the layers below.
    pub implicit: Vec<PathBuf>,
    /// Hides all layers below.
    pub opaque_root: bool,
}

/// The exclusive right to make a layer. Other processes wait for it.
#[derive(Debug)]
pub(crate) struct LayerLock {
    _file: File,
}

/// Lengths of directory names, tried in turn when the start of a digest is taken by another layer. Short
/// names let many layers fit into the one page of options that `mount(2)` takes.
const NAME_LENGTHS: [usize; 4] = [12, 20, 32, 64];

impl Store {
    /// The layer, if it is here.
    pub(crate) fn layer(&self, key: &Digest) -> Result<Option<Layer>> {
        for length in NAME_LENGTHS {
            let path = self.path("layers").join(&key.hex()[..length]);
            match files::read_json::<LayerMeta>(&path.join("layer.json"))? {
                Some(meta) if meta.key == *key => {
                    return Ok(Some(Layer {
                        root: path.join("fs"),
                        meta,
                    }));
                }
                Some(_) | None => {}
            }
        }
        Ok(None)
    }

    /// Waits for whoever makes this layer now. Ask for [`Store::layer`] again afterwards.
    pub(crate) fn lock_layer(&self, key: &Digest) -> Result<LayerLock> {
        let path = self.path("locks").join(key.hex());
        let file = lock_file(&path)?;
        file.lock().at("lock", &path)?;
        Ok(LayerLock { _file: file })
    }

    /// Unpacks a layer's archive and puts it in place, if it has the digest `diff_id` when uncompressed.
    ///
    /// `name` is what errors call the layer. `_lock` must be the layer's.
    pub(crate) fn unpack_layer(
        &self,
        _lock: &LayerLock,
        diff_id: &Digest,
        name: &Digest,
        archive: impl Read,
        unpacking: &mut Unpacking<'_>,
    ) -> Result<Layer> {
        self.make_layer(diff_id, |root| {
            let refuse = |source| ImageError::Layer {
                layer: name.clone(),
                source,
            };
            let unpacked = unpack::unpack(
                archive,
                root,
                unpacking.limits,
                unpacking.cancel,
                unpacking.progress,
            )
            .map_err(refuse)?;
            if unpacked.diff_id != *diff_id {
                return Err(refuse(LayerError::Mismatch {
                    expected: diff_id.to_string(),
                    found: unpacked.diff_id.to_string(),
                }));
            }
            Ok(LayerMeta {
                key: diff_id.clone(),
                bytes: unpacked.bytes,
                entries: unpacked.entries,
                implicit: unpacked.implicit,
                opaque_root: unpacked.opaque_root,
            })
        })
    }

    /// Makes a layer with `fill`, which is given an empty directory (0755).
    pub(super) fn make_layer(
        &self,
        key: &Digest,
        fill: impl FnOnce(&Path) -> Result<LayerMeta>,
    ) -> Result<Layer> {
        let (aside, _lock) = self.temporary()?;
        let root = aside.path().join("fs");
        fs::create_dir(&root).at("create", &root)?;
        fs::set_permissions(&root, Permissions::from_mode(0o755)).at("change", &root)?;
        let meta = fill(&root)?;
        files::write_json(&aside.path().join("layer.json"), &meta)?;
        // All of the layer must be on disk before its name is: `fsync` knows single files only.
        let directory = File::open(&root).at("open", &root)?;
        nix::unistd::syncfs(&directory)
            .map_err(io::Error::from)
            .at("flush", &root)?;
        self.place(key, aside)?;
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        self.layer(key)?.ok_or_else(missing).at("find", &root)
    }

    fn place(&self, key: &Digest, aside: TempDir) -> Result<()> {
        let layers = self.path("layers");
        for length in NAME_LENGTHS {
            let path = layers.join(&key.hex()[..length]);
            match fs::rename(aside.path(), &path) {
                Ok(()) => {
                    // Nothing is left to remove.
                    let _ = aside.keep();
                    return files::sync_dir(&layers).at("flush", &layers);
                }
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    // Another layer's name, or the same layer made by a process whose lock file was cleaned.
                    if self.layer(key)?.is_some() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error).at("create", &path),
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists)).at("create", &layers)
    }

    /// A directory in `tmp` for this process alone, and the lock that tells other processes so.
    pub(super) fn temporary(&self) -> Result<(TempDir, File)> {
        let _lock = self.lock()?;
        self.locked_dir("layer-")
    }

    /// The same, with the store locked: else another process could remove it before it is locked itself.
    pub(super) fn locked_dir(&self, prefix: &str) -> Result<(TempDir, File)> {
        let directory = files::temporary_dir(&self.path("tmp"), prefix)?;
        let file = File::open(directory.path()).at("open", directory.path())?;
        file.try_lock()
            .map_err(io::Error::from)
            .at("lock", directory.path())?;
        Ok((directory, file))
    }
}

/// How a layer is to be unpacked.
pub(crate) struct Unpacking<'a> {
    pub limits: &'a Limits,
    pub cancel: &'a Cancel,
    /// Told how many unpacked bytes have been read so far.
    pub progress: &'a mut dyn FnMut(u64),
}
