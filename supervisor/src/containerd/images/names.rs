//! containerd's names of images: what they stand for, listing and removing.

use std::collections::BTreeMap;

use carob_bundles::image::digest::Digest;
use carob_bundles::image::document::Blob;
use carob_bundles::image::error::{ImageError, Result};
use carob_bundles::image::overlay::Image;
use carob_bundles::image::reference::Reference;
use carob_bundles::image::store::Removed;
use containerd_client::services::v1::{
    CreateImageRequest, DeleteImageRequest, GetImageRequest, Image as Record, ListImagesRequest,
    UpdateImageRequest,
};
use containerd_client::tonic::Code;

use super::snapshots::descriptor;
use super::{ContainerdImages, Named, image, refused};
use crate::containerd::{QUICK, SLOW};

/// Digits of an ID that may stand for it.
const MIN_ID: usize = 4;

impl ContainerdImages {
    /// What a reference stands for. One with a digest is whatever image has that.
    pub(super) async fn named(&self, reference: &Reference) -> Result<Option<Named>> {
        let message = GetImageRequest {
            name: reference.key(),
        };
        let got = self
            .client
            .ask(QUICK, message, |services, request| async move {
                services.images().get(request).await
            })
            .await;
        match got {
            Ok(answer) => Ok(answer.image.and_then(named)),
            Err(status) if status.code() == Code::NotFound => match reference.digest() {
                Some(digest) => {
                    let filter = format!("target.digest=={digest}");
                    let found = self.names(vec![filter]).await?.into_iter().next();
                    Ok(found.map(|found| Named {
                        name: reference.key(),
                        ..found
                    }))
                }
                None => Ok(None),
            },
            Err(status) => Err(refused(format!("find image {reference}"), &status)),
        }
    }

    async fn names(&self, filters: Vec<String>) -> Result<Vec<Named>> {
        let listed = self
            .client
            .ask(
                QUICK,
                ListImagesRequest { filters },
                |services, request| async move { services.images().list(request).await },
            )
            .await;
        let listed = listed.map_err(|status| refused("list images", &status))?;
        Ok(listed.images.into_iter().filter_map(named).collect())
    }

    /// Gives an image a name, taken over from another image that has it.
    pub(super) async fn name(&self, name: &str, target: &Blob) -> Result<()> {
        let record = Record {
            name: name.to_owned(),
            target: Some(descriptor(target)),
            ..Record::default()
        };
        let message = CreateImageRequest {
            image: Some(record.clone()),
            ..CreateImageRequest::default()
        };
        let created = self
            .client
            .ask(QUICK, message, |services, request| async move {
                services.images().create(request).await
            })
            .await;
        let result = match created {
            Err(status) if status.code() == Code::AlreadyExists => {
                let message = UpdateImageRequest {
                    image: Some(record),
                    update_mask: Some(prost_types::FieldMask {
                        paths: vec!["target".to_owned()],
                    }),
                    ..UpdateImageRequest::default()
                };
                self.client
                    .ask(QUICK, message, |services, request| async move {
                        services.images().update(request).await
                    })
                    .await
                    .map(drop)
            }
            other => other.map(drop),
        };
        result.map_err(|status| refused(format!("name image {name}"), &status))
    }

    /// All images for this machine.
    ///
    /// # Errors
    /// containerd's own.
    pub async fn list(&self) -> Result<Vec<Image>> {
        let all = self.groups().await?;
        Ok(all.into_iter().map(|(image, _)| image).collect())
    }

    /// The image of a name, an ID or the unambiguous start of one, without its files.
    ///
    /// # Errors
    /// [`ImageError::NotPresent`], [`ImageError::Ambiguous`], containerd's own.
    pub async fn find(&self, text: &str) -> Result<Image> {
        Ok(self.find_names(text).await?.0)
    }

