//! One directory of a cgroup file system: reading, writing and walking it.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::CgroupError;
use super::hierarchy::Hierarchy;

/// How deep sub-cgroups are followed: deeper ones can't be named by a path anyway (PATH_MAX).
const DEPTH_MAX: usize = 512;

/// The most that is read of one file, in bytes: a million processes are fewer.
const FILE_MAX: u64 = 16 << 20;

/// A cgroup's directory in one hierarchy.
#[derive(Debug, Clone)]
pub struct Dir {
    /// The hierarchy it is in.
    pub hierarchy: &'static Hierarchy,
    /// The absolute path.
    pub path: PathBuf,
}

impl Dir {
    /// The directory of the cgroup `path` in `hierarchy`.
    pub fn new(hierarchy: &'static Hierarchy, path: &str) -> Self {
        Self {
            hierarchy,
            path: hierarchy.mount_point.join(path),
        }
    }

    /// Whether it has the file `name`.
    pub fn has(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    /// The whole content of the file `name`.
    pub fn read(&self, name: &str) -> Result<String, CgroupError> {
        read(&self.path.join(name))
    }

    /// Writes `value` to the file `name` in one call, as cgroup files need it.
    pub fn write(&self, name: &str, value: &str) -> Result<(), CgroupError> {
        write(&self.path.join(name), value)
    }

    /// Opens the directory itself.
    pub fn open(&self) -> Result<OwnedFd, CgroupError> {
        OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY)
            .open(&self.path)
            .map(OwnedFd::from)
            .map_err(|cause| CgroupError::io("open", &self.path, cause))
    }

    /// The directory and all below it, parents first.
    pub fn tree(&self) -> Result<Vec<PathBuf>, CgroupError> {
        let mut found = Vec::new();
        walk(&self.path, DEPTH_MAX, &mut found)?;
        Ok(found)
    }
}

fn walk(path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), CgroupError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(cause) if gone(&cause) => return Ok(()),
        Err(cause) => return Err(CgroupError::io("list", path, cause)),
    };
    found.push(path.to_owned());
    if depth == 0 {
        return Ok(());
    }
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(cause) if gone(&cause) => break,
            Err(cause) => return Err(CgroupError::io("list", path, cause)),
        };
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), depth - 1, found)?;
        }
    }
    Ok(())
}

/// Whether an error means that the cgroup was removed meanwhile.
pub fn gone(cause: &io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

/// Reads a whole file of a cgroup file system.
pub fn read(path: &Path) -> Result<String, CgroupError> {
    let mut text = String::new();
    // These files have no size to be asked for; a limit keeps the library from asking.
    File::open(path)
        .and_then(|file| file.take(FILE_MAX).read_to_string(&mut text))
        .map_err(|cause| CgroupError::io("read", path, cause))?;
    Ok(text)
}

/// Writes a file of a cgroup file system in one call, without creating it.
pub fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|cause| CgroupError::io(format!("write {value:?} to"), path, cause))
}

/// Removes one directory. `false` when it wasn't there.
pub fn rmdir(path: &Path) -> io::Result<bool> {
    match fs::remove_dir(path) {
        Ok(()) => Ok(true),
        Err(cause) if gone(&cause) => Ok(false),
        Err(cause) => Err(cause),
    }
}

/// A path for a system call.
pub fn c_path(path: &Path) -> Result<CString, CgroupError> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| CgroupError::io("use", path, io::Error::from_raw_os_error(libc::EINVAL)))
}
