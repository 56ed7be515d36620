//! Finding and removing the mounts below a directory.

use std::ffi::OsString;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::mount::{MntFlags, umount2};

use super::beneath::{open_beneath, open_dir};
use super::error::VolumeError;

/// The mounts of the calling thread's mount namespace.
const TABLE: &str = "/proc/thread-self/mountinfo";

/// How long an unmounting that finds the mount in use is tried again: a process that is just ending, mostly. The
/// pauses double.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const ATTEMPTS: u32 = 9;

/// The mount points at and below a directory, deepest first.
pub(super) fn below(dir: &Path) -> Result<Vec<PathBuf>, VolumeError> {
    let table = Path::new(TABLE);
    let text = fs::read(table).map_err(|e| VolumeError::file("read", table, e))?;
    let mut found: Vec<PathBuf> = text
        .split(|&b| b == b'\n')
        .filter_map(mount_point)
        .filter(|path| path.starts_with(dir))
        .collect();
    // Of those on one place, the one mounted last lies on top.
    found.reverse();
    found.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    Ok(found)
}

/// The fifth field of a line of the table, in which blanks and such are written in octal.
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|&b| b == b' ').nth(4)?;
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let octal = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match octal {
            Some(byte) => {
                path.push(byte);
                rest = &tail[3..];
            }
            None => {
                path.push(*first);
                rest = tail;
            }
        }
    }
    Some(PathBuf::from(OsString::from_vec(path)))
}

/// Unmounts everything at and below a directory of ours, whoever mounted it.
pub(super) fn unmount_below(dir: &Path) -> Result<(), VolumeError> {
    for path in below(dir)? {
        unmount(dir, &path)?;
    }
    Ok(())
}

/// Unmounts what is mounted at a path at or below a directory of ours. No error when nothing is.
pub(super) fn unmount(dir: &Path, path: &Path) -> Result<(), VolumeError> {
    let mut pause = FIRST_PAUSE;
    for _ in 0..ATTEMPTS {
        match try_unmount(dir, path) {
            // Not mounted, or not there.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(Errno::EBUSY) => {
                std::thread::sleep(pause);
                pause *= 2;
            }
            Err(error) => return Err(VolumeError::file("unmount", path, error)),
        }
    }
    Err(VolumeError::Busy {
        path: path.to_owned(),
    })
}

/// On the way to a mount point within a volume, a directory may have become a symbolic link to elsewhere. So the parent
/// is opened first, through none, and the mount point named in it.
fn try_unmount(dir: &Path, path: &Path) -> nix::Result<()> {
    let within = path.strip_prefix(dir).unwrap_or(Path::new(""));
    let (Some(name), Some(parent)) = (within.file_name(), within.parent()) else {
        // The directory itself, which is ours and so is the way to it.
        return umount2(path, MntFlags::UMOUNT_NOFOLLOW);
    };
    let root = open_dir(dir)?;
    let parent = match parent.as_os_str().is_empty() {
        true => root,
        false => open_beneath(
            root,
            parent,
            OFlag::O_PATH | OFlag::O_DIRECTORY,
            ResolveFlag::RESOLVE_NO_SYMLINKS,
        )?,
    };
    let path = Path::new("/proc/self/fd")
        .join(parent.as_raw_fd().to_string())
        .join(name);
    umount2(&path, MntFlags::UMOUNT_NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_escapes() {
        let line = br"36 35 98:0 /m /a\040b\134c\011 rw,noatime shared:1 - ext4 /dev/root rw";
        assert_eq!(mount_point(line).unwrap(), Path::new("/a b\\c\t"));
        let line = br"36 35 98:0 / /a\04 rw";
        assert_eq!(mount_point(line).unwrap(), Path::new(r"/a\04"));
        assert_eq!(mount_point(b"36 35"), None);
        assert_eq!(mount_point(b""), None);
    }

    #[test]
    fn the_machines_own_table_is_read() {
        assert!(
            below(Path::new("/"))
                .unwrap()
                .contains(&PathBuf::from("/proc"))
        );
        assert!(below(Path::new("/no/such/place")).unwrap().is_empty());
    }
}
