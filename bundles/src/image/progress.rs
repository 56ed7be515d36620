//! What a pull or import tells of its progress.

use serde::Serialize;

use super::digest::Digest;

/// A step of a pull or import. Layers are named by the digest of their blob where they have one, else by their
/// diffID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "event")]
pub enum Progress {
    /// The manifest is known.
    Resolved {
        /// The image's name, or its archive's.
        image: String,
        /// Digest and bytes of each layer, the base first.
        layers: Vec<(Digest, u64)>,
    },
    /// A layer is here already.
    Present {
        /// Which.
        layer: Digest,
    },
    /// A layer is being received, or read and verified.
    Receiving {
        /// Which.
        layer: Digest,
        /// Bytes so far, those of an earlier try included.
        bytes: u64,
        /// Of how many.
        total: u64,
    },
    /// A verified layer is being unpacked.
    Unpacking {
        /// Which.
        layer: Digest,
        /// Unpacked bytes so far. The total is not known before the end.
        bytes: u64,
    },
    /// A layer is in the store.
    Done {
        /// Which.
        layer: Digest,
    },
}
