//! The volumes that an image wants.

use carob_core::pod::Container;

use super::SpecError;
use super::mounts::is_plain_absolute;
use crate::image::config::ImageConfig;

impl ImageConfig {
    /// The image's volumes that the container does not mount over: for each the caller provides a directory
    /// of the container's own (with what the image has there), as containerd does
    /// (`internal/cri/server/container_create.go`, `volumeMounts`). Sorted, without duplicates.
    ///
    /// # Errors
    ///
    /// [`SpecError::ImageVolume`] for a path that leads elsewhere than below the container's root.
    pub fn volumes_for(
        &self,
        container: &Container,
        image: &str,
    ) -> Result<Vec<String>, SpecError> {
        let mut volumes = Vec::new();
        for declared in &self.volumes {
            let refuse = |reason| SpecError::ImageVolume {
                image: image.to_owned(),
                path: declared.clone(),
                reason,
            };
            if !is_plain_absolute(declared) {
                return Err(refuse("is not an absolute path without .. and NUL"));
            }
            let path = super::mounts::clean(declared);
            let below = |top: &str| {
                path.strip_prefix(top)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            if path == "/" || ["/dev", "/proc", "/sys"].iter().any(|top| below(top)) {
                return Err(refuse(
                    "is the root or one of the runtime's own directories",
                ));
            }
            let mounted = container.volume_mounts.iter();
            if !mounted
                .map(|m| super::mounts::clean(&m.mount_path))
                .any(|m| m == path)
            {
                volumes.push(path);
            }
        }
        volumes.sort();
        volumes.dedup();
        Ok(volumes)
    }
}

#[cfg(test)]
mod tests {
    use carob_core::pod::VolumeMount;

    use crate::spec::testing::World;

    fn volumes(declared: &[&str], mounted: &[&str]) -> Result<Vec<String>, String> {
        let mut world = World::new();
        world.image.volumes = declared.iter().map(|v| (*v).to_owned()).collect();
        world.container().volume_mounts = mounted
            .iter()
            .map(|path| VolumeMount {
                name: "v".into(),
                mount_path: (*path).to_owned(),
                read_only: false,
                sub_path: None,
                sub_path_expr: None,
                propagation: Default::default(),
            })
            .collect();
        let container = &world.pod.spec.containers[0];
        world
            .image
            .volumes_for(container, "app:1")
            .map_err(|e| e.to_string())
    }

    #[test]
    fn volumes_that_the_pod_does_not_mount_over() {
        let all = volumes(&["/data", "/a/b/", "/data/./", "/logs"], &["/logs", "/a"]);
        assert_eq!(all, Ok(vec!["/a/b".into(), "/data".into()]));
        assert_eq!(volumes(&["/data/"], &["/data"]), Ok(vec![]));
        assert_eq!(
            volumes(&["/processes", "/system"], &[]).map(|v| v.len()),
            Ok(2)
        );
    }

    #[test]
    fn c10_volumes_that_lead_elsewhere_are_refused() {
        for path in [
            "/../../etc",
            "/a/../../b",
            "etc",
            "",
            "/",
            "//.",
            "/proc",
            "/dev/shm/x",
            "/sys/fs",
            "/a\0b",
        ] {
            let error = volumes(&["/ok", path], &[]).unwrap_err();
            assert!(
                error.starts_with("image \"app:1\" declares the volume"),
                "{path:?}: {error}"
            );
        }
    }
}
