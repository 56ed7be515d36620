//! Copies extended attributes.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{XattrFlags, getxattr, listxattr, lsetxattr};

/// The kernel's limit, for a list of names as for a value.
const MAX: usize = 64 << 10;

/// Names of extended attributes other than overlayfs's own. `path` may be one of `/proc/self/fd`.
pub(crate) fn names(path: &Path) -> io::Result<Vec<OsString>> {
    let mut buffer = vec![0; MAX];
    let length = match listxattr(path, &mut buffer[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let names = buffer[..length].split(|b| *b == 0);
    Ok(names
        .filter(|name| !name.is_empty() && !name.starts_with(b"trusted."))
        .map(|name| OsStr::from_bytes(name).to_owned())
        .collect())
}

/// Gives `to` (itself, should it be a symbolic link) an attribute of `from`.
pub(crate) fn copy(from: &Path, to: &Path, name: &OsStr) -> io::Result<()> {
    let mut buffer = vec![0; MAX];
    let length = getxattr(from, name, &mut buffer[..])?;
    lsetxattr(to, name, &buffer[..length], XattrFlags::empty())?;
    Ok(())
}
