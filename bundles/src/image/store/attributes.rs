//! Layers that Carob makes itself, to go on top of an image's own.
//!
//! An archive may have a file in a directory that it does not describe; the directory then keeps the
//! attributes that lower layers gave it. overlayfs takes them from the topmost layer that has the directory,
//! and ours are unpacked without knowing what they will lie upon. So where it matters, a layer of nothing but
//! directories goes on top, with the right attributes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::layers::LayerMeta;
use super::{Layer, Lease, Store};
use crate::image::digest::{Digest, Hasher};
use crate::image::error::{IoContext, Result};
use crate::image::merged::{Stack, by_fd};
use crate::image::xattrs;

impl Store {
    /// A layer with nothing in it, for images of no layers.
    pub(super) fn empty_layer(&self) -> Result<(Layer, Lease)> {
        let key = Digest::of(b"carob: the empty layer");
        self.own_layer(key, |_| Ok(()))
    }

    /// The layer to go on top of `layers` (the topmost first), if one is needed.
    pub(super) fn attribute_layer(&self, layers: &[Layer]) -> Result<Option<(Layer, Lease)>> {
        if layers
            .iter()
            .skip_while(|layer| layer.meta.implicit.is_empty())
            .count()
            < 2
        {
            return Ok(None);
        }
        let roots: Vec<_> = layers.iter().map(|layer| layer.root.clone()).collect();
        let stack = Stack::open(&roots).at("open the layers in", &self.path("layers"))?;
        let implicit: Vec<BTreeSet<&Path>> = layers
            .iter()
            .map(|layer| layer.meta.implicit.iter().map(PathBuf::as_path).collect())
            .collect();
        let source = |path: &Path| -> Result<Option<(usize, Rc<OwnedFd>)>> {
            let directories = stack.directories(path).at("look up", path)?;
            Ok(directories
                .into_iter()
                .find(|(number, _)| !implicit[*number].contains(path)))
        };
        let mut wanted: BTreeMap<PathBuf, Option<Rc<OwnedFd>>> = BTreeMap::new();
        for path in implicit.iter().flatten() {
            let shown = stack
                .directories(path)
                .at("look up", path)?
                .first()
                .map(|(number, _)| *number);
            // Shown from where it is described: nothing to mend.
            let Some(shown) = shown.filter(|shown| implicit[*shown].contains(path)) else {
                continue;
            };
            if let Some((number, _)) = source(path)?
                && number != shown
            {
                for ancestor in path
                    .ancestors()
                    .filter(|ancestor| !ancestor.as_os_str().is_empty())
                {
                    if !wanted.contains_key(ancestor) {
                        wanted.insert(ancestor.to_owned(), source(ancestor)?.map(|(_, fd)| fd));
                    }
                }
            }
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        let mut hasher = Hasher::new();
        hasher.update(b"carob: attributes of directories");
        for layer in layers {
            hasher.update(layer.meta.key.to_string().as_bytes());
        }
        self.own_layer(hasher.finish(), |root| copy_directories(root, &wanted))
            .map(Some)
    }

    fn own_layer(
        &self,
        key: Digest,
        fill: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(Layer, Lease)> {
        let lease = self.lease(std::slice::from_ref(&key))?;
        let _lock = self.lock_layer(&key)?;
        if let Some(layer) = self.layer(&key)? {
            return Ok((layer, lease));
        }
        let layer = self.make_layer(&key, |root| {
            fill(root).at("write", root)?;
            Ok(LayerMeta {
                key: key.clone(),
                bytes: 0,
                entries: 0,
                implicit: Vec::new(),
                opaque_root: false,
            })
        })?;
        Ok((layer, lease))
    }
}

/// Makes the directories below `root`, with the attributes of what each is paired with (0755, root if nothing).
fn copy_directories(
    root: &Path,
    wanted: &BTreeMap<PathBuf, Option<Rc<OwnedFd>>>,
) -> io::Result<()> {
    for (path, source) in wanted {
        // Ancestors come first in the order of paths. There are no links in a tree of our own directories.
        let target = root.join(path);
        fs::create_dir(&target)?;
        let directory = File::open(&target)?;
        let Some(source) = source else {
            directory.set_permissions(Permissions::from_mode(0o755))?;
            continue;
        };
        let source_path = by_fd(source);
        let status = fs::metadata(&source_path)?;
        fchown(&directory, Some(status.uid()), Some(status.gid()))?;
        directory.set_permissions(status.permissions())?;
        for name in xattrs::names(&source_path)? {
            xattrs::copy(&source_path, &target, &name)?;
        }
    }
    // Making a directory changes its parent's time.
    for (path, source) in wanted {
        if let Some(source) = source {
            let status = fs::metadata(by_fd(source))?;
            let times = fs::FileTimes::new()
                .set_accessed(status.modified()?)
                .set_modified(status.modified()?);
            File::open(root.join(path))?.set_times(times)?;
        }
    }
    Ok(())
}
