//! The images that containerd has: found by their names, pulled and imported into its content store, unpacked by its
//! diff service into its snapshots, kept from its garbage collector by leases and labels.

mod chain;
mod content;
mod fill;
mod lease;
mod names;
mod snapshots;
mod upload;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;

use carob_bundles::image::config::ImageConfig;
use carob_bundles::image::contents::Contents;
use carob_bundles::image::digest::Digest;
use carob_bundles::image::document::{Blob, MAX_DEPTH, Manifest, Step, follow};
use carob_bundles::image::error::{ImageError, Result};
use carob_bundles::image::overlay::Image;
use carob_bundles::image::reference::Reference;
use carob_bundles::image::store::Owner;
use carob_bundles::image::users::Users;
use carob_bundles::image::{config, error};
use containerd_client::tonic::{Request, Status};

use super::Client;
use chain::chain_of;
use content::Content;
pub use lease::Holder;

/// By lease, what it keeps as far as we have added it.
type Held = BTreeMap<String, BTreeSet<Digest>>;

/// The images of one namespace, unpacked with one snapshotter.
pub struct ContainerdImages {
    client: Client,
    snapshotter: String,
    /// For archives that cannot be read in place.
    tmp: PathBuf,
    held: RefCell<Held>,
    /// Leases with content that no image has yet.
    unfinished: RefCell<BTreeSet<String>>,
    /// What was read of images, by what their names stand for: none of it ever changes.
    known: RefCell<BTreeMap<Digest, Rc<Unpacked>>>,
}

/// An image that containers can be made of.
struct Unpacked {
    contents: Contents,
    layers: Vec<PathBuf>,
    users: Users,
}

/// An image by its name, as containerd has it.
#[derive(Debug, Clone)]
struct Named {
    name: String,
    target: Blob,
    /// Seconds since 1970.
    created: u64,
}

impl ContainerdImages {
    /// Nothing is asked yet.
    pub fn new(client: Client, snapshotter: String, tmp: PathBuf) -> Self {
        Self {
            client,
            snapshotter,
            tmp,
            held: RefCell::default(),
            unfinished: RefCell::default(),
            known: RefCell::default(),
        }
    }

    /// The image that a Pod's `image:` means, if all of it is here; unpacked if need be.
    ///
    /// # Errors
    /// containerd's own, and [`ImageError::Refused`] for what is no image for this machine.
    pub async fn get(&self, reference: &Reference, holder: Holder<'_>) -> Result<Option<Image>> {
        match self.named(reference).await? {
            Some(named) => self.ready(&named, holder).await,
            None => Ok(None),
        }
    }

    /// The image that has this ID, which [`id`](crate::images) is made of, though its name may be gone.
    ///
    /// # Errors
    /// [`ImageError::NotPresent`]; containerd's own.
    pub async fn again(&self, id: &str, holder: Holder<'_>) -> Result<Image> {
        let missing = || ImageError::NotPresent(id.to_owned());
        let reference: Reference = id.parse()?;
        let digest = reference.digest().ok_or_else(missing)?;
        let info = self.content(None).info(digest).await?.ok_or_else(missing)?;
        let named = Named {
            name: reference.key(),
            target: Blob {
                media_type: String::new(),
                digest: digest.clone(),
                size: u64::try_from(info.size).unwrap_or_default(),
            },
            created: 0,
        };
        self.ready(&named, holder).await?.ok_or_else(missing)
    }

    /// Keeps an image until its owner is gone.
    ///
    /// # Errors
    /// containerd's own.
    pub async fn take(&self, image: &Image, owner: &Owner) -> Result<()> {
        match target_of(image) {
            Some(target) => self.keep(&target, Holder::Pod(owner)).await,
            None => Err(ImageError::NotPresent(image.id.to_string())),
        }
    }

    /// Forgets all that an owner took, and removes the root file systems that its containers still have.
    ///
    /// # Errors
    /// containerd's own.
    pub async fn release(&self, owner: &Owner) -> Result<()> {
        self.end(&Holder::Pod(owner).id()).await
    }

    async fn end(&self, lease: &str) -> Result<()> {
        self.remove_snapshots_of(lease).await?;
        self.let_go(lease).await
    }

