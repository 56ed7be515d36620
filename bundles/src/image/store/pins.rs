//! Who needs what: pins of images that live Pods use, leases on layers of pulls under way.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::{Store, files};
use crate::image::digest::Digest;
use crate::image::error::{IoContext, Result};

/// Who uses an image. It counts as long as `record` exists, whatever becomes of the process that took it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// For people: `namespace/pod`.
    pub name: String,
    /// An absolute path that is there exactly as long as the owner is, such as the Pod's record in `--state`.
    pub record: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Pin {
    owner: Owner,
    images: BTreeSet<Digest>,
}

/// Keeps layers from being collected until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Lease {
    _file: NamedTempFile,
}

impl Store {
    /// Notes that `owner` uses the image. Doing so again, or for further images, is fine.
    ///
    /// # Errors
    /// [`crate::image::error::ImageError::NotPresent`] when the image has just been removed,
    /// [`crate::image::error::ImageError::Io`].
    pub fn take(&self, image: &Digest, owner: &Owner) -> Result<()> {
        let _lock = self.lock()?;
        if self.record(image)?.is_none() {
            return Err(crate::image::error::ImageError::NotPresent(
                image.to_string(),
            ));
        }
        let path = self.pin_path(owner);
        let mut pin = read(&path)?.unwrap_or_else(|| Pin {
            owner: owner.clone(),
            images: BTreeSet::new(),
        });
        if pin.images.insert(image.clone()) {
            // Owners do not survive the machine, so their pins need not either.
            files::write_volatile_json(&path, &pin)?;
        }
        Ok(())
    }

    /// Forgets all that `owner` took.
    ///
    /// # Errors
    /// [`crate::image::error::ImageError::Io`].
    pub fn release(&self, owner: &Owner) -> Result<()> {
        let _lock = self.lock()?;
        files::remove_file(&self.pin_path(owner))
    }

    fn pin_path(&self, owner: &Owner) -> PathBuf {
        let identity = format!("{}\0{}", owner.record.display(), owner.name);
        self.path("pins")
            .join(format!("{}.json", Digest::of(identity.as_bytes()).hex()))
    }

    /// Names of the living owners that use the image; forgets dead ones. The store must be locked.
    pub(super) fn users_of(&self, image: &Digest) -> Result<Vec<String>> {
        let mut users = Vec::new();
        for name in files::names(&self.path("pins"))? {
            let path = self.path("pins").join(name);
            let Some(pin) = read(&path)? else {
                files::remove_file(&path)?;
                continue;
            };
            // An owner whose record cannot be looked at may well be alive.
            match pin.owner.record.symlink_metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => files::remove_file(&path)?,
                _ if pin.images.contains(image) => users.push(pin.owner.name),
                _ => {}
            }
        }
        Ok(users)
    }

    /// Protects layers that are here or will be.
    pub(crate) fn lease(&self, layers: &[Digest]) -> Result<Lease> {
        let directory = self.path("leases");
        let _lock = self.lock()?;
        let work = || -> io::Result<NamedTempFile> {
            let mut file = tempfile::Builder::new()
                .prefix("lease-")
                .tempfile_in(&directory)?;
            file.as_file().try_lock()?;
            file.write_all(&serde_json::to_vec(layers)?)?;
            Ok(file)
        };
        Ok(Lease {
            _file: work().at("write", &directory)?,
        })
    }

    /// Layers that somebody is about to use; forgets leases of processes that have ended. The store must be
    /// locked.
    pub(super) fn leased(&self) -> Result<BTreeSet<Digest>> {
        let mut layers = BTreeSet::new();
        for name in files::names(&self.path("leases"))? {
            let path = self.path("leases").join(name);
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).at("open", &path),
            };
            if file.try_lock().is_ok() {
                files::remove_file(&path)?;
            } else {
                layers.extend(files::read_json::<Vec<Digest>>(&path)?.unwrap_or_default());
            }
        }
        Ok(layers)
    }
}

/// A pin. One that is damaged is from before a power cut, and its owner is gone too.
fn read(path: &Path) -> Result<Option<Pin>> {
    match fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("read", path),
    }
}
