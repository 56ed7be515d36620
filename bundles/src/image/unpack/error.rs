//! Why a layer is refused.

use std::io;

/// Why a layer could not be unpacked; nothing of it stays.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The archive cannot be read as gzip, zstd or tar.
    #[error("the archive is damaged: {0}")]
    Malformed(String),
    /// An entry would reach outside the layer or says something impossible.
    #[error("entry {entry:?}: {reason}")]
    Entry {
        /// The entry's name, shortened and with escapes.
        entry: String,
        /// The rule it breaks.
        reason: String,
    },
    /// More entries or bytes than allowed: very likely a bomb.
    #[error("it has more than {limit} {unit}")]
    Quota {
        /// The configured limit.
        limit: u64,
        /// `entries` or `bytes when unpacked`.
        unit: &'static str,
    },
    /// The compressed blob has another length or digest than the manifest says.
    #[error("the content is {found}, its manifest says {expected}")]
    Mismatch {
        /// What the manifest or configuration says.
        expected: String,
        /// What was received or unpacked.
        found: String,
    },
    /// The system refused to create an entry.
    #[error("cannot {action} {entry:?}: {source}")]
    Io {
        /// A verb.
        action: &'static str,
        /// The entry's name, shortened.
        entry: String,
        /// The system's error.
        source: io::Error,
    },
    /// The caller gave up.
    #[error("unpacking was cancelled")]
    Cancelled,
}

impl LayerError {
    pub(crate) fn entry(name: &[u8], reason: impl Into<String>) -> Self {
        Self::Entry {
            entry: show(name),
            reason: reason.into(),
        }
    }

    pub(crate) fn io(action: &'static str, name: &[u8], source: impl Into<io::Error>) -> Self {
        Self::Io {
            action,
            entry: show(name),
            source: source.into(),
        }
    }
}

/// A name fit for a message: lossy and at most 200 characters.
pub(crate) fn show(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(&name[..name.len().min(800)]);
    if text.chars().count() > 200 || name.len() > 800 {
        text.chars().take(200).chain("…".chars()).collect()
    } else {
        text.into_owned()
    }
}
