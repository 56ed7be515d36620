//! The Pods' volumes: made before the containers, given to them as mount sources, removed with the Pod.
//!
//! They are where the kubelet has them, below `<root>/pods/<uid>/`: `volumes/kubernetes.io~empty-dir/<name>` and
//! `volume-subpaths/<volume>/<container>/<index>`. Whatever containers put into them, nothing outside is ever touched;
//! see `remove`, `sub_path` and `mounts` for how.
//!
//! Everything here blocks: call it from a thread that may.

mod atomic;
mod beneath;
mod empty_dir;
mod error;
mod files;
mod host_path;
mod mounts;
mod name;
mod remove;
mod sub_path;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use carob_core::pod::{Volume, VolumeSource};

pub use error::VolumeError;
pub use files::Payload;
pub use remove::remove_tree;

use name::check_name;

const VOLUMES: &str = "volumes";
const EMPTY_DIRS: &str = "kubernetes.io~empty-dir";
const SUB_PATHS: &str = "volume-subpaths";

/// The volumes of all Pods of one supervisor.
#[derive(Debug, Clone)]
pub struct Volumes {
    pods: PathBuf,
}

impl Volumes {
    /// The volumes below a root directory, which is made (mode 0700) if missing.
    pub fn new(root: &Path) -> Result<Volumes, VolumeError> {
        let create = |path: &Path| {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|e| VolumeError::file("create", path, e))
        };
        create(root)?;
        // As the kernel writes it in its table of mounts.
        let root = root
            .canonicalize()
            .map_err(|e| VolumeError::file("read", root, e))?;
        let pods = root.join("pods");
        create(&pods)?;
        Ok(Volumes { pods })
    }

    /// Makes a Pod's volumes, or what is missing of them. After an error the ones already made stay, for the next
    /// attempt or for [`teardown`](Volumes::teardown).
    ///
    /// A size limit counts for volumes in memory; as the kubelet, give the smaller of `sizeLimit` and the Pod's memory
    /// limit (0 is the kernel's own limit, half of the memory). `fs_group` is `securityContext.fsGroup`: the group of all
    /// but `hostPath`s, which have the owners they have. Files that Carob writes are still to be written, by
    /// [`refresh`](Volumes::refresh).
    pub fn setup(
        &self,
        pod_uid: &str,
        volumes: &[Volume],
        fs_group: Option<u32>,
    ) -> Result<(), VolumeError> {
        let pod = self.pod(pod_uid)?;
        // Names first: a bad one changes nothing.
        for volume in volumes {
            check_name("volume name", &volume.name)?;
        }
        for volume in volumes {
            match &volume.source {
                VolumeSource::EmptyDir { medium, size_limit } => {
                    empty_dir::set_up(
                        &empty_dir(&pod, &volume.name),
                        *medium,
                        *size_limit,
                        fs_group,
                    )?;
                }
                VolumeSource::HostPath { path, kind } => {
                    host_path::set_up(Path::new(path), *kind)?;
                }
                VolumeSource::Files(source) => {
                    files::set_up(&files::path(&pod, source.form, &volume.name), source.form)?;
                }
            }
        }
        Ok(())
    }

    /// The path on the host that a container's volume mount is made from.
    ///
    /// `index` is the mount's place in the container's `volumeMounts`. With a sub-path (`subPath`, or what `subPathExpr`
    /// expands to) it is a bind mount of that file or directory, which nobody can exchange any more; directories
    /// missing on the way are made with the volume's mode. To be asked for anew at each start of the container.
    pub fn mount_source(
        &self,
        pod_uid: &str,
        container: &str,
        index: usize,
        volume: &Volume,
        sub_path: Option<&str>,
    ) -> Result<PathBuf, VolumeError> {
        let pod = self.pod(pod_uid)?;
        check_name("volume name", &volume.name)?;
        check_name("container name", container)?;
        let source = match &volume.source {
            VolumeSource::EmptyDir { .. } => {
                let path = empty_dir(&pod, &volume.name);
                if !path.is_dir() {
                    return Err(VolumeError::NotSetUp {
                        uid: pod_uid.to_owned(),
                        volume: volume.name.clone(),
                    });
                }
                path
            }
            VolumeSource::Files(source) => files::path(&pod, source.form, &volume.name),
            // Through its symbolic links, as containerd mounts it.
            VolumeSource::HostPath { path, .. } => {
                fs::canonicalize(path).map_err(|e| VolumeError::file("find", Path::new(path), e))?
            }
        };
        let Some(sub_path) = sub_path.filter(|sub_path| !sub_path.is_empty()) else {
            return Ok(source);
        };
        let target = pod
            .join(SUB_PATHS)
            .join(&volume.name)
            .join(container)
            .join(index.to_string());
        match sub_path::bind(&source, sub_path, &pod, &target) {
            Ok(()) => Ok(target),
            Err(sub_path::Refused::Volume(error)) => Err(error),
            Err(sub_path::Refused::Reason(reason)) => Err(VolumeError::SubPath {
                volume: volume.name.clone(),
                container: container.to_owned(),
                sub_path: sub_path.to_owned(),
                reason,
            }),
        }
    }

    /// Brings the files of a volume that Carob writes up to date, all at one moment. Does nothing for other volumes, and
    /// before the first [`setup`](Volumes::setup). `payload` tells the files.
    pub fn refresh(
        &self,
        pod_uid: &str,
        volume: &Volume,
        fs_group: Option<u32>,
        payload: &Payload<'_>,
    ) -> Result<(), VolumeError> {
        let VolumeSource::Files(source) = &volume.source else {
            return Ok(());
        };
        let path = files::path(&self.pod(pod_uid)?, source.form, &volume.name);
        match path.is_dir() {
            true => files::write(&path, &volume.name, source, fs_group, payload),
            false => Ok(()),
        }
    }

    /// Unmounts and removes a Pod's volumes; other files of the Pod stay. No error when there are none.
    ///
    /// What is mounted below the Pod's directory, by whomever, is unmounted first. When something keeps a mount in use
    /// for more than half a second, the error says so and nothing is removed; call again later.
    pub fn teardown(&self, pod_uid: &str) -> Result<(), VolumeError> {
        let pod = self.pod(pod_uid)?;
        mounts::unmount_below(&pod)?;
        remove_tree(&pod.join(SUB_PATHS))?;
        remove_tree(&pod.join(VOLUMES))?;
        match fs::remove_dir(&pod) {
            Err(error)
                if ![ErrorKind::NotFound, ErrorKind::DirectoryNotEmpty].contains(&error.kind()) =>
            {
                Err(VolumeError::file("remove", &pod, error))
            }
            _ => Ok(()),
        }
    }

    /// Like [`teardown`](Volumes::teardown), and removes all else in the Pod's directory too: for when its last
    /// container is gone.
    pub fn remove_pod(&self, pod_uid: &str) -> Result<(), VolumeError> {
        let pod = self.pod(pod_uid)?;
        mounts::unmount_below(&pod)?;
        remove_tree(&pod)
    }

    /// The UIDs of Pods other than these that have a directory here, left by a supervisor that was killed.
    pub fn leftovers(&self, live_uids: &HashSet<String>) -> Result<Vec<String>, VolumeError> {
        let read = |error| VolumeError::file("read", &self.pods, error);
        let mut left = Vec::new();
        for entry in fs::read_dir(&self.pods).map_err(read)? {
            let name = entry.map_err(read)?.file_name();
            // A name that is no UID was put here by nobody of us.
            if let Some(name) = name.to_str()
                && check_name("Pod UID", name).is_ok()
                && !live_uids.contains(name)
            {
                left.push(name.to_owned());
            }
        }
        left.sort();
        Ok(left)
    }

    /// Removes what [`leftovers`](Volumes::leftovers) names, and says what it was. One that fails does not keep the
    /// others; the first error is returned.
    pub fn prune(&self, live_uids: &HashSet<String>) -> Result<Vec<String>, VolumeError> {
        let left = self.leftovers(live_uids)?;
        let mut result = Ok(());
        for uid in &left {
            result = result.and(self.remove_pod(uid));
        }
        result.map(|()| left)
    }

    fn pod(&self, uid: &str) -> Result<PathBuf, VolumeError> {
        check_name("Pod UID", uid)?;
        Ok(self.pods.join(uid))
    }
}

fn empty_dir(pod: &Path, name: &str) -> PathBuf {
    pod.join(VOLUMES).join(EMPTY_DIRS).join(name)
}
