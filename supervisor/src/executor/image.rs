//! Images for the Pod's containers.

use std::rc::Rc;

use carob_bundles::image::error::ImageError;
use carob_core::event::{Event, ImageFailure};
use carob_core::pod::ImagePullPolicy;

use super::{Executor, Source};
use crate::images::{PullSecret, Step, Wanted};
use crate::watch::Update;

impl Executor {
    pub(super) async fn ensure_image(self: &Rc<Self>, container: String) {
        if matches!(self.source, Source::Bundles(..)) {
            // A bundle is its own image.
            return self.tell(Event::ImageReady {
                container,
                image_id: String::new(),
                image: String::new(),
                pulled: None,
            });
        }
        let wanted = self
            .container(&container)
            .map(|c| (c.image.clone(), c.image_pull_policy));
        let (image, policy) = wanted.unwrap_or((String::new(), ImagePullPolicy::Never));
        let executor = self.clone();
        let name = container.clone();
        let told = move |step| match step {
            Step::PullStarted => executor.tell(Event::PullStarted {
                container: name.clone(),
            }),
            Step::Received { done, total } => {
                executor.watch.tell(Update::Pulling {
                    container: name.clone(),
                    done,
                    total,
                });
            }
        };
        let objects = self.engine.objects.all();
        let named = self.pod.spec.image_pull_secrets.iter();
        let secrets: Vec<_> = named
            .map(|named| PullSecret {
                name: &named.name,
                object: objects
                    .referred(&self.pod.metadata.namespace, named)
                    .map(AsRef::as_ref),
            })
            .collect();
        let wanted = Wanted {
            name: &image,
            policy,
            secrets: &secrets,
        };
        let ready = self
            .engine
            .images
            .ensure(&wanted, &self.owner(), told)
            .await;
        self.tell(match ready {
            Ok(ready) => {
                self.live
                    .borrow_mut()
                    .images
                    .insert(container.clone(), Rc::new(ready.image));
                Event::ImageReady {
                    container,
                    image_id: ready.id,
                    image: ready.name,
                    pulled: ready.pulled,
                }
            }
            Err(error) => Event::ImageFailed {
                container,
                reason: failure(&error),
                message: match error {
                    // A kubelet's words.
                    ImageError::NotPresent(image) => format!(
                        "Container image {image:?} is not present with pull policy of Never"
                    ),
                    other => other.to_string(),
                },
            },
        });
    }
}

/// The kubelet's word for it (`pkg/kubelet/images/types.go`).
fn failure(error: &ImageError) -> ImageFailure {
    match error {
        ImageError::InvalidName { .. } => ImageFailure::InvalidImageName,
        ImageError::NotPresent(_) => ImageFailure::ErrImageNeverPull,
        ImageError::Unavailable { .. } => ImageFailure::RegistryUnavailable,
        ImageError::Ambiguous(_) | ImageError::InUse { .. } => ImageFailure::ImageInspectError,
        ImageError::NotFound { .. }
        | ImageError::Unauthorized { .. }
        | ImageError::RateLimited { .. }
        | ImageError::Refused { .. }
        | ImageError::Layer { .. }
        | ImageError::Containerd { .. }
        | ImageError::Io { .. } => ImageFailure::ErrImagePull,
    }
}
