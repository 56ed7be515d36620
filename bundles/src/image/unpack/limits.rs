//! How large a layer may become, and the stream that enforces it.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::LayerError;
use crate::image::digest::Hasher;

/// Bounds of one layer. The defaults are far above any real image and far below what fills a machine's
/// inode table or memory.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Entries in the archive, and directories that it has no entries for.
    pub entries: u64,
    /// Bytes of the unpacked archive, holes of sparse files included.
    pub bytes: u64,
    /// Layers of an image. 127 is Docker's limit; overlayfs itself allows 500.
    pub layers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 1 << 20,
            bytes: 64 << 30,
            layers: 127,
        }
    }
}

/// The unpacked stream of a layer: counts, hashes, stops at the limit and when cancelled.
pub(super) struct Metered<'a, R> {
    input: R,
    pub(super) hasher: Hasher,
    pub(super) count: u64,
    limit: u64,
    cancel: &'a Cancel,
    progress: &'a mut dyn FnMut(u64),
    /// When to tell of progress next.
    tell_at: u64,
}

/// Bytes between two reports of progress.
const STEP: u64 = 1 << 20;

/// Says from another thread that the result is no longer wanted.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Makes the work stop with [`LayerError::Cancelled`] soon.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the work is to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<'a, R: Read> Metered<'a, R> {
    pub(super) fn new(
        input: R,
        limit: u64,
        cancel: &'a Cancel,
        progress: &'a mut dyn FnMut(u64),
    ) -> Self {
        Self {
            input,
            hasher: Hasher::new(),
            count: 0,
            limit,
            cancel,
            progress,
            tell_at: 0,
        }
    }
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other(LayerError::Cancelled));
        }
        let count = self.input.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.count += count as u64;
        if self.count > self.limit {
            return Err(io::Error::other(LayerError::Quota {
                limit: self.limit,
                unit: "bytes when unpacked",
            }));
        }
        if self.count >= self.tell_at || count == 0 {
            (self.progress)(self.count);
            self.tell_at = self.count + STEP;
        }
        Ok(count)
    }
}
