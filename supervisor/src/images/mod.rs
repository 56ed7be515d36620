//! Images as Pods want them: present or pulled, never pulled twice at once, kept while used. The one door for both
//! backends: who runs containers need not know where their images are.

mod embedded;
mod progress;
mod secrets;
mod turns;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use carob_bundles::image::error::ImageError;
use carob_bundles::image::import::ImportOptions;
use carob_bundles::image::overlay::Image;
use carob_bundles::image::pull::{Credentials, DEFAULT_HOSTS_DIRECTORY, PullOptions};
use carob_bundles::image::reference::Reference;
use carob_bundles::image::store::{Owner, Removed, Store};
use carob_core::event::Pulled;
use carob_core::pod::ImagePullPolicy;

use crate::backend::{Backend, Setup};
use crate::containerd::Client;
use crate::containerd::images::{ContainerdImages, Holder};
use crate::dirs::Dirs;
use crate::runtime::Rootfs;
pub use progress::Step;
pub use secrets::{PullSecret, PullSecrets};
use turns::Turns;

/// How many images are pulled at a time from one registry, unless told otherwise.
pub const PARALLEL_PULLS: NonZeroUsize = NonZeroUsize::new(5).expect("it is not 0");

/// How images are pulled.
#[derive(Debug, Clone)]
pub struct PullSettings {
    /// containerd's directory of `HOST/hosts.toml`.
    pub hosts_directory: PathBuf,
    /// How many images at a time from one registry.
    pub parallel: NonZeroUsize,
    /// What `imagePullSecrets` name.
    pub secrets: PullSecrets,
}

impl Default for PullSettings {
    fn default() -> Self {
        Self {
            hosts_directory: DEFAULT_HOSTS_DIRECTORY.into(),
            parallel: PARALLEL_PULLS,
            secrets: PullSecrets::default(),
        }
    }
}

/// The images of a backend, and who pulls what.
pub struct Images {
    place: Place,
    settings: PullSettings,
    turns: Turns,
}

/// Where images are.
enum Place {
    /// In our own store.
    Embedded(Store),
    /// In containerd.
    Containerd(ContainerdImages),
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

/// An image that a Pod wants.
pub struct Wanted<'a> {
    /// As the manifest has it.
    pub name: &'a str,
    /// When to pull it.
    pub policy: ImagePullPolicy,
    /// `imagePullSecrets`.
    pub secrets: &'a [PullSecret<'a>],
}

impl Images {
    /// Opens what the backend has.
    ///
    /// # Errors
    /// When our own store can't be made or read, or containerd does not answer.
    pub async fn open(dirs: &Dirs, setup: &Setup) -> anyhow::Result<Self> {
        // For containerd too: archives are spooled there.
        let store = Store::open(&dirs.root)?;
        let place = match &setup.backend {
            Backend::Embedded => Place::Embedded(store),
            Backend::Containerd(settings) => {
                let (client, _) = Client::connect(&settings.place).await?;
                let snapshotter = settings.snapshotter.clone();
                let images = ContainerdImages::new(client, snapshotter, store.spool_directory());
                Place::Containerd(images)
            }
        };
        Ok(Self {
            place,
            turns: Turns::new(setup.pulls.parallel),
            settings: setup.pulls.clone(),
        })
    }

    /// The image of a container, pulled when its policy says so, and kept until its owner is gone.
    ///
    /// # Errors
    /// [`ImageError`]; [`ImageError::NotPresent`] only when the policy forbids to pull.
    pub async fn ensure(
        &self,
        wanted: &Wanted<'_>,
        owner: &Owner,
        told: impl Fn(Step),
    ) -> Result<Ready, ImageError> {
        let waiting = Instant::now();
        let reference: Reference = wanted.name.parse()?;
        let _turn = self.turns.of_image(&reference).await;
        let holder = Holder::Pod(owner);
        let present = match &self.place {
            Place::Embedded(store) => store.get(&reference)?,
            Place::Containerd(images) => images.get(&reference, holder).await?,
        };
        let (image, pulled) = match (wanted.policy, present) {
            (ImagePullPolicy::IfNotPresent | ImagePullPolicy::Never, Some(image)) => (image, None),
            (ImagePullPolicy::Never, None) => {
                return Err(ImageError::NotPresent(wanted.name.to_owned()));
            }
            (ImagePullPolicy::Always, _) | (ImagePullPolicy::IfNotPresent, None) => {
                told(Step::PullStarted);
                let options = self.options(self.settings.secrets.credentials(wanted.secrets)?);
                let _turn = self.turns.of_registry(&reference).await;
                let started = Instant::now();
                let image = progress::telling(options, told, async |options| match &self.place {
                    Place::Embedded(store) => store.pull(&reference, &options).await,
                    Place::Containerd(images) => images.pull(&reference, &options, holder).await,
                })
                .await?;
                let pulled = Pulled {
                    took_ms: millis(started),
                    waited_ms: millis(waiting),
                    bytes: image.size,
                };
                (image, Some(pulled))
            }
        };
        self.take(&image, owner).await?;
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
        let image = match &self.place {
            Place::Embedded(store) => store.find(id)?,
            Place::Containerd(images) => images.again(id, Holder::Pod(owner)).await?,
        };
        self.take(&image, owner).await?;
        Ok(image)
    }

