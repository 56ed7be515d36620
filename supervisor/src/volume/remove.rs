//! Removing a directory with all that a container left in it, and nothing else.
//!
//! Every step is relative to an open directory, follows no symbolic link and crosses no mount point (a bind mount of the
//! same device included), so whatever is swapped meanwhile, only what is really below the directory is removed. A
//! container may nest directories deeper than there are file descriptors or stack: from a certain depth on they are
//! moved up first.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::beneath::{open_child, open_dir};
use super::error::VolumeError;

/// How deep one walk goes.
const DEPTH: usize = 64;

/// Removes a file or a directory with its content. No error when there is none; [`VolumeError::Mounted`], with all that
/// is behind the mount untouched, when something is mounted there or below.
pub fn remove_tree(path: &Path) -> Result<(), VolumeError> {
    let failed = |error: Errno| VolumeError::file("remove", path, error);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().map(Path::new)) else {
        return Err(failed(Errno::EINVAL));
    };
    let parent = match open_dir(parent) {
        Ok(parent) => parent,
        Err(Errno::ENOENT) => return Ok(()),
        Err(error) => return Err(VolumeError::file("open", parent, error)),
    };
    let stat = match fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::ENOENT) => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR {
        let top = open_child(&parent, name).map_err(|e| refused(e, path))?;
        let mut walk = Walk {
            top: top.as_fd(),
            moved: 0,
        };
        while walk.empty(&top, path, 0)? {}
        unlinkat(&parent, name, UnlinkatFlags::RemoveDir).map_err(|e| refused(e, path))
    } else {
        unlinkat(&parent, name, UnlinkatFlags::NoRemoveDir).map_err(|e| refused(e, path))
    }
}

/// The error of an operation on something that may be a mount point.
fn refused(error: Errno, path: &Path) -> VolumeError {
    match error {
        Errno::EXDEV | Errno::EBUSY => VolumeError::Mounted {
            path: path.to_owned(),
        },
        other => VolumeError::file("remove", path, other),
    }
}

struct Walk<'a> {
    top: BorrowedFd<'a>,
    moved: u64,
}

impl Walk<'_> {
    /// Removes what is in an open directory. True when something was there: then more may have come meanwhile, by
    /// moving or otherwise.
    fn empty(&mut self, dir: &OwnedFd, path: &Path, depth: usize) -> Result<bool, VolumeError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut entries = openat(dir, ".", flags, Mode::empty())
            .and_then(Dir::from_fd)
            .map_err(|e| VolumeError::file("read", path, e))?;
        let mut found = false;
        for entry in entries.iter() {
            let entry = entry.map_err(|e| VolumeError::file("read", path, e))?;
            let name = Path::new(OsStr::from_bytes(entry.file_name().to_bytes()));
            if name == Path::new(".") || name == Path::new("..") {
                continue;
            }
            found = true;
            self.remove(dir, name, &path.join(name), depth)?;
        }
        Ok(found)
    }

    fn remove(
        &mut self,
        dir: &OwnedFd,
        name: &Path,
        path: &Path,
        depth: usize,
    ) -> Result<(), VolumeError> {
        match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EISDIR) => {}
            Err(error) => return Err(refused(error, path)),
        }
        if depth >= DEPTH {
            return self.move_up(dir, name, path);
        }
        let child = match open_child(dir, name) {
            Ok(child) => child,
            // It is gone, or something else by now: the next look into the directory tells.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
            Err(error) => return Err(refused(error, path)),
        };
        while self.empty(&child, path, depth + 1)? {}
        match unlinkat(dir, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT | Errno::ENOTEMPTY | Errno::ENOTDIR) => Ok(()),
            Err(error) => Err(refused(error, path)),
        }
    }

    /// Moves a directory into the topmost, under a name that nothing there has.
    fn move_up(&mut self, dir: &OwnedFd, name: &Path, path: &Path) -> Result<(), VolumeError> {
        loop {
            let new = PathBuf::from(format!(".carob-removing-{}", self.moved));
            self.moved += 1;
            // An empty directory of that name is replaced; one that is not makes another name necessary.
            match renameat(dir, name, self.top, &new) {
                Ok(()) | Err(Errno::ENOENT) => return Ok(()),
                Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR) => {}
                Err(error) => return Err(refused(error, path)),
            }
        }
    }
}
