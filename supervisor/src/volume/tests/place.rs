//! A root directory for a test, in a mount namespace of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use carob_core::pod::{HostPathType, Medium};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::super::*;

pub(super) const UID: &str = "0a1b2c3d-0000-4000-8000-000000000000";

/// Directories of a test: the supervisor's root, and the rest of the host.
pub(super) struct Place {
    pub(super) volumes: Volumes,
    pub(super) root: PathBuf,
    pub(super) host: PathBuf,
}

/// Runs a test on a thread whose mounts nobody else sees and that go with it.
pub(super) fn in_place(test: impl FnOnce(&Place) + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let (root, host) = (dir.path().join("root"), dir.path().join("host"));
            fs::create_dir(&host).unwrap();
            test(&Place {
                volumes: Volumes::new(&root).unwrap(),
                root: root.canonicalize().unwrap(),
                host,
            });
        });
    });
}

impl Place {
    pub(super) fn pod(&self) -> PathBuf {
        self.root.join("pods").join(UID)
    }

    pub(super) fn empty_dir(&self, name: &str) -> PathBuf {
        self.pod()
            .join("volumes/kubernetes.io~empty-dir")
            .join(name)
    }

    pub(super) fn source(&self, volume: &Volume, sub_path: &str) -> Result<PathBuf, VolumeError> {
        self.volumes
            .mount_source(UID, "app", 0, volume, Some(sub_path))
    }

    /// A directory of the host with a file that must survive.
    pub(super) fn canary(&self) -> PathBuf {
        let dir = self.host.join("precious");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("canary"), "alive").unwrap();
        dir
    }
}

pub(super) fn disk(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        source: VolumeSource::EmptyDir {
            medium: Medium::Disk,
            size_limit: None,
        },
    }
}

pub(super) fn memory(name: &str, size_limit: Option<u64>) -> Volume {
    Volume {
        name: name.to_owned(),
        source: VolumeSource::EmptyDir {
            medium: Medium::Memory,
            size_limit,
        },
    }
}

pub(super) fn host_path(path: &Path, kind: HostPathType) -> Volume {
    Volume {
        name: "host".to_owned(),
        source: VolumeSource::HostPath {
            path: path.to_str().unwrap().to_owned(),
            kind,
        },
    }
}

pub(super) fn bind(from: &Path, to: &Path) {
    let flags = MsFlags::MS_BIND;
    mount(Some(from), to, None::<&str>, flags, None::<&str>).unwrap();
}

pub(super) fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

pub(super) fn alive(canary: &Path) -> bool {
    fs::read_to_string(canary.join("canary")).is_ok_and(|text| text == "alive")
}

/// Everything below a directory.
pub(super) fn tree(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            found.extend(tree(&path));
        }
        found.push(path);
    }
    found
}
