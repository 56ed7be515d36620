//! The volumes that an image declares: each container gets its own, with what the image has there.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use anyhow::Context;
use carob_bundles::image::overlay::Image;
use carob_bundles::image::unpack::Limits;
use carob_bundles::spec::VolumeBind;
use carob_core::pod::MountPropagation;

use super::container::{CreateError, private_dir};
use super::{Executor, Instance, Source};
use crate::volume::remove_tree;

/// Where the container sees a volume of which the image has nothing, everyone can enter.
const MODE: u32 = 0o755;

impl Executor {
    /// Makes the volumes of an instance's image that the Pod mounts nothing over; none for a ready bundle.
    pub(super) async fn image_volumes(
        &self,
        instance: &Instance,
    ) -> Result<Vec<VolumeBind>, CreateError> {
        if !matches!(self.source, Source::Manifest) {
            return Ok(Vec::new());
        }
        let container = self
            .container(&instance.name)
            .ok_or_else(|| CreateError::config("the Pod has no such container"))?;
        let image = self.image(instance)?;
        let paths = image
            .config
            .volumes_for(container, &container.image)
            .map_err(CreateError::config)?;
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let dir = self.container_dir(instance);
        let image = Image::clone(&image);
        // There may be much to copy, and this thread serves all Pods.
        let made = tokio::task::spawn_blocking(move || make_all(&image, &paths, &dir)).await;
        made.context("copying was interrupted")
            .and_then(|volumes| volumes)
            .map_err(|e| CreateError::create(format!("cannot make the image's volumes: {e:#}")))
    }
}

fn make_all(image: &Image, paths: &[String], dir: &Path) -> anyhow::Result<Vec<VolumeBind>> {
    private_dir(dir).with_context(|| format!("cannot create {dir:?}"))?;
    let mut volumes = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let source = dir.join(format!("image-volume-{index}"));
        // Of an attempt to create this instance that failed half-way.
        remove_tree(&source)?;
        if !image.copy_directory(path, &source, &Limits::default())? {
            make_empty(&source).with_context(|| format!("cannot create {source:?}"))?;
        }
        volumes.push(VolumeBind {
            source,
            destination: path.clone(),
            read_only: false,
            recursive_read_only: false,
            propagation: MountPropagation::None,
        });
    }
    Ok(volumes)
}

fn make_empty(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(MODE).create(path)?;
    // Whatever the umask is.
    fs::set_permissions(path, Permissions::from_mode(MODE))
}
