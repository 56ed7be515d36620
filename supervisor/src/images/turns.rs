//! Whose turn it is to pull: each image once, and so many at a time from one registry.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use carob_bundles::image::reference::Reference;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// Who pulls what.
pub struct Turns {
    at_once: NonZeroUsize,
    images: RefCell<BTreeMap<String, Arc<Mutex<()>>>>,
    registries: RefCell<BTreeMap<String, Arc<Semaphore>>>,
}

impl Turns {
    /// At most so many pulls at a time from one registry. They are counted by registry, so that one that stalls holds
    /// up nobody who pulls from another.
    pub fn new(at_once: NonZeroUsize) -> Self {
        Self {
            at_once,
            images: RefCell::default(),
            registries: RefCell::default(),
        }
    }

    /// The second to want an image waits here and then finds it.
    pub async fn of_image(&self, image: &Reference) -> OwnedMutexGuard<()> {
        let turn = Arc::clone(self.images.borrow_mut().entry(image.key()).or_default());
        turn.lock_owned().await
    }

    /// Waits for a turn with the image's registry.
    pub async fn of_registry(&self, image: &Reference) -> Option<OwnedSemaphorePermit> {
        let turns = self
            .registries
            .borrow_mut()
            .entry(image.registry().to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(self.at_once.get())))
            .clone();
        // Never closed.
        turns.acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_registry_does_not_wait_for_another() {
        let turns = Turns::new(NonZeroUsize::MIN);
        let image = |name: &str| name.parse::<Reference>().unwrap();
        let first = turns.of_registry(&image("a.example/x:1")).await;
        let _other = turns.of_registry(&image("b.example/x:1")).await;
        let other_image = image("a.example/y:1");
        let second = turns.of_registry(&other_image);
        tokio::pin!(second);
        tokio::select! {
            biased;
            _ = &mut second => panic!("two at a time from one registry"),
            () = tokio::task::yield_now() => {}
        }
        drop(first);
        assert!(second.await.is_some());
    }

    #[tokio::test]
    async fn an_image_is_one_s_at_a_time() {
        let turns = Turns::new(NonZeroUsize::MIN);
        let image: Reference = "a.example/x:1".parse().unwrap();
        let first = turns.of_image(&image).await;
        let second = turns.of_image(&image);
        tokio::pin!(second);
        tokio::select! {
            biased;
            _ = &mut second => panic!("two at a time"),
            () = tokio::task::yield_now() => {}
        }
        drop(first);
        drop(second.await);
    }
}
