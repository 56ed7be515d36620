//! What a pull tells, from bytes of each layer to bytes of all.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use carob_bundles::image::digest::Digest;
use carob_bundles::image::error::ImageError;
use carob_bundles::image::overlay::Image;
use carob_bundles::image::progress::Progress;
use carob_bundles::image::pull::PullOptions;
use tokio::sync::mpsc;

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

/// Pulls with these options and tells how far it is.
pub async fn telling<F>(
    mut options: PullOptions,
    told: impl Fn(Step),
    pull: impl FnOnce(PullOptions) -> F,
) -> Result<Image, ImageError>
where
    F: Future<Output = Result<Image, ImageError>>,
{
    let (sender, mut steps) = mpsc::unbounded_channel();
    // Called from threads that receive and unpack; the receiver below outlives them.
    options.progress = Arc::new(move |step| drop(sender.send(step)));
    let pull = pull(options);
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
