//! Layers as containerd's snapshots: each by its chain ID (OCI image specification, "Layer ChainID"), applied once by
//! containerd's diff service, and a writable one on top for each container.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use carob_bundles::image::digest::Digest;
use carob_bundles::image::document::Blob;
use carob_bundles::image::error::{ImageError, Result};
use carob_bundles::image::overlay::Image;
use carob_bundles::image::unpack::LayerError;
use containerd_client::services::v1::ApplyRequest;
use containerd_client::services::v1::snapshots::{
    CommitSnapshotRequest, ListSnapshotsRequest, MountsRequest, PrepareSnapshotRequest,
    RemoveSnapshotRequest, StatSnapshotRequest, ViewSnapshotRequest,
};
use containerd_client::tonic::{Code, Status};
use containerd_client::types;
use jiff::{Timestamp, Unit};

use super::chain::{chain, chain_of};
use super::content::Labels;
use super::lease::Holder;
use super::{ContainerdImages, refused};
use crate::containerd::{QUICK, SLOW};
use crate::runtime::{Mount, Rootfs, Snapshot};

/// What a layer's blob has when it is uncompressed (containerd, `core/content`).
const UNCOMPRESSED: &str = "containerd.io/uncompressed";
/// The chain ID of the snapshot in the making, for snapshotters that have layers of their own.
const SNAPSHOT_REF: &str = "containerd.io/snapshot.ref";
/// What the garbage collector never takes, since when.
const ROOT: &str = "containerd.io/gc.root";
/// Whose container has the root file system: the ID of the Pod's lease.
const HOLDER: &str = "carob.lease";