    async fn take(&self, image: &Image, owner: &Owner) -> Result<(), ImageError> {
        match &self.place {
            Place::Embedded(store) => store.take(&image.id, owner),
            Place::Containerd(images) => images.take(image, owner).await,
        }
    }

    /// What a container's root file system is mounted from: a writable layer upon the image's. Our own store has it in
    /// `dir`, containerd as a snapshot that is named by the container's ID. Can be repeated.
    ///
    /// # Errors
    /// When the writable layer can't be made.
    pub async fn rootfs(
        &self,
        image: &Image,
        id: &str,
        dir: &Path,
        owner: &Owner,
    ) -> Result<Rootfs, ImageError> {
        match &self.place {
            Place::Embedded(_) => embedded::rootfs(image, dir),
            Place::Containerd(images) => images.rootfs(image, id, Holder::Pod(owner)).await,
        }
    }

    /// Removes what [`rootfs`](Self::rootfs) made outside of the container's directory; nothing there is fine.
    ///
    /// # Errors
    /// containerd's own.
    pub async fn remove_rootfs(&self, id: &str) -> Result<(), ImageError> {
        match &self.place {
            Place::Embedded(_) => Ok(()),
            Place::Containerd(images) => images.remove_snapshot(id).await,
        }
    }

    /// Forgets all that an owner took, and what it has left of root file systems.
    ///
    /// # Errors
    /// [`ImageError`].
    pub async fn release(&self, owner: &Owner) -> Result<(), ImageError> {
        match &self.place {
            Place::Embedded(store) => store.release(owner),
            Place::Containerd(images) => images.release(owner).await,
        }
    }

    /// Removes what Pods that are gone and pulls that broke have left; a line for each kind.
    ///
    /// # Errors
    /// [`ImageError`].
    pub async fn prune(&self) -> Result<Vec<String>, ImageError> {
        let counts = match &self.place {
            Place::Embedded(store) => {
                let pruned = store.prune()?;
                vec![
                    (pruned.partial_blobs, "unfinished downloads"),
                    (pruned.layers, "layers that no image has"),
                ]
            }
            Place::Containerd(images) => {
                vec![(images.prune().await?, "leases of Pods that are gone")]
            }
        };
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        Ok(counts
            .map(|(count, what)| format!("{what}: {count}"))
            .collect())
    }

    /// Pulls an image for a person.
    ///
    /// # Errors
    /// [`ImageError`].
    pub async fn pull(
        &self,
        reference: &Reference,
        told: impl Fn(Step),
    ) -> Result<Image, ImageError> {
        let options = self.options(Credentials::from_environment()?);
        progress::telling(options, told, async |options| match &self.place {
            Place::Embedded(store) => store.pull(reference, &options).await,
            Place::Containerd(images) => images.pull_alone(reference, &options).await,
        })
        .await
    }

    /// Imports a layout or archive.
    ///
    /// # Errors
    /// [`ImageError`].
    pub async fn import(
        &self,
        path: &Path,
        options: &ImportOptions<'_>,
    ) -> Result<Vec<Image>, ImageError> {
        match &self.place {
            Place::Embedded(store) => store.import(path, options),
            Place::Containerd(images) => images.import(path, options).await,
        }
    }

    /// All images.
    ///
    /// # Errors
    /// [`ImageError`].
    pub async fn list(&self) -> Result<Vec<Image>, ImageError> {
        match &self.place {
            Place::Embedded(store) => store.list(),
            Place::Containerd(images) => images.list().await,
        }
    }

    /// The image of a name, an ID or the unambiguous start of one.
    ///
    /// # Errors
    /// [`ImageError`].
    pub async fn find(&self, text: &str) -> Result<Image, ImageError> {
        match &self.place {
            Place::Embedded(store) => store.find(text),
            Place::Containerd(images) => images.find(text).await,
        }
    }

    /// Removes a name, and with the last one the image.
    ///
    /// # Errors
    /// [`ImageError::InUse`] when a live Pod uses it.
    pub async fn remove(&self, text: &str) -> Result<Removed, ImageError> {
        match &self.place {
            Place::Embedded(store) => store.remove(text),
            Place::Containerd(images) => images.remove(text).await,
        }
    }

    fn options(&self, credentials: Credentials) -> PullOptions {
        PullOptions {
            credentials,
            hosts_directory: Some(self.settings.hosts_directory.clone()),
            ..PullOptions::default()
        }
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
