//! The images of one `--root`: documents by digest, unpacked layers by diffID, and their names.
//!
//! ```text
//! images/                      0700
//!   lock                       held while anything below changes but blobs and layers in the making
//!   index.json                 names → image IDs
//!   records/HEX.json           one per image: configuration, users, layers
//!   blobs/sha256/HEX           manifests and configurations
//!   layers/SHORT/fs            an unpacked layer, never changed
//!   layers/SHORT/layer.json    its diffID and what overlayfs cannot say of it
//!   partial/HEX                blobs on their way here, continued by the next pull
//!   locks/HEX                  who works on a layer
//!   leases/…                   layers of a pull or import under way
//!   pins/HEX.json              which images live Pods use
//!   tmp/                       layers in the making, removed by the next `open`
//! ```
//!
//! Several processes may use one root. A crash leaves at most things in `tmp` and `partial`, and layers that
//! no image has, which the next removal collects.

mod attributes;
mod commit;
mod files;
mod garbage;
mod layers;
mod names;
mod pins;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub(crate) use commit::NewImage;
pub use garbage::{Pruned, Removed};
pub(crate) use layers::{Layer, Unpacking};
pub(crate) use pins::Lease;
pub use pins::Owner;

use super::error::{IoContext, Result};

/// The image store below one `--root`. Cheap to clone; every method may be called from several threads
/// and processes at once. All but the reading ones wait for the disk.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

const DIRECTORIES: &[&str] = &[
    "records",
    "blobs/sha256",
    "layers",
    "partial",
    "locks",
    "leases",
    "pins",
    "tmp",
];

/// Held while the store changes; released on drop.
#[derive(Debug)]
struct StoreLock {
    _file: File,
}

impl Store {
    /// Opens the store in `ROOT/images`, making it (0700) if needed, and removes what an earlier process
    /// left half done.
    ///
    /// # Errors
    /// [`super::error::ImageError::Io`] when the directories cannot be made or cleaned.
    pub fn open(root: &Path) -> Result<Self> {
        // overlayfs options and pins need paths that mean the same everywhere.
        let root = std::path::absolute(root).at("find", root)?;
        if root.to_str().is_none() {
            // Paths of layers travel as text to whoever mounts them.
            return Err(std::io::Error::other("its name is not UTF-8")).at("use", &root);
        }
        let store = Self {
            root: root.join("images"),
        };
        for directory in DIRECTORIES {
            files::make_private_dir(&store.root.join(directory))?;
        }
        store.remove_leftovers()?;
        Ok(store)
    }

    fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// Where unnamed files may be put that are too large for memory.
    #[must_use]
    pub fn spool_directory(&self) -> PathBuf {
        self.path("tmp")
    }

    /// Where a blob is received.
    pub(crate) fn partial_path(&self, blob: &super::digest::Digest) -> PathBuf {
        self.path("partial").join(blob.hex())
    }

    /// Waits until no other process changes the store.
    fn lock(&self) -> Result<StoreLock> {
        let file = lock_file(&self.path("lock"))?;
        file.lock().at("lock", &self.path("lock"))?;
        Ok(StoreLock { _file: file })
    }
}

/// Opens a file to be locked, making it if needed.
fn lock_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .at("open", path)
}

#[cfg(test)]
mod tests;
