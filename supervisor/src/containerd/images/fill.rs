//! How images come to containerd: from registries by our own client, so that both backends ask them alike, and from
//! archives. What arrives is verified by containerd before anything is unpacked.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use carob_bundles::image::contents::Contents;
use carob_bundles::image::document::Blob;
use carob_bundles::image::error::{ImageError, Result};
use carob_bundles::image::import::{Archive, ImportOptions};
use carob_bundles::image::overlay::Image;
use carob_bundles::image::progress::Progress;
use carob_bundles::image::pull::{InParallel, PullOptions, Remote, Sink};
use carob_bundles::image::reference::Reference;
use carob_bundles::image::unpack::LayerError;

use super::chain::references;
use super::content::{Content, Labels};
use super::lease::Holder;
use super::snapshots::unique;
use super::upload::Upload;
use super::{ContainerdImages, Named, image};

/// What is read at once of an archive.
const PIECE: usize = 1 << 20;

impl ContainerdImages {
    /// Pulls an image and unpacks it. Dropping the future stops everything; what was received is kept for the next
    /// try.
    ///
    /// # Errors
    /// As [`Store::pull`](carob_bundles::image::store::Store::pull), and containerd's own.
    pub async fn pull(
        &self,
        reference: &Reference,
        options: &PullOptions,
        holder: Holder<'_>,
    ) -> Result<Image> {
        let remote = Remote::new(reference, options)?;
        let contents = remote.resolve().await?;
        self.hold(holder).await?;
        let lease = holder.id();
        self.unfinished.borrow_mut().insert(lease.clone());
        let content = self.content(Some(&lease));
        let mut seen = BTreeSet::new();
        let fetches = contents.layers.iter().map(|layer| {
            let first = seen.insert(&layer.digest);
            fetch(
                remote.clone(),
                content.clone(),
                options.clone(),
                layer.clone(),
                first,
            )
        });
        let mut fetches = InParallel::start(options.parallel, fetches.collect());
        let mut here = BTreeSet::new();
        let mut chain = String::new();
        // Each is unpacked as soon as those below it are.
        for (number, (layer, diff_id)) in contents.layers.iter().zip(&contents.diff_ids).enumerate()
        {
            while !here.contains(&number) {
                match fetches.next().await {
                    Some(fetched) => here.insert(fetched?),
                    None => break,
                };
            }
            (options.progress)(Progress::Unpacking {
                layer: layer.digest.clone(),
                bytes: 0,
            });
            let new;
            (chain, new) = self.unpack(layer, diff_id, &chain, &lease).await?;
            let layer = layer.digest.clone();
            (options.progress)(match new {
                true => Progress::Done { layer },
                false => Progress::Present { layer },
            });
        }
        self.store_documents(&contents, &content).await?;
        let target = contents.target().clone();
        self.name(&reference.key(), &target).await?;
        self.unfinished.borrow_mut().remove(&lease);
        let named = Named {
            name: reference.key(),
            target,
            created: 0,
        };
        Ok(self.unpacked(contents).await?.image(&named))
    }

    /// The same for a person, in nobody's name.
    ///
    /// # Errors
    /// Those of [`pull`](Self::pull).
    pub async fn pull_alone(&self, reference: &Reference, options: &PullOptions) -> Result<Image> {
        let lease = format!("carob-pull-{}", unique());
        let pulled = self.pull(reference, options, Holder::Call(&lease)).await;
        self.let_go(&lease).await?;
        pulled
    }

