//! `hostPath`: a file or directory of the host (kubelet: pkg/volume/hostpath).

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path};

use carob_core::pod::HostPathType;

use super::error::VolumeError;

/// Checks that the path is what its type says, and makes what is missing where the type says so.
pub(super) fn set_up(path: &Path, kind: HostPathType) -> Result<(), VolumeError> {
    check_path(path)?;
    match kind {
        HostPathType::Unset => make_missing_dir(path),
        HostPathType::DirectoryOrCreate => {
            make_missing_dir(path)?;
            check_type(path, HostPathType::Directory, "directory")
        }
        HostPathType::Directory => check_type(path, kind, "directory"),
        HostPathType::FileOrCreate => {
            make_missing_file(path)?;
            check_type(path, HostPathType::File, "file")
        }
        HostPathType::File => check_type(path, kind, "file"),
        HostPathType::Socket => check_type(path, kind, "socket file"),
        HostPathType::CharDevice => check_type(path, kind, "character device"),
        HostPathType::BlockDevice => check_type(path, kind, "block device"),
    }
}

fn check_path(path: &Path) -> Result<(), VolumeError> {
    let bad = |reason| {
        Err(VolumeError::BadHostPath {
            path: path.to_owned(),
            reason,
        })
    };
    if path.components().any(|c| c == Component::ParentDir) {
        return bad("must not contain '..'");
    }
    if !path.is_absolute() {
        return bad("must be an absolute path");
    }
    if path.as_os_str().as_bytes().contains(&0) {
        return bad("must not contain a zero byte");
    }
    Ok(())
}

fn check_type(path: &Path, kind: HostPathType, wanted: &'static str) -> Result<(), VolumeError> {
    // Whatever keeps it from being looked at, the kubelet calls it missing.
    let found = fs::metadata(path)
        .map_err(|_| VolumeError::HostPathMissing(path.to_owned()))?
        .file_type();
    let found = if found.is_dir() {
        HostPathType::Directory
    } else if found.is_file() {
        HostPathType::File
    } else if found.is_socket() {
        HostPathType::Socket
    } else if found.is_char_device() {
        HostPathType::CharDevice
    } else if found.is_block_device() {
        HostPathType::BlockDevice
    } else {
        return Err(VolumeError::HostPathUnknown {
            path: path.to_owned(),
            wanted,
        });
    };
    if found == kind {
        Ok(())
    } else {
        Err(VolumeError::HostPathType {
            path: path.to_owned(),
            wanted,
            found,
        })
    }
}

/// With no type the kubelet makes nothing, but containerd, which mounts it, makes a missing directory.
fn make_missing_dir(path: &Path) -> Result<(), VolumeError> {
    match fs::metadata(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(VolumeError::file("read", path, error)),
    }
    let create = |path: &Path, error| VolumeError::file("create", path, error);
    // Each made one gets its mode whatever the umask is, and only those.
    let mut missing: Vec<&Path> = path
        .ancestors()
        .take_while(|ancestor| !ancestor.exists())
        .collect();
    missing.reverse();
    for dir in missing {
        match DirBuilder::new().mode(0o755).create(dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            result => result.map_err(|e| create(dir, e))?,
        }
        fs::set_permissions(dir, Permissions::from_mode(0o755)).map_err(|e| create(dir, e))?;
    }
    Ok(())
}

fn make_missing_file(path: &Path) -> Result<(), VolumeError> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)
        .and_then(|file| file.set_permissions(Permissions::from_mode(0o644)));
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(VolumeError::file("create", path, error))
        }
        _ => Ok(()),
    }
}
