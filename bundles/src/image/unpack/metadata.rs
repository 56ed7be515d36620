//! Owner, mode, extended attributes and times of an entry.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat};
use rustix::fs::{XattrFlags, lsetxattr};
use tar::EntryType;

use super::error::LayerError;
use super::reader::Entry;
use super::tree::{Dir, by_fd};

/// Gives the freshly made `name` in `dir` what the entry says of it.
///
/// The order matters: a change of owner clears set-user-ID bits and file capabilities.
pub(super) fn apply(dir: &Dir, name: &OsStr, entry: &Entry) -> Result<(), LayerError> {
    let path = &entry.path;
    let (uid, gid) = owner(entry)?;
    fchownat(
        &dir.fd,
        name,
        Some(uid),
        Some(gid),
        AtFlags::AT_SYMLINK_NOFOLLOW,
    )
    .map_err(|e| LayerError::io("set the owner of", path, e))?;
    if !entry.kind.is_symlink() {
        // `name` was made by us a moment ago and is no symbolic link; nobody else writes here.
        fchmodat(
            &dir.fd,
            name,
            Mode::from_bits_truncate(entry.mode),
            FchmodatFlags::FollowSymlink,
        )
        .map_err(|e| LayerError::io("set the mode of", path, e))?;
    }
    xattrs(dir, name, entry)?;
    if !entry.kind.is_dir() {
        times(dir, name, entry.mtime, path)?;
    }
    Ok(())
}

/// The entry's user and group.
pub(super) fn owner(entry: &Entry) -> Result<(Uid, Gid), LayerError> {
    // The largest number means "leave as it is" to the kernel.
    let id = |id: u64, what: &str| match u32::try_from(id) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(LayerError::entry(
            &entry.path,
            format!("its {what} {id} is beyond 4294967294"),
        )),
    };
    Ok((
        Uid::from_raw(id(entry.uid, "owner")?),
        Gid::from_raw(id(entry.gid, "group")?),
    ))
}

fn xattrs(dir: &Dir, name: &OsStr, entry: &Entry) -> Result<(), LayerError> {
    if entry.xattrs.is_empty() {
        return Ok(());
    }
    let path = by_fd(dir, name);
    for (key, value) in &entry.xattrs {
        // An image has no say in what overlayfs makes of the layer; containerd skips these too.
        if key.starts_with(b"trusted.") {
            continue;
        }
        match lsetxattr(&path, OsStr::from_bytes(key), value, XattrFlags::empty()) {
            Ok(()) => {}
            // Not every file system has every kind, and `user.` exists on files and directories only.
            Err(rustix::io::Errno::NOTSUP) => {
                tracing::debug!(entry = %super::error::show(&entry.path), "extended attribute not supported here");
            }
            Err(rustix::io::Errno::PERM)
                if key.starts_with(b"user.") && !entry.kind.is_dir() && !regular(entry.kind) => {}
            Err(error) => {
                return Err(LayerError::io(
                    "set an extended attribute of",
                    &entry.path,
                    error,
                ));
            }
        }
    }
    Ok(())
}

/// Sets access and modification time.
pub(super) fn times(
    dir: &Dir,
    name: &OsStr,
    (seconds, nanoseconds): (i64, u32),
    entry: &[u8],
) -> Result<(), LayerError> {
    let time = TimeSpec::new(seconds, i64::from(nanoseconds));
    match utimensat(&dir.fd, name, &time, &time, UtimensatFlags::NoFollowSymlink) {
        Ok(()) => Ok(()),
        Err(Errno::EINVAL) => Err(LayerError::entry(entry, "its time is impossible")),
        Err(error) => Err(LayerError::io("set the time of", entry, error)),
    }
}

pub(super) fn regular(kind: EntryType) -> bool {
    kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse()
}
