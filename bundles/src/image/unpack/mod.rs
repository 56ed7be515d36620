//! Unpacks a layer's archive into a directory that overlayfs can use as a lower layer.
//!
//! Whatever the archive says, nothing outside that directory is touched: names are resolved with
//! `openat2` inside it, and entries are made by descriptor of their directory and bare name.

mod apply;
mod compression;
mod error;
mod limits;
mod metadata;
mod pax;
mod reader;
mod sparse;
mod tree;

#[cfg(test)]
mod tests;

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

pub(crate) use compression::Decompressed;
pub use error::LayerError;
pub use limits::{Cancel, Limits};

pub(crate) use reader::TarReader;

use self::apply::Applier;
use self::limits::Metered;
use self::reader::damaged;
use super::digest::Digest;

const BUFFER: usize = 64 << 10;

/// A layer as it was unpacked.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// The digest of the uncompressed archive.
    pub diff_id: Digest,
    /// The length of the uncompressed archive.
    pub bytes: u64,
    /// Entries of the archive.
    pub entries: u64,
    /// Directories that the archive has files in but does not describe.
    pub implicit: Vec<PathBuf>,
    /// Nothing of the layers below is to be seen.
    pub opaque_root: bool,
}

/// Unpacks `archive`, compressed or not, into the existing empty directory `root`.
///
/// `progress` is told how many unpacked bytes have been read so far.
///
/// # Errors
/// Any [`LayerError`]; what was unpacked till then is left for the caller to remove.
pub(crate) fn unpack(
    archive: impl Read,
    root: &Path,
    limits: &Limits,
    cancel: &Cancel,
    progress: &mut dyn FnMut(u64),
) -> Result<Unpacked, LayerError> {
    let decompressed = Decompressed::new(archive).map_err(damaged)?;
    let metered = Metered::new(decompressed, limits.bytes, cancel, progress);
    // Headers are read in blocks of 512 bytes.
    let mut reader = TarReader::new(BufReader::with_capacity(BUFFER, metered));
    let mut applier = Applier::new(root)?;
    let mut entries = 0;
    let mut logical = 0u64;
    while let Some(mut entry) = reader.next()? {
        entries += 1;
        // An entry of a deep path makes a thousand directories.
        if entries + applier.made() > limits.entries {
            return Err(LayerError::Quota {
                limit: limits.entries,
                unit: "entries",
            });
        }
        // Holes cost the archive nothing, so they are counted here.
        logical = logical.saturating_add(entry.size);
        if logical > limits.bytes {
            return Err(LayerError::Quota {
                limit: limits.bytes,
                unit: "bytes when unpacked",
            });
        }
        applier.entry(&mut entry, &mut reader)?;
    }
    let applied = applier.finish()?;
    // The digest covers what follows the archive's end too.
    let mut rest = reader.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(damaged)?;
    let rest = rest.into_inner();
    Ok(Unpacked {
        bytes: rest.count,
        diff_id: rest.hasher.finish(),
        entries,
        implicit: applied.implicit,
        opaque_root: applied.opaque_root,
    })
}