    /// Removes a name, and with the last one the image, unless a Pod uses it. An ID stands for all names.
    ///
    /// # Errors
    /// Those of [`find`](Self::find); [`ImageError::InUse`].
    pub async fn remove(&self, text: &str) -> Result<Removed> {
        let (image, all) = self.find_names(text).await?;
        let key = text.parse::<Reference>().map(|reference| reference.key());
        let own = |named: &&Named| key.as_ref().is_ok_and(|key| *key == named.name);
        let gone: Vec<&Named> = match all.iter().find(own) {
            Some(named) => vec![named],
            None => all.iter().collect(),
        };
        let deleted = gone.len() == all.len();
        if deleted {
            let mut owners = Vec::new();
            for named in &gone {
                owners.extend(self.users_of(&named.target.digest).await?);
            }
            owners.sort();
            owners.dedup();
            if !owners.is_empty() {
                return Err(ImageError::InUse {
                    image: text.to_owned(),
                    owners,
                });
            }
        }
        for (index, named) in gone.iter().enumerate() {
            let message = DeleteImageRequest {
                name: named.name.clone(),
                // The last one waits until what nobody needs any more is gone.
                sync: index + 1 == gone.len(),
                ..DeleteImageRequest::default()
            };
            let deleted = self
                .client
                .ask(SLOW, message, |services, request| async move {
                    services.images().delete(request).await
                })
                .await;
            match deleted {
                Err(status) if status.code() != Code::NotFound => {
                    return Err(refused(format!("remove image {}", named.name), &status));
                }
                _ => {}
            }
        }
        Ok(Removed {
            untagged: gone.iter().map(|named| named.name.clone()).collect(),
            deleted: deleted.then_some(image.id),
        })
    }

    async fn find_names(&self, text: &str) -> Result<(Image, Vec<Named>)> {
        let all = self.groups().await?;
        let missing = || ImageError::NotPresent(text.to_owned());
        let reference = text.parse::<Reference>();
        if let Ok(reference) = &reference {
            let key = reference.key();
            let has = |(image, names): &&(Image, Vec<Named>)| {
                names.iter().any(|named| named.name == key) || image.digests.contains(&key)
            };
            if let Some(found) = all.iter().find(has) {
                return Ok(found.clone());
            }
        }
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.len() < MIN_ID || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return match reference {
                Err(error) => Err(error),
                Ok(_) => Err(missing()),
            };
        }
        let mut fitting = all
            .into_iter()
            .filter(|(image, _)| image.id.hex().starts_with(hex));
        let found = fitting.next().ok_or_else(missing)?;
        match fitting.next() {
            None => Ok(found),
            Some(_) => Err(ImageError::Ambiguous(text.to_owned())),
        }
    }

    /// The images, each with its names.
    async fn groups(&self) -> Result<Vec<(Image, Vec<Named>)>> {
        let mut groups: BTreeMap<Digest, (_, Vec<Named>)> = BTreeMap::new();
        for named in self.names(Vec::new()).await? {
            match self.contents(&named.target).await {
                Ok(Some(contents)) => groups
                    .entry(contents.config_blob.digest.clone())
                    .or_insert_with(|| (contents, Vec::new()))
                    .1
                    .push(named),
                Ok(None) => {
                    tracing::debug!(name = named.name, "an image of which something is missing")
                }
                Err(ImageError::Refused { what, reason }) => {
                    tracing::debug!(
                        name = named.name,
                        what,
                        reason,
                        "an image for another machine"
                    );
                }
                Err(error) => return Err(error),
            }
        }
        let groups = groups.into_values();
        Ok(groups
            .map(|(contents, names)| (image(&contents, &names), names))
            .collect())
    }
}

fn named(record: Record) -> Option<Named> {
    let target = record.target?;
    Some(Named {
        name: record.name,
        target: Blob {
            media_type: target.media_type,
            digest: target.digest.parse().ok()?,
            size: u64::try_from(target.size).ok()?,
        },
        created: record
            .created_at
            .and_then(|at| u64::try_from(at.seconds).ok())
            .unwrap_or(0),
    })
}
