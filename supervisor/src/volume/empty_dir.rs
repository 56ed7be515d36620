//! `emptyDir`: a directory on disk or in memory that comes and goes with its Pod (kubelet: pkg/volume/emptydir).

use std::fs::{self, DirBuilder, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;

use carob_core::pod::Medium;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use super::error::VolumeError;

/// The kubelet's: whoever the containers run as, they can use it.
const MODE: u32 = 0o777;

/// What the kubelet adds for an `fsGroup` (pkg/volume/volume_linux.go): new files belong to the group, which may
/// do everything.
const GROUP_MODE: u32 = 0o2770;

/// A tmpfs has this bit in its mode unless told otherwise, and the kubelet tells it nothing.
const STICKY: u32 = 0o1000;

/// Makes the volume at that path; nothing is changed when it is there already.
///
/// It appears whole: a directory on disk is made beside and renamed, one in memory is mounted with its mode and group.
pub(super) fn set_up(
    path: &Path,
    medium: Medium,
    size_limit: Option<u64>,
    fs_group: Option<u32>,
) -> Result<(), VolumeError> {
    let create = |e| VolumeError::file("create", path, e);
    let parent = path
        .parent()
        .ok_or_else(|| create(ErrorKind::InvalidInput.into()))?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)
        .map_err(create)?;
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_dir() => {
            return Err(create(ErrorKind::NotADirectory.into()));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_directory(parent, path, fs_group)?;
        }
        Err(error) => return Err(VolumeError::file("read", path, error)),
    }
    if medium == Medium::Memory && !is_mounted(parent, path)? {
        mount_tmpfs(path, size_limit, fs_group)?;
    }
    Ok(())
}

fn make_directory(parent: &Path, path: &Path, fs_group: Option<u32>) -> Result<(), VolumeError> {
    let name = path.file_name().unwrap_or_default();
    // No volume's name begins with a dot.
    let new = parent.join(format!(".{}.new", name.to_string_lossy()));
    let make = || -> std::io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&new) {
            // Left by a supervisor that was killed right here.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            result => result?,
        }
        if let Some(group) = fs_group {
            chown(&new, None, Some(group))?;
        }
        let mode = MODE | fs_group.map_or(0, |_| GROUP_MODE);
        fs::set_permissions(&new, Permissions::from_mode(mode))?;
        fs::rename(&new, path)
    };
    make().map_err(|e| VolumeError::file("create", path, e))
}

/// A tmpfs has a device number of its own.
fn is_mounted(parent: &Path, path: &Path) -> Result<bool, VolumeError> {
    let device = |path: &Path| {
        fs::symlink_metadata(path)
            .map(|meta| meta.dev())
            .map_err(|e| VolumeError::file("read", path, e))
    };
    Ok(device(parent)? != device(path)?)
}

fn mount_tmpfs(
    path: &Path,
    size_limit: Option<u64>,
    fs_group: Option<u32>,
) -> Result<(), VolumeError> {
    let mode = MODE | STICKY | fs_group.map_or(0, |_| GROUP_MODE);
    let mut options = format!("mode={mode:o}");
    if let Some(group) = fs_group {
        options.push_str(&format!(",gid={group}"));
    }
    // To the kernel zero would mean no limit at all.
    if let Some(size) = size_limit.filter(|size| *size > 0) {
        options.push_str(&format!(",size={size}"));
    }
    let mount = |options: &str| {
        mount(
            Some("tmpfs"),
            path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(options),
        )
    };
    // What a Pod keeps in memory must not end on a disk, where the kernel can promise that (since Linux 6.4).
    match mount(&format!("{options},noswap")) {
        Err(Errno::EINVAL) => mount(&options),
        result => result,
    }
    .map_err(|e| VolumeError::file("mount a tmpfs on", path, e))
}
