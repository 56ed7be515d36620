//! Unused images go before any Pod does, and when the disk is nearly full.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use carob_bundles::image::overlay::Image;
use carob_bundles::image::store::Store;
use carob_core::eviction::{FileSystem, ImageGc, ImagePolicy, PresentImage, Reclaim};
use carob_core::time::Mono;
use tokio::task::spawn_blocking;

use crate::dirs::Dirs;
use crate::registry::PodObject;
use crate::stats::node::Node;

/// Milliseconds between two looks at how full the disk is (`ImageGCPeriod`, kubelet.go: 5 minutes).
const PERIOD_MS: u64 = Duration::from_secs(300).as_millis() as u64;

/// The images, and when they were used.
pub(super) struct Images {
    store: Store,
    gc: ImageGc,
    policy: ImagePolicy,
    /// Those of the Pods.
    used: BTreeSet<String>,
    next: Mono,
}

impl Images {
    pub fn open(dirs: &Dirs, policy: ImagePolicy) -> anyhow::Result<Self> {
        Ok(Self {
            store: Store::open(&dirs.root)?,
            gc: ImageGc::default(),
            policy,
            used: BTreeSet::new(),
            next: Mono(0),
        })
    }

    /// Takes in what the Pods use now.
    pub fn look(&mut self, pods: &[Rc<PodObject>], now: Mono) {
        if now < self.next {
            return;
        }
        let statuses = pods.iter().flat_map(|object| {
            let status = &object.status;
            status
                .init_container_statuses
                .iter()
                .chain(&status.container_statuses)
        });
        let names = statuses.flat_map(|status| [status.image.clone(), status.image_id.clone()]);
        self.used = names.collect();
    }

    /// Frees the disk down to the low threshold once it is above the high one; looks at it every 5 minutes.
    pub async fn collect(&mut self, node: &Node, now: Mono, dry_run: bool) {
        if now < self.next {
            return;
        }
        self.next = now.plus_ms(PERIOD_MS);
        let Some(images) = self.present().await else {
            return;
        };
        self.gc.look(&images, now);
        let disk = match node.image_disk() {
            Ok((capacity, available)) => FileSystem {
                capacity,
                available,
            },
            Err(error) => {
                tracing::warn!(%error, "ImageGCFailed: the file system of the images can't be looked at");
                return;
            }
        };
        let plan = self.gc.periodic(&self.policy, disk, &images, now);
        if plan.found < plan.wanted {
            tracing::warn!(
                "FreeDiskSpaceFailed: Failed to garbage collect required amount of images. Attempted to free {} bytes, but only found {} bytes eligible to free.",
                plan.wanted,
                plan.found
            );
        }
        self.remove(plan, dry_run).await;
    }

    /// Removes all images that nobody uses.
    pub async fn remove_all(&mut self, now: Mono, dry_run: bool) {
        if let Some(images) = self.present().await {
            self.gc.look(&images, now);
            let plan = self.gc.all(&self.policy, &images, now);
            self.remove(plan, dry_run).await;
        }
    }

    async fn present(&self) -> Option<Vec<PresentImage>> {
        let store = self.store.clone();
        let listed = spawn_blocking(move || store.list()).await.ok()?;
        match listed {
            Ok(images) => Some(images.iter().map(|image| self.image(image)).collect()),
            Err(error) => {
                tracing::warn!(%error, "the images can't be listed: none of them is removed");
                None
            }
        }
    }

    fn image(&self, image: &Image) -> PresentImage {
        let id = image.id.to_string();
        let mut names = image.references.iter().chain(&image.digests).chain([&id]);
        PresentImage {
            used: names.any(|name| self.used.contains(name)),
            id: id.clone(),
            size: image.size,
            pinned: false,
        }
    }

    /// One that a Pod has begun to use since stays.
    async fn remove(&self, plan: Reclaim, dry_run: bool) {
        for id in plan.images {
            if dry_run {
                tracing::warn!("dry run: image {id} would be removed");
                continue;
            }
            let (store, image) = (self.store.clone(), id.clone());
            match spawn_blocking(move || store.remove(&image)).await {
                Ok(Ok(removed)) => {
                    tracing::info!(names = ?removed.untagged, "image {id} is removed: the disk is full")
                }
                Ok(Err(error)) => tracing::info!(%error, "image {id} stays"),
                Err(error) => tracing::error!(%error, "image {id} stays"),
            }
        }
    }
}
