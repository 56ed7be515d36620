//! An image as the rest of Carob sees it, and the overlayfs mount of its layers.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::config::ImageConfig;
use super::digest::Digest;
use super::users::Users;

/// An image of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// The digest of its configuration: what Kubernetes reports as the image ID of untagged images.
    pub id: Digest,
    /// Its names with a tag, normalised. May be empty.
    pub references: Vec<String>,
    /// Its names with a digest: `registry/repository@sha256:…`.
    pub digests: Vec<String>,
    /// The digest of its manifest for this platform, if it came with one.
    pub manifest: Option<Digest>,
    /// What containers get from it.
    pub config: ImageConfig,
    /// Directories with the unpacked layers, the topmost first. Never empty, never to be written to.
    pub layers: Vec<PathBuf>,
    /// Digests of all its uncompressed layers as the configuration has them, the base first.
    pub diff_ids: Vec<Digest>,
    /// Bytes of configuration, manifest and layers as transferred.
    pub size: u64,
    /// When it was pulled or imported: seconds since 1970.
    pub imported: u64,
    /// Its users and groups.
    pub users: Users,
}

/// A mount in the form of containerd's API and of `mount(8)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OverlayMount {
    /// The file system type, `overlay`.
    pub fstype: String,
    /// Without meaning for overlayfs, shown in mount tables.
    pub source: String,
    /// `lowerdir=…`, `upperdir=…`, `workdir=…`, with absolute paths.
    pub options: Vec<String>,
}

impl Image {
    /// The overlay mount of the image below a container's writable layer.
    ///
    /// `upper` and `work` must be empty directories of one file system, `upper` with the attributes that the
    /// container's `/` shall have (0755, root). Paths are escaped as overlayfs wants it. With many layers the
    /// options can exceed the page that `mount(2)` takes: whoever mounts does as containerd does, changing to
    /// the lower directories' common parent and making them relative.
    #[must_use]
    pub fn overlay_mount(&self, upper: &Path, work: &Path) -> OverlayMount {
        let lower: Vec<_> = self
            .layers
            .iter()
            .map(|layer| escape(layer, true))
            .collect();
        OverlayMount {
            fstype: "overlay".to_owned(),
            source: "overlay".to_owned(),
            options: vec![
                format!("lowerdir={}", lower.join(":")),
                format!("upperdir={}", escape(upper, false)),
                format!("workdir={}", escape(work, false)),
            ],
        }
    }
}

/// A backslash protects what separates options, or lower directories.
fn escape(path: &Path, lower: bool) -> String {
    let mut text = String::new();
    for c in path.to_string_lossy().chars() {
        if c == '\\' || c == ',' || (lower && c == ':') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}