    /// An image of which containers can be made; `None` when something of it is missing.
    async fn ready(&self, named: &Named, holder: Holder<'_>) -> Result<Option<Image>> {
        let target = &named.target.digest;
        let known = self.known.borrow().get(target).cloned();
        if let Some(known) = known {
            if self
                .is_unpacked(&chain_of(&known.contents.diff_ids))
                .await?
            {
                return Ok(Some(known.image(named)));
            }
            self.known.borrow_mut().remove(target);
        }
        let Some(contents) = self.contents(&named.target).await? else {
            return Ok(None);
        };
        // Nothing of it may go while we are at it.
        self.keep(target, holder).await?;
        if !self.is_unpacked(&chain_of(&contents.diff_ids)).await? {
            match self.unpack_all(&contents, holder).await {
                Ok(()) => self.label_all(&contents, &self.content(None)).await?,
                // containerd has the image's name but not its layers.
                Err(ImageError::NotPresent(_)) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let unpacked = self.unpacked(contents).await?;
        Ok(Some(unpacked.image(named)))
    }

    /// Notes what is to be known of an image that is unpacked.
    async fn unpacked(&self, contents: Contents) -> Result<Rc<Unpacked>> {
        let layers = match chain_of(&contents.diff_ids).as_str() {
            "" => Vec::new(),
            chain => self.layers(chain).await?,
        };
        let users = Users::of_layers(&layers).map_err(|source| ImageError::Io {
            action: "open the layers in",
            path: layers.first().cloned().unwrap_or_default(),
            source,
        })?;
        let target = contents.target().digest.clone();
        let unpacked = Rc::new(Unpacked {
            contents,
            layers,
            users,
        });
        self.known.borrow_mut().insert(target, unpacked.clone());
        Ok(unpacked)
    }

    /// Unpacks the layers that are not yet; their blobs must be here.
    async fn unpack_all(&self, contents: &Contents, holder: Holder<'_>) -> Result<()> {
        let lease = holder.id();
        let mut chain = String::new();
        for (layer, diff_id) in contents.layers.iter().zip(&contents.diff_ids) {
            (chain, _) = self.unpack(layer, diff_id, &chain, &lease).await?;
        }
        Ok(())
    }

    /// The documents of an image; `None` when one is missing.
    async fn contents(&self, target: &Blob) -> Result<Option<Contents>> {
        let content = self.content(None);
        let mut documents = Vec::new();
        let mut next = target.clone();
        for _ in 0..MAX_DEPTH {
            let Some(bytes) = content.document(&next).await? else {
                return Ok(None);
            };
            let what = format!("manifest {}", next.digest);
            let media_type =
                Some(next.media_type.as_str()).filter(|media_type| !media_type.is_empty());
            let (blob, step) = follow(&what, &bytes, media_type)?;
            documents.push((blob, bytes));
            match step {
                Step::Document(blob) => next = blob,
                Step::Image(Manifest { config, layers }) => {
                    let Some(config_bytes) = content.document(&config).await? else {
                        return Ok(None);
                    };
                    let (parsed, diff_ids) = config::read(&config_bytes)?;
                    return Ok(Some(Contents {
                        documents,
                        config_blob: config,
                        config_bytes,
                        config: parsed,
                        layers,
                        diff_ids,
                    }));
                }
            }
        }
        Err(ImageError::Refused {
            what: format!("index {}", target.digest),
            reason: "it is nested too deeply".to_owned(),
        })
    }

    /// The content store; what is written there is the lease's.
    fn content(&self, lease: Option<&str>) -> Content {
        let mut request = self.client.request(());
        if let Some(lease) = lease {
            self.lease_header(lease)(&mut request);
        }
        let metadata = request.metadata().clone();
        Content::new(
            self.client.services().channel(),
            metadata,
            lease.map(str::to_owned),
        )
    }

    /// Adds to a request that what it makes is the lease's.
    fn lease_header<'a, M>(&self, lease: &'a str) -> impl Fn(&mut Request<M>) + use<'a, M> {
        move |request| {
            // Our own IDs are all ASCII.
            if let Ok(lease) = lease.parse() {
                request.metadata_mut().insert("containerd-lease", lease);
            }
        }
    }
}

impl Unpacked {
    fn image(&self, named: &Named) -> Image {
        Image {
            layers: self.layers.clone(),
            users: self.users.clone(),
            ..image(&self.contents, std::slice::from_ref(named))
        }
    }
}

/// An image as the rest of Carob sees it, without its files.
fn image(contents: &Contents, names: &[Named]) -> Image {
    let mut references = BTreeSet::new();
    let mut digests = BTreeSet::new();
    for named in names {
        // Names that no image can have are other programs' business.
        let Ok(reference) = named.name.parse::<Reference>() else {
            continue;
        };
        digests.insert(reference.with_digest(named.target.digest.clone()).key());
        if reference.digest().is_none() {
            references.insert(reference.key());
        }
    }
    let config: &ImageConfig = &contents.config;
    Image {
        id: contents.config_blob.digest.clone(),
        references: references.into_iter().collect(),
        digests: digests.into_iter().collect(),
        manifest: contents
            .documents
            .last()
            .map(|(blob, _)| blob.digest.clone()),
        config: config.clone(),
        layers: Vec::new(),
        diff_ids: contents.diff_ids.clone(),
        size: contents.size(),
        imported: names.iter().map(|named| named.created).min().unwrap_or(0),
        users: Users::default(),
    }
}

/// What an image's name stands for: all its names with a digest have that one.
fn target_of(image: &Image) -> Option<Digest> {
    let digest = image.digests.first()?.parse::<Reference>().ok()?;
    digest.digest().cloned()
}

/// containerd's own words, in one sentence.
fn refused(action: impl Into<String>, status: &Status) -> error::ImageError {
    ImageError::Containerd {
        action: action.into(),
        reason: status.message().trim().replace('\n', " "),
    }
}
