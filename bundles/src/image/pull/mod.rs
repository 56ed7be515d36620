//! Images from registries (OCI distribution specification): several layers at a time, continued after a break,
//! verified before they are unpacked.

mod blob;
mod credentials;
mod host;
mod hosts;
mod manifest;
mod options;
mod partial;
mod registry;
mod remote;
mod retry;
mod token;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

pub use self::blob::Sink;
pub use self::credentials::{Credentials, Login};
pub use self::hosts::DEFAULT_DIRECTORY as DEFAULT_HOSTS_DIRECTORY;
pub use self::options::PullOptions;
use self::partial::Partial;
pub use self::remote::Remote;
use super::contents::Contents;
use super::digest::Digest;
use super::document::Blob;
use super::error::{IoContext, Result};
use super::overlay::Image;
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
    /// [`ImageError::NotFound`](super::error::ImageError::NotFound),
    /// [`ImageError::Unauthorized`](super::error::ImageError::Unauthorized),
    /// [`ImageError::RateLimited`](super::error::ImageError::RateLimited) and
    /// [`ImageError::Unavailable`](super::error::ImageError::Unavailable) are the registry's;
    /// [`ImageError::Refused`](super::error::ImageError::Refused) and
    /// [`ImageError::Layer`](super::error::ImageError::Layer) the image's;
    /// [`ImageError::Io`](super::error::ImageError::Io) this machine's.
    pub async fn pull(&self, reference: &Reference, options: &PullOptions) -> Result<Image> {
        let remote = Remote::new(reference, options)?;
        let image = remote.resolve().await?;
        let (store, ids) = (self.clone(), image.diff_ids.clone());
        let lease = blocking(move || store.lease(&ids)).await?;
        self.pull_layers(&remote, &image, options).await?;

        let mut names = vec![reference.key()];
        let by_digest = reference.with_digest(image.target().digest.clone()).key();
        if !names.contains(&by_digest) {
            names.push(by_digest);
        }
        let new = NewImage {
            size: image.size(),
            config: image.config,
            config_bytes: image.config_bytes,
            manifest_bytes: image
                .documents
                .into_iter()
                .next_back()
                .map(|(_, bytes)| bytes),
            diff_ids: image.diff_ids,
            names,
        };
        let store = self.clone();
        blocking(move || store.commit(new, lease)).await
    }

    async fn pull_layers(
        &self,
        remote: &Remote,
        image: &Contents,
        options: &PullOptions,
    ) -> Result<()> {
        // Unpacking threads outlive a dropped future, unless told.
        let stop = StopOnDrop(Cancel::default());
        let mut seen = BTreeSet::new();
        let layers = image.layers.iter().zip(&image.diff_ids);
        let pulls = layers
            .filter(|(_, diff_id)| seen.insert(*diff_id))
            .map(|(blob, diff_id)| {
                let layer = LayerPull {
                    store: self.clone(),
                    remote: remote.clone(),
                    blob: blob.clone(),
                    diff_id: diff_id.clone(),
                    limits: options.limits.clone(),
                    cancel: stop.0.clone(),
                    reporter: Reporter(options.progress.clone()),
                };
                layer.run()
            });
        let mut pulls = InParallel::start(options.parallel, pulls.collect());
        while let Some(done) = pulls.next().await {
            done?;
        }
        Ok(())
    }
}

/// Several things under way, so many at a time. Dropped, they all stop.
pub struct InParallel(JoinSet<Result<usize>>);

impl InParallel {
    /// Starts them. Must run on a tokio runtime.
    pub fn start<F>(at_once: usize, works: Vec<F>) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let turns = Arc::new(Semaphore::new(at_once.max(1)));
        let mut tasks = JoinSet::new();
        for (number, work) in works.into_iter().enumerate() {
            let turns = turns.clone();
            tasks.spawn(async move {
                // Never closed.
                let _turn = turns.acquire_owned().await;
                work.await.map(|()| number)
            });
        }
        Self(tasks)
    }

    /// The number of the next one that is done; `None` when all are.
    pub async fn next(&mut self) -> Option<Result<usize>> {
        self.0.join_next().await.map(joined)
    }
}

/// One layer on its way.
struct LayerPull {
    store: Store,
    remote: Remote,
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
        let mut partial = blocking(move || Partial::open(&partial_path, size)).await?;
        self.remote.receive(&self.blob, &mut partial).await?;
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