    /// Imports an OCI layout directory, an OCI archive or a Docker archive, and unpacks it. An image needs a name:
    /// containerd has none without.
    ///
    /// # Errors
    /// As [`Store::import`](carob_bundles::image::store::Store::import), and containerd's own.
    pub async fn import(&self, path: &Path, options: &ImportOptions<'_>) -> Result<Vec<Image>> {
        let archive = Archive::open(path, &self.tmp, options)?;
        let mut imported = Vec::new();
        for found in archive.images(options)? {
            if found.names.is_empty() {
                return Err(ImageError::Refused {
                    what: format!("an image in {}", path.display()),
                    reason: "it has no name, and containerd keeps no image without one: give it one with --name".to_owned(),
                });
            }
            let lease = format!("carob-import-{}", unique());
            let holder = Holder::Call(&lease);
            self.hold(holder).await?;
            self.unfinished.borrow_mut().insert(lease.clone());
            let content = self.content(Some(&lease));
            let stored = async {
                for (number, layer) in found.contents.layers.iter().enumerate() {
                    let mut reader = archive.layer(&found, number)?;
                    store_layer(&content, layer, &mut reader).await?;
                }
                self.unpack_all(&found.contents, holder).await?;
                self.store_documents(&found.contents, &content).await?;
                let mut names = Vec::new();
                for name in &found.names {
                    self.name(&name.key(), found.contents.target()).await?;
                    names.push(Named {
                        name: name.key(),
                        target: found.contents.target().clone(),
                        created: 0,
                    });
                }
                self.unfinished.borrow_mut().remove(&lease);
                Ok(image(&found.contents, &names))
            };
            let stored = stored.await;
            self.let_go(&lease).await?;
            imported.push(stored?);
        }
        Ok(imported)
    }

    /// Stores configuration and manifests, in the order that never leaves one whose parts are not here.
    async fn store_documents(&self, contents: &Contents, content: &Content) -> Result<()> {
        let mut labels = references(contents, &self.snapshotter);
        let config = labels.pop().unwrap_or_default();
        let blob = &contents.config_blob;
        Upload::whole(content, "config", blob, &contents.config_bytes, config).await?;
        let mut kind = "manifest";
        for ((blob, bytes), labels) in contents.documents.iter().zip(labels).rev() {
            Upload::whole(content, kind, blob, bytes, labels).await?;
            kind = "index";
        }
        Ok(())
    }

    /// Adds to documents that are here what the garbage collector has to know.
    pub(super) async fn label_all(&self, contents: &Contents, content: &Content) -> Result<()> {
        let documents = contents.documents.iter().map(|(blob, _)| blob);
        let blobs = documents.chain([&contents.config_blob]);
        for (blob, labels) in blobs.zip(references(contents, &self.snapshotter)) {
            content.label(&blob.digest, &labels).await?;
        }
        Ok(())
    }
}

/// Receives a layer, unless it is here.
async fn fetch(
    remote: Remote,
    content: Content,
    options: PullOptions,
    layer: Blob,
    first: bool,
) -> Result<()> {
    // A layer that an image has twice is waited for below.
    let upload = Upload::open(&content, "layer", &layer, Labels::new()).await?;
    match upload {
        Some(mut upload) => remote.receive(&layer, &mut upload).await,
        None => {
            if first {
                (options.progress)(Progress::Receiving {
                    layer: layer.digest,
                    bytes: layer.size,
                    total: layer.size,
                });
            }
            Ok(())
        }
    }
}

async fn store_layer(content: &Content, layer: &Blob, reader: &mut (dyn Read + '_)) -> Result<()> {
    let Some(mut upload) = Upload::open(content, "layer", layer, Labels::new()).await? else {
        return Ok(());
    };
    if upload.length() > 0 {
        upload.restart().await?;
    }
    let wrong = |found: String| ImageError::Layer {
        layer: layer.digest.clone(),
        source: LayerError::Mismatch {
            expected: format!("{} of {} bytes", layer.digest, layer.size),
            found,
        },
    };
    while upload.length() <= layer.size {
        let mut piece = vec![0; PIECE];
        let count = reader.read(&mut piece).map_err(|source| ImageError::Io {
            action: "read",
            path: layer.digest.to_string().into(),
            source,
        })?;
        if count == 0 {
            break;
        }
        piece.truncate(count);
        upload.write(piece).await?;
    }
    let length = upload.length();
    if length != layer.size {
        upload.discard().await?;
        return Err(wrong(format!("{length} bytes")));
    }
    match upload.finish(layer).await? {
        None => Ok(()),
        Some(found) => {
            upload.discard().await?;
            Err(wrong(found))
        }
    }
}
