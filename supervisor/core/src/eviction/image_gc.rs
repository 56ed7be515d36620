//! Which images go when the disk fills up (`pkg/kubelet/images/image_gc_manager.go`).

use std::collections::BTreeMap;

use crate::time::Mono;

/// When images are removed, and which are spared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImagePolicy {
    /// Percent of the disk in use from which on images are removed.
    pub high_percent: u8,
    /// Percent down to which they are.
    pub low_percent: u8,
    /// Milliseconds for which a new image is spared.
    pub min_age_ms: u64,
    /// Milliseconds after which an image that nobody used goes at any fullness; never when absent
    /// (`imageMaximumGCAge`).
    pub max_age_ms: Option<u64>,
}

impl Default for ImagePolicy {
    /// A kubelet's (`SetDefaults_KubeletConfiguration`).
    fn default() -> Self {
        Self {
            high_percent: 85,
            low_percent: 80,
            min_age_ms: 120_000,
            max_age_ms: None,
        }
    }
}

/// A policy that can't be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the thresholds of image garbage collection are {high}% and {low}%: give percentages of at most 100, the low one not above the high one"
)]
pub struct ImagePolicyError {
    high: u8,
    low: u8,
}

impl ImagePolicy {
    /// The policy, if it can be followed.
    ///
    /// # Errors
    /// When a threshold is above 100, or the low one above the high one.
    pub fn checked(self) -> Result<Self, ImagePolicyError> {
        match self.low_percent <= self.high_percent && self.high_percent <= 100 {
            true => Ok(self),
            false => Err(ImagePolicyError {
                high: self.high_percent,
                low: self.low_percent,
            }),
        }
    }
}

/// The disk that images are on. Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    /// Its size.
    pub capacity: u64,
    /// What is left of it.
    pub available: u64,
}

/// An image that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentImage {
    /// Its digest.
    pub id: String,
    /// Bytes.
    pub size: u64,
    /// Whether a Pod uses it.
    pub used: bool,
    /// Whether someone wants it kept.
    pub pinned: bool,
}

/// What to remove.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reclaim {
    /// IDs, in this order, until enough is free.
    pub images: Vec<String>,
    /// Bytes that are to be freed by it.
    pub wanted: u64,
    /// Bytes that these images have; layers that others share stay.
    pub found: u64,
}

/// Remembers when images were first seen and last used. Memory only: after a restart all are new, but old enough to go.
#[derive(Debug, Clone, Default)]
pub struct ImageGc {
    seen: BTreeMap<String, Seen>,
    started: bool,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// None: before the first look.
    first: Option<Mono>,
    last_used: Option<Mono>,
}

impl ImageGc {
    /// Takes in what is there.
    pub fn look(&mut self, images: &[PresentImage], now: Mono) {
        self.seen
            .retain(|id, _| images.iter().any(|image| image.id == *id));
        for image in images {
            let first = self.started.then_some(now);
            let seen = self.seen.entry(image.id.clone()).or_insert(Seen {
                first,
                last_used: None,
            });
            if image.used {
                seen.last_used = Some(now);
            }
        }
        self.started = true;
    }

    /// What goes because the disk is fuller than the high threshold, or an image older than it may be; after a
    /// [`look`](Self::look) at the same images.
    pub fn periodic(
        &self,
        policy: &ImagePolicy,
        disk: FileSystem,
        images: &[PresentImage],
        now: Mono,
    ) -> Reclaim {
        let mut plan = Reclaim::default();
        for image in self.removable(policy, images, now) {
            if policy
                .max_age_ms
                .is_some_and(|max| self.idle(image, now) > max)
            {
                plan.add(image);
            }
        }
        let available = disk.available.min(disk.capacity);
        // 100 is a kubelet's way to say never.
        if disk.capacity == 0 || policy.high_percent >= 100 {
            return plan;
        }
        let share = |percent: u64| u128::from(disk.capacity) * u128::from(percent) / 100;
        let used_percent = 100 - u128::from(available) * 100 / u128::from(disk.capacity);
        if used_percent < u128::from(policy.high_percent) {
            return plan;
        }
        let free = share(100 - u64::from(policy.low_percent.min(100)));
        let free = u64::try_from(free).unwrap_or(u64::MAX);
        self.free(
            &mut plan,
            policy,
            images,
            free.saturating_sub(available),
            now,
        );
        plan
    }

    /// All that may go: a threshold of the disk is crossed (`DeleteUnusedImages`).
    pub fn all(&self, policy: &ImagePolicy, images: &[PresentImage], now: Mono) -> Reclaim {
        let mut plan = Reclaim::default();
        self.free(&mut plan, policy, images, u64::MAX, now);
        plan
    }

    fn free(
        &self,
        plan: &mut Reclaim,
        policy: &ImagePolicy,
        images: &[PresentImage],
        wanted: u64,
        now: Mono,
    ) {
        plan.wanted = wanted;
        for image in self.removable(policy, images, now) {
            if plan.found >= wanted {
                break;
            }
            if !plan.images.contains(&image.id) {
                plan.add(image);
            }
        }
    }

    /// The longest unused first, then the longest here.
    fn removable<'a>(
        &self,
        policy: &ImagePolicy,
        images: &'a [PresentImage],
        now: Mono,
    ) -> Vec<&'a PresentImage> {
        let old = |image: &PresentImage| {
            let first = self.seen.get(&image.id).and_then(|seen| seen.first);
            first.is_none_or(|first| now.since(first) >= policy.min_age_ms)
        };
        let mut images: Vec<_> = images
            .iter()
            .filter(|image| !image.used && !image.pinned && old(image))
            .collect();
        images.sort_by_cached_key(|image| {
            let seen = self.seen.get(&image.id);
            let seen = seen.map(|seen| (seen.last_used, seen.first));
            (seen, image.id.clone())
        });
        images
    }

    /// Milliseconds without use.
    fn idle(&self, image: &PresentImage, now: Mono) -> u64 {
        let seen = self.seen.get(&image.id);
        let last = seen.and_then(|seen| seen.last_used.or(seen.first));
        last.map_or(0, |last| now.since(last))
    }
}

impl Reclaim {
    fn add(&mut self, image: &PresentImage) {
        self.images.push(image.id.clone());
        self.found = self.found.saturating_add(image.size);
    }
}