impl ContainerdImages {
    /// True when an image's layers are all unpacked.
    pub(super) async fn is_unpacked(&self, chain: &str) -> Result<bool> {
        // An image without layers has nothing to unpack.
        if chain.is_empty() {
            return Ok(true);
        }
        let message = StatSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key: chain.to_owned(),
        };
        let found = self
            .client
            .ask(QUICK, message, |services, request| async move {
                services.snapshots().stat(request).await
            })
            .await;
        match found {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => {
                Err(self.snapshotter_refused(format!("find the snapshot {chain}"), &status))
            }
        }
    }

    /// Unpacks a layer, whose blob is here, upon the chain of those below, and returns its chain ID. False when it was
    /// unpacked already.
    pub(super) async fn unpack(
        &self,
        layer: &Blob,
        diff_id: &Digest,
        below: &str,
        lease: &str,
    ) -> Result<(String, bool)> {
        let chain = chain(below, diff_id);
        if self.is_unpacked(&chain).await? {
            return Ok((chain, false));
        }
        let key = format!("extract-{} {chain}", unique());
        let labels = Labels::from([(SNAPSHOT_REF.to_owned(), chain.clone())]);
        let mounts = match self.prepare(&key, below, labels, Some(lease)).await {
            Ok(mounts) => mounts,
            // A snapshotter that has the layer by other means.
            Err(status) if status.code() == Code::AlreadyExists => return Ok((chain, true)),
            Err(status) => {
                return Err(
                    self.snapshotter_refused(format!("prepare the snapshot {chain}"), &status)
                );
            }
        };
        match self.apply(layer, diff_id, mounts, lease).await {
            Ok(()) => self.commit(&key, &chain, lease).await?,
            Err(error) => {
                self.remove_snapshot(&key).await?;
                return Err(error);
            }
        }
        let label = Labels::from([(UNCOMPRESSED.to_owned(), diff_id.to_string())]);
        self.content(Some(lease))
            .label(&layer.digest, &label)
            .await?;
        Ok((chain, true))
    }

    async fn apply(
        &self,
        layer: &Blob,
        diff_id: &Digest,
        mounts: Vec<types::Mount>,
        lease: &str,
    ) -> Result<()> {
        let message = ApplyRequest {
            diff: Some(descriptor(layer)),
            mounts,
            ..ApplyRequest::default()
        };
        let lease = self.lease_header(lease);
        // As long as it takes.
        let applied = self
            .client
            .wait(message, |services, mut request| {
                lease(&mut request);
                async move { services.diff().apply(request).await }
            })
            .await;
        let applied = applied.map_err(|status| match status.code() {
            Code::NotFound => ImageError::NotPresent(layer.digest.to_string()),
            _ => refused(format!("unpack the layer {}", layer.digest), &status),
        })?;
        let found = applied
            .applied
            .map(|applied| applied.digest)
            .unwrap_or_default();
        if found == diff_id.to_string() {
            return Ok(());
        }
        Err(ImageError::Layer {
            layer: layer.digest.clone(),
            source: LayerError::Mismatch {
                expected: diff_id.to_string(),
                found,
            },
        })
    }

    async fn commit(&self, key: &str, chain: &str, lease: &str) -> Result<()> {
        let message = CommitSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            name: chain.to_owned(),
            key: key.to_owned(),
            labels: HashMap::from([(SNAPSHOT_REF.to_owned(), chain.to_owned())]),
        };
        let lease = self.lease_header(lease);
        let committed = self
            .client
            .ask(SLOW, message, |services, mut request| {
                lease(&mut request);
                async move { services.snapshots().commit(request).await }
            })
            .await;
        match committed {
            Ok(()) => Ok(()),
            // Another client was faster.
            Err(status) if status.code() == Code::AlreadyExists => self.remove_snapshot(key).await,
            // A try whose answer was lost.
            Err(status) if status.code() == Code::NotFound && self.is_unpacked(chain).await? => {
                Ok(())
            }
            Err(status) => {
                Err(self.snapshotter_refused(format!("commit the snapshot {chain}"), &status))
            }
        }
    }

    async fn prepare(
        &self,
        key: &str,
        parent: &str,
        labels: Labels,
        lease: Option<&str>,
    ) -> std::result::Result<Vec<types::Mount>, Status> {
        let message = PrepareSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels,
        };
        let lease = lease.map(|lease| self.lease_header(lease));
        self.client
            .ask(QUICK, message, |services, mut request| {
                if let Some(lease) = &lease {
                    lease(&mut request);
                }
                async move { services.snapshots().prepare(request).await }
            })
            .await
            .map(|prepared| prepared.mounts)
    }

    /// A container's root file system upon an image's layers. Can be repeated.
    ///
    /// # Errors
    /// containerd's own.
    pub async fn rootfs(&self, image: &Image, id: &str, holder: Holder<'_>) -> Result<Rootfs> {
        let chain = chain_of(&image.diff_ids);
        // Until it is removed by us, whatever becomes of the container's record and the image.
        let since = Timestamp::now();
        let since = since.round(Unit::Second).unwrap_or(since).to_string();
        let labels = [(ROOT, since), (HOLDER, holder.id())];
        let labels = labels.map(|(key, value)| (key.to_owned(), value)).into();
        let mounts = match self.prepare(id, &chain, labels, None).await {
            Ok(mounts) => mounts,
            Err(status) if status.code() == Code::AlreadyExists => self.mounts(id).await?,
            Err(status) => {
                return Err(self.snapshotter_refused(format!("prepare the snapshot {id}"), &status));
            }
        };
        Ok(Rootfs {
            mounts: mounts.into_iter().map(mount).collect(),
            snapshot: Some(Snapshot {
                snapshotter: self.snapshotter.clone(),
                key: id.to_owned(),
            }),
        })
    }

    async fn mounts(&self, key: &str) -> Result<Vec<types::Mount>> {
        let message = MountsRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.to_owned(),
        };
        let mounts = self
            .client
            .ask(QUICK, message, |services, request| async move {
                services.snapshots().mounts(request).await
            })
            .await;
        mounts
            .map(|mounts| mounts.mounts)
            .map_err(|status| self.snapshotter_refused(format!("find the snapshot {key}"), &status))
    }

    /// Removes a snapshot; one that is not there is fine.
    ///
    /// # Errors
    /// containerd's own.
    pub async fn remove_snapshot(&self, key: &str) -> Result<()> {
        let message = RemoveSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.to_owned(),
        };
        let removed = self
            .client
            .ask(QUICK, message, |services, request| async move {
                services.snapshots().remove(request).await
            })
            .await;
        match removed {
            Err(status) if status.code() != Code::NotFound => {
                Err(self.snapshotter_refused(format!("remove the snapshot {key}"), &status))
            }
            _ => Ok(()),
        }
    }

    /// Removes the root file systems of a Pod's containers that are still there.
    pub(super) async fn remove_snapshots_of(&self, holder: &str) -> Result<()> {
        let message = ListSnapshotsRequest {
            snapshotter: self.snapshotter.clone(),
            filters: vec![format!("labels.{HOLDER:?}=={holder}")],
        };
        let list = || async {
            let listed = self
                .client
                .ask(QUICK, message.clone(), |services, request| async move {
                    services.snapshots().list(request).await
                })
                .await;
            let mut listed = listed?;
            let mut keys = Vec::new();
            while let Some(part) = listed.message().await? {
                keys.extend(part.info.into_iter().map(|info| info.name));
            }
            Ok(keys)
        };
        let keys = list().await;
        let keys: Vec<String> = keys
            .map_err(|status: Status| self.snapshotter_refused("list snapshots".into(), &status))?;
        for key in keys {
            self.remove_snapshot(&key).await?;
        }
        Ok(())
    }

    /// The directories in which an image's layers are, the topmost first. They stay as long as the image does.
    pub(super) async fn layers(&self, chain: &str) -> Result<Vec<PathBuf>> {
        let key = format!("view-{} {chain}", unique());
        let message = ViewSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.clone(),
            parent: chain.to_owned(),
            labels: Labels::new(),
        };
        let viewed = self
            .client
            .ask(QUICK, message, |services, request| async move {
                services.snapshots().view(request).await
            })
            .await;
        let mounts = match viewed {
            Ok(viewed) => viewed.mounts,
            Err(status) if status.code() == Code::AlreadyExists => self.mounts(&key).await?,
            Err(status) => {
                return Err(self.snapshotter_refused(format!("view the snapshot {chain}"), &status));
            }
        };
        let directories = self.directories(&mounts);
        self.remove_snapshot(&key).await?;
        directories
    }

    /// What a view's mounts show, without mounting them.
    fn directories(&self, mounts: &[types::Mount]) -> Result<Vec<PathBuf>> {
        if let [mount] = mounts {
            let lower = mount
                .options
                .iter()
                .find_map(|option| option.strip_prefix("lowerdir="));
            match (mount.r#type.as_str(), lower) {
                ("bind" | "rbind", _) => return Ok(vec![PathBuf::from(&mount.source)]),
                ("overlay", Some(lower)) => {
                    return Ok(lower.split(':').map(PathBuf::from).collect());
                }
                _ => {}
            }
        }
        let kinds: Vec<_> = mounts.iter().map(|mount| mount.r#type.as_str()).collect();
        Err(ImageError::Containerd {
            action: format!(
                "show the files of the image with the snapshotter {}",
                self.snapshotter
            ),
            reason: format!(
                "its mounts are of type {}; use overlayfs or native",
                kinds.join(" and ")
            ),
        })
    }

    fn snapshotter_refused(&self, action: String, status: &Status) -> ImageError {
        refused(
            format!("{action} with the snapshotter {}", self.snapshotter),
            status,
        )
    }
}

pub(super) fn descriptor(blob: &Blob) -> types::Descriptor {
    types::Descriptor {
        media_type: blob.media_type.clone(),
        digest: blob.digest.to_string(),
        size: i64::try_from(blob.size).unwrap_or(i64::MAX),
        ..types::Descriptor::default()
    }
}

fn mount(mount: types::Mount) -> Mount {
    Mount {
        kind: mount.r#type,
        source: mount.source,
        options: mount.options,
    }
}

/// What no other key has.
pub(super) fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let now = Timestamp::now().as_nanosecond();
    format!("{}-{now}-{number}", std::process::id())
}
