//! Images from registries (OCI distribution specification): several layers at a time, continued after a break,
//! verified before they are unpacked.

mod blob;
mod credentials;
mod manifest;
mod options;
mod registry;
mod retry;
mod token;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use self::blob::Partial;
pub use self::credentials::{Credentials, Login};
pub use self::options::PullOptions;
use self::registry::Registry;
use super::config::{self, ParsedConfig};
use super::digest::Digest;
use super::document::Blob;
use super::error::{ImageError, IoContext, Result};
use super::import::check_layers;
use super::overlay::Image;
use super::platform::Host;
use super::progress::Progress;
use super::reference::Reference;
use super::store::{NewImage, Store, Unpacking};
use super::unpack::{Cancel, Limits};

impl Store {
    /// Pulls an image. Layers that are here are not fetched again. Dropping the future stops everything; what
    /// was received is kept for the next try.
    ///
    /// Must run on a tokio runtime with its timer and I/O enabled.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], [`ImageError::Unauthorized`], [`ImageError::RateLimited`] and
    /// [`ImageError::Unavailable`] are the registry's; [`ImageError::Refused`] and [`ImageError::Layer`] the
    /// image's; [`ImageError::Io`] this machine's.
    pub async fn pull(&self, reference: &Reference, options: &PullOptions) -> Result<Image> {
        let host = Host::current();
        let registry = Arc::new(Registry::new(reference, options).await?);
        let resolved = registry.resolve(&host).await?;
        let manifest = resolved.manifest;
        let config_bytes = registry
            .blob(&manifest.config.digest, manifest.config.size)
            .await?;
        let ParsedConfig { config, diff_ids } = config::parse(&config_bytes, &host)?;
        let what = format!("image {reference}");
        check_layers(&what, &diff_ids, manifest.layers.len(), &options.limits)?;
        if let Some(large) = manifest
            .layers
            .iter()
            .find(|layer| layer.size > options.limits.bytes)
        {
            let reason = format!(
                "layer {} has {} bytes, more than {}",
                large.digest, large.size, options.limits.bytes
            );
            return Err(ImageError::refused(what, reason));
        }
        (options.progress)(Progress::Resolved {
            image: reference.to_string(),
            layers: manifest
                .layers
                .iter()
                .map(|layer| (layer.digest.clone(), layer.size))
                .collect(),
        });
        let (store, ids) = (self.clone(), diff_ids.clone());
        let lease = blocking(move || store.lease(&ids)).await?;
        self.pull_layers(&registry, &manifest.layers, &diff_ids, options)
            .await?;

        let mut names = vec![reference.key()];
        let by_digest = reference.with_digest(resolved.digest).key();
        if !names.contains(&by_digest) {
            names.push(by_digest);
        }
        let size = manifest.layers.iter().map(|layer| layer.size).sum::<u64>();
        let new = NewImage {
            config,
            size: size + config_bytes.len() as u64 + resolved.bytes.len() as u64,
            config_bytes,
            manifest_bytes: Some(resolved.bytes),
            diff_ids,
            names,
        };
        let store = self.clone();
        blocking(move || store.commit(new, lease)).await
    }

    async fn pull_layers(
        &self,
        registry: &Arc<Registry>,
        layers: &[Blob],
        diff_ids: &[Digest],
        options: &PullOptions,
    ) -> Result<()> {
        // Unpacking threads outlive a dropped future, unless told.
        let stop = StopOnDrop(Cancel::default());
        let turns = Arc::new(Semaphore::new(options.parallel.max(1)));
        let mut tasks = JoinSet::new();
        let mut seen = BTreeSet::new();
        for (blob, diff_id) in layers.iter().zip(diff_ids) {
            if !seen.insert(diff_id) {
                continue;
            }
            let layer = LayerPull {
                store: self.clone(),
                registry: registry.clone(),
                blob: blob.clone(),
                diff_id: diff_id.clone(),
                limits: options.limits.clone(),
                cancel: stop.0.clone(),
                reporter: Reporter(options.progress.clone()),
            };
            let turns = turns.clone();
            tasks.spawn(async move {
                // Never closed.
                let _turn = turns.acquire_owned().await;
                layer.run().await
            });
        }
        while let Some(result) = tasks.join_next().await {
            joined(result)?;
        }
        Ok(())
    }
}

/// One layer on its way.
struct LayerPull {
    store: Store,
    registry: Arc<Registry>,
    blob: Blob,
    diff_id: Digest,
    limits: Limits,
    cancel: Cancel,
    reporter: Reporter,
}

impl LayerPull {
    async fn run(self) -> Result<()> {
        let (store, diff_id) = (self.store.clone(), self.diff_id.clone());
        // Whoever works on the layer, here or in another process, finishes first.
        let (lock, present) = blocking(move || {
            let lock = store.lock_layer(&diff_id)?;
            let present = store.layer(&diff_id)?.is_some();
            Ok((lock, present))
        })
        .await?;
        if present {
            (self.reporter.0)(Progress::Present {
                layer: self.blob.digest,
            });
            return Ok(());
        }
        let path = self.store.partial_path(&self.blob.digest);
        let (partial_path, size) = (path.clone(), self.blob.size);
        let partial = blocking(move || Partial::open(&partial_path, size)).await?;
        let partial = self
            .registry
            .receive(&self.blob, partial, &self.reporter)
            .await?;
        blocking(move || {
            let Self {
                store,
                blob,
                diff_id,
                limits,
                cancel,
                reporter,
                ..
            } = self;
            let file = partial.into_file()?;
            let mut unpacking = Unpacking {
                limits: &limits,
                cancel: &cancel,
                progress: &mut |bytes| {
                    (reporter.0)(Progress::Unpacking {
                        layer: blob.digest.clone(),
                        bytes,
                    })
                },
            };
            let unpacked = store.unpack_layer(&lock, &diff_id, &blob.digest, &file, &mut unpacking);
            // Kept only when it is good and there was no time for it.
            if unpacked.is_ok() || !cancel.is_cancelled() {
                std::fs::remove_file(&path).at("remove", &path)?;
            }
            unpacked?;
            (reporter.0)(Progress::Done { layer: blob.digest });
            Ok(())
        })
        .await
    }
}

/// Where progress goes.
#[derive(Clone)]
struct Reporter(Arc<dyn Fn(Progress) + Send + Sync>);

impl Reporter {
    fn receiving(&self, layer: &Digest, bytes: u64, total: u64) {
        (self.0)(Progress::Receiving {
            layer: layer.clone(),
            bytes,
            total,
        });
    }
}

struct StopOnDrop(Cancel);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Runs what waits for the disk or a lock where it holds nobody up.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    joined(tokio::task::spawn_blocking(work).await)
}

/// A task's result; its panic goes on here.
fn joined<T>(result: std::result::Result<Result<T>, JoinError>) -> Result<T> {
    match result {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down cancels tasks.
            Err(error) => {
                Err(std::io::Error::other(error)).at("finish", std::path::Path::new("a pull"))
            }
        },
    }
}
