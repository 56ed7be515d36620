//! Images in our own store: the writable layer of a container, and what a pull tells.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use carob_bundles::image::error::ImageError;
use carob_bundles::image::overlay::Image;

use crate::runtime::{Mount, Rootfs};

/// Makes the writable layer in `dir` and says how it lies on the image's.
pub fn rootfs(image: &Image, dir: &Path) -> Result<Rootfs, ImageError> {
    let mounts = overlay(image, dir).map_err(|source| ImageError::Io {
        action: "prepare",
        path: dir.to_owned(),
        source,
    })?;
    Ok(Rootfs {
        mounts,
        snapshot: None,
    })
}

fn overlay(image: &Image, dir: &Path) -> io::Result<Vec<Mount>> {
    let make = |name: &str| {
        let path: PathBuf = dir.join(name);
        // `upper` is the container's `/`: everyone in it must be able to enter.
        DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .or_else(|e| match e.kind() {
                io::ErrorKind::AlreadyExists => Ok(()),
                _ => Err(e),
            })?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok::<_, io::Error>(path)
    };
    let mount = image.overlay_mount(&make("upper")?, &make("work")?);
    Ok(vec![Mount {
        kind: mount.fstype,
        source: mount.source,
        options: mount.options,
    }])
}
