//! The images of this root as Pods want them: present or pulled, never pulled twice at once, kept while used.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use carob_bundles::image::digest::Digest;
use carob_bundles::image::error::ImageError;
use carob_bundles::image::overlay::Image;
use carob_bundles::image::progress::Progress;
use carob_bundles::image::pull::{Credentials, PullOptions};
use carob_bundles::image::reference::Reference;
use carob_bundles::image::store::{Owner, Store};
use carob_core::event::Pulled;
use carob_core::pod::ImagePullPolicy;
use tokio::sync::{Mutex, mpsc};

use crate::dirs::Dirs;
use crate::runtime::{Mount, Rootfs};

/// The store, and who pulls what.
pub struct Images {
    store: Store,
    /// One lock per reference: the second to want an image waits and then finds it.
    pulls: RefCell<BTreeMap<String, Rc<Mutex<()>>>>,
}

/// An image that containers can be made of.
pub struct Ready {
    /// The image.
    pub image: Image,
    /// Its ID as `status.containerStatuses[].imageID` shows it.
    pub id: String,
    /// Its normalised name.
    pub name: String,
    /// How the pull went, when there was one.
    pub pulled: Option<Pulled>,
}

/// A step on the way to an image.
pub enum Step {
    /// It is not here, or policy says to ask.
    PullStarted,
    /// Bytes of all layers together.
    Received {
        /// Here so far.
        done: u64,
        /// In all.
        total: u64,
    },
}

impl Images {
    /// Opens the store below `--root`.
    ///
    /// # Errors
    /// When it can't be made or read.
    pub fn open(dirs: &Dirs) -> Result<Self, ImageError> {
        Ok(Self {
            store: Store::open(&dirs.root)?,
            pulls: RefCell::default(),
        })
    }

    /// The image of a container, pulled when its policy says so, and kept until its owner is gone.
    ///
    /// # Errors
    /// [`ImageError`]; [`ImageError::NotPresent`] only when the policy forbids to pull.
    pub async fn ensure(
        &self,
        name: &str,
        policy: ImagePullPolicy,
        owner: &Owner,
        told: impl Fn(Step),
    ) -> Result<Ready, ImageError> {
        let waiting = Instant::now();
        let reference: Reference = name.parse()?;
        let lock = self
            .pulls
            .borrow_mut()
            .entry(reference.key())
            .or_default()
            .clone();
        let _turn = lock.lock().await;
        let present = self.store.get(&reference)?;
        let (image, pulled) = match (policy, present) {
            (ImagePullPolicy::IfNotPresent | ImagePullPolicy::Never, Some(image)) => (image, None),
            (ImagePullPolicy::Never, None) => {
                return Err(ImageError::NotPresent(name.to_owned()));
            }
            (ImagePullPolicy::Always, _) | (ImagePullPolicy::IfNotPresent, None) => {
                told(Step::PullStarted);
                let started = Instant::now();
                let image = pull(&self.store, &reference, told).await?;
                let pulled = Pulled {
                    took_ms: millis(started),
                    waited_ms: millis(waiting),
                    bytes: image.size,
                };
                (image, Some(pulled))
            }
        };
        self.store.take(&image.id, owner)?;
        Ok(Ready {
            id: image_id(&image, &reference),
            name: reference.to_string(),
            image,
            pulled,
        })
    }

    /// The image that an owner was given before, by the ID that [`ensure`](Self::ensure) gave it.
    ///
    /// # Errors
    /// [`ImageError`]; [`ImageError::NotPresent`] when it was removed since.
    pub async fn again(&self, id: &str, owner: &Owner) -> Result<Image, ImageError> {
        let image = self.store.find(id)?;
        self.store.take(&image.id, owner)?;
        Ok(image)
    }

    /// What a container's root file system is mounted from, its writable layer in `dir`. Can be repeated.
    ///
    /// # Errors
    /// When the writable layer can't be made.
    pub async fn rootfs(&self, image: &Image, _id: &str, dir: &Path) -> Result<Rootfs, ImageError> {
        let mounts = overlay(image, dir).map_err(|source| ImageError::Io {
            action: "prepare",
            path: dir.to_owned(),
            source,
        })?;
        Ok(Rootfs {
            mounts,
            snapshot: None,
        })
    }
}

/// Makes the writable layer and says how it lies on the image's.
fn overlay(image: &Image, dir: &Path) -> io::Result<Vec<Mount>> {
    let make = |name: &str| {
        let path: PathBuf = dir.join(name);
        // `upper` is the container's `/`: everyone in it must be able to enter.
        DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .or_else(|e| match e.kind() {
                io::ErrorKind::AlreadyExists => Ok(()),
                _ => Err(e),
            })?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok::<_, io::Error>(path)
    };
    let mount = image.overlay_mount(&make("upper")?, &make("work")?);
    Ok(vec![Mount {
        kind: mount.fstype,
        source: mount.source,
        options: mount.options,
    }])
}

/// Pulls an image and tells how far it is.
///
/// # Errors
/// [`ImageError`].
pub async fn pull(
    store: &Store,
    reference: &Reference,
    told: impl Fn(Step),
) -> Result<Image, ImageError> {
    let (sender, mut steps) = mpsc::unbounded_channel();
    let options = PullOptions {
        credentials: Credentials::from_environment()?,
        // Called from threads that receive and unpack; the receiver below outlives them.
        progress: Arc::new(move |step| drop(sender.send(step))),
        ..PullOptions::default()
    };
    let pull = store.pull(reference, &options);
    tokio::pin!(pull);
    let mut received = Received::default();
    loop {
        tokio::select! {
            done = &mut pull => return done,
            Some(step) = steps.recv() => {
                if let Some(step) = received.fold(step) {
                    told(step);
                }
            }
        }
    }
}

/// Bytes of each layer, here and in all.
#[derive(Default)]
struct Received(BTreeMap<Digest, (u64, u64)>);

impl Received {
    fn fold(&mut self, progress: Progress) -> Option<Step> {
        match progress {
            Progress::Resolved { layers, .. } => {
                self.0 = layers
                    .into_iter()
                    .map(|(layer, size)| (layer, (0, size)))
                    .collect();
            }
            Progress::Receiving {
                layer,
                bytes,
                total,
            } => {
                self.0.insert(layer, (bytes, total));
            }
            Progress::Present { layer } | Progress::Done { layer } => {
                let (done, total) = self.0.get_mut(&layer)?;
                *done = *total;
            }
            Progress::Unpacking { .. } => return None,
        }
        let done = self.0.values().map(|(done, _)| done).sum();
        let total = self.0.values().map(|(_, total)| total).sum();
        Some(Step::Received { done, total })
    }
}

/// By digest where the image has one, that of its own repository first, as containerd and a kubelet show it;
/// else the digest of its configuration.
fn image_id(image: &Image, reference: &Reference) -> String {
    let own = format!("{}@", reference.name());
    let digests = &image.digests;
    let shown = digests
        .iter()
        .find(|digest| digest.starts_with(&own))
        .or(digests.first());
    shown.cloned().unwrap_or_else(|| image.id.to_string())
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
