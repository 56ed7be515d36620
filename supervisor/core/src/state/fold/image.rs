//! Events of the images.

use super::Fold;
use crate::action::Action;
use crate::backoff::{Backoff, CREATE_RETRY_MS, IMAGE};
use crate::event::{Event, ImageFailure};
use crate::state::{ImageRecord, Starting, Waiting};
use crate::status::PodEvent;
use crate::time::Mono;

impl Fold<'_> {
    pub(super) fn image(&mut self, event: Event) {
        let (Event::PullStarted { container }
        | Event::ImageReady { container, .. }
        | Event::ImageFailed { container, .. }) = &event
        else {
            return;
        };
        let name = container.clone();
        let Some(spec) = self.pod.spec.all_containers().find(|c| c.name == name) else {
            return;
        };
        let image = spec.image.as_str();
        match event {
            Event::PullStarted { .. } => {
                let text = format!("Pulling image {image:?}");
                self.tell_of(&name, PodEvent::normal(self.now, "Pulling", text));
            }
            Event::ImageReady {
                image_id,
                image: reference,
                pulled,
                ..
            } => {
                if self.ensured(&name)
                    && let Some((record, memory)) = self.both(&name)
                {
                    record.image = Some(ImageRecord {
                        id: image_id,
                        name: reference,
                    });
                    if memory.starting.is_some() {
                        memory.starting = Some(Starting::Create);
                    }
                    self.tell_of(&name, PodEvent::pulled(self.now, image, pulled));
                }
            }
            Event::ImageFailed {
                reason, message, ..
            } => self.image_failed(&name, image, reason, &message),
            _ => {}
        }
    }

    /// Takes the answer; false when nobody had asked.
    fn ensured(&mut self, container: &str) -> bool {
        self.answered(&Action::EnsureImage {
            container: container.to_owned(),
        })
    }

    fn image_failed(&mut self, name: &str, image: &str, reason: ImageFailure, message: &str) {
        let now = self.now;
        if !self.ensured(name) {
            return;
        }
        let Some((_, memory)) = self.both(name) else {
            return;
        };
        memory.starting = None;
        memory.waiting = Some(Waiting {
            reason: reason.as_str().to_owned(),
            message: Some(message.to_owned()),
            fresh: true,
        });
        match reason {
            // These a kubelet's image manager counts as failed pulls (`EnsureImageExists`).
            ImageFailure::ErrImagePull
            | ImageFailure::RegistryUnavailable
            | ImageFailure::SignatureValidationFailed => {
                let images = &mut self.state.memory.images;
                let before = images.get(image).copied();
                let next = Backoff::next(before, IMAGE, now.mono, now.mono);
                images.insert(image.to_owned(), next);
            }
            ImageFailure::ErrImageNeverPull | ImageFailure::ImageInspectError => {
                memory.retry_at = Some(now.mono.plus_ms(CREATE_RETRY_MS));
            }
            ImageFailure::InvalidImageName => memory.retry_at = Some(Mono::NEVER),
        }
        for event in PodEvent::image_failed(now, image, reason, message) {
            self.tell_of(name, event);
        }
    }
}
