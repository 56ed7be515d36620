//! Copies a directory as an image shows it: what a volume that the image declares begins with.
//!
//! The source is looked up by [`merged`](super::merged) and so within the image only; in the copy everything is made
//! by descriptor of its directory and bare name, never through a link.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmodat, fstat, mkdirat, mknodat,
    utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, Whence, fchownat, linkat, lseek, symlinkat};

use super::error::{ImageError, IoContext, Result};
use super::merged::{Found, Merged, Stack, by_fd, kind, lookup, names};
use super::overlay::Image;
use super::unpack::Limits;
use super::xattrs;

/// Directories within each other; each holds descriptors while it is copied.
const MAX_DEPTH: usize = 128;

impl Image {
    /// Makes `target` a copy of the image's directory `path`, as containerd does for the volumes of an image
    /// (`pkg/cri/opts/container.go`, `WithVolumes`): owners, modes, times, extended attributes, links, nodes and holes are
    /// kept. Symbolic links on the way to `path` are followed within the image, those below it are copied.
    ///
    /// `target` must not exist, and nobody else may write to its parent. False, and nothing made, when the image has
    /// nothing at `path`. Blocks.
    ///
    /// # Errors
    /// When `path` is no directory, has more in it than `limits` (of entries and bytes) or 128 levels, or cannot be
    /// copied; what was copied till then is left for the caller to remove.
    pub fn copy_directory(&self, path: &str, target: &Path, limits: &Limits) -> Result<bool> {
        copy(&self.layers, path, target, limits)
    }
}

fn copy(layers: &[PathBuf], path: &str, target: &Path, limits: &Limits) -> Result<bool> {
    let source = Path::new(path);
    let stack = Stack::open(layers).at("open the layers for", source)?;
    let directory = match stack.resolve(source).at("look up", source)? {
        Found::Nothing => return Ok(false),
        Found::Directory(directory) => directory,
        Found::Other(..) => {
            return Err(ImageError::refused(
                format!("the volume {path:?} of the image"),
                "the image has something there that is not a directory",
            ));
        }
    };
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(Errno::EINVAL).at("create", target);
    };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut copier = Copier {
        base: openat(AT_FDCWD, parent, flags, Mode::empty()).at("open", parent)?,
        source,
        limits,
        entries: 0,
        bytes: 0,
        links: HashMap::new(),
    };
    let base = copier.base.try_clone().at("open", parent)?;
    copier.directory(
        &directory,
        &Place {
            dir: &base,
            name,
            path: PathBuf::from(name),
        },
    )?;
    Ok(true)
}

/// Where an entry of the copy is.
struct Place<'a> {
    dir: &'a OwnedFd,
    name: &'a OsStr,
    /// Below the base.
    path: PathBuf,
}

struct Copier<'a> {
    /// The directory that the copy is in.
    base: OwnedFd,
    /// For messages: the path in the image.
    source: &'a Path,
    limits: &'a Limits,
    entries: u64,
    bytes: u64,
    /// Files with several names, by device and inode: the place below the base that they were copied to.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Copier<'_> {
    fn directory(&mut self, source: &Merged, place: &Place<'_>) -> Result<()> {
        // The name in the base counts too.
        if place.path.iter().count() > MAX_DEPTH {
            return Err(self.exceeds(&format!("{MAX_DEPTH} directories within each other")));
        }
        let shown = self.shown(place);
        mkdirat(place.dir, place.name, Mode::S_IRWXU).at("create the copy of", &shown)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let dir =
            openat(place.dir, place.name, flags, Mode::empty()).at("open the copy of", &shown)?;
        for name in names(source).at("list", &shown)? {
            let found = lookup(source, &name, false).at("look up an entry of", &shown)?;
            if matches!(found, Found::Nothing) {
                continue;
            }
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(self.exceeds(&format!("{} entries", self.limits.entries)));
            }
            let place = Place {
                dir: &dir,
                name: &name,
                path: place.path.join(&name),
            };
            match found {
                Found::Nothing => {}
                Found::Directory(source) => self.directory(&source, &place)?,
                Found::Other(source, status) => self.other(&source, &status, &place)?,
            }
        }
        let status = source.first().map(|(_, top)| (top, fstat(top.as_ref())));
        if let Some((top, status)) = status {
            status
                .map_err(io::Error::from)
                .and_then(|status| attributes(top, &status, place))
                .at("set the attributes of the copy of", &shown)?;
        }
        Ok(())
    }

    fn other(&mut self, source: &OwnedFd, status: &FileStat, place: &Place<'_>) -> Result<()> {
        let shown = self.shown(place);
        if kind(status) == SFlag::S_IFREG {
            let inode = (status.st_dev, status.st_ino);
            if let Some(first) = self.links.get(&inode) {
                return linkat(&self.base, first, place.dir, place.name, AtFlags::empty())
                    .at("link the copy of", &shown);
            }
            if status.st_nlink > 1 {
                self.links.insert(inode, place.path.clone());
            }
            // Holes count: a later writer may fill them.
            let size = u64::try_from(status.st_size).unwrap_or(u64::MAX);
            self.bytes = self.bytes.saturating_add(size);
            if self.bytes > self.limits.bytes {
                return Err(self.exceeds(&format!("{} bytes", self.limits.bytes)));
            }
        }
        make(source, status, place)
            .and_then(|()| attributes(source, status, place))
            .at("copy", &shown)
    }

    fn shown(&self, place: &Place<'_>) -> PathBuf {
        let below = place.path.iter().skip(1);
        below.fold(self.source.to_owned(), |path, name| path.join(name))
    }

    fn exceeds(&self, limit: &str) -> ImageError {
        ImageError::refused(
            format!("the volume {:?} of the image", self.source),
            format!("it has more than {limit}"),
        )
    }
}

/// Makes what is no directory, with its content.
fn make(source: &OwnedFd, status: &FileStat, place: &Place<'_>) -> io::Result<()> {
    let (dir, name) = (place.dir, place.name);
    match kind(status) {
        SFlag::S_IFREG => return copy_file(source, place),
        SFlag::S_IFLNK => {
            let target: OsString = readlinkat(source, "")?;
            symlinkat(target.as_os_str(), dir, name)?;
        }
        kind => mknodat(dir, name, kind, Mode::S_IRUSR, status.st_rdev)?,
    }
    Ok(())
}

/// Copies the data of a regular file, not its holes.
fn copy_file(source: &OwnedFd, place: &Place<'_>) -> io::Result<()> {
    let mut from = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(by_fd(source))?;
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let mut to = File::from(openat(place.dir, place.name, flags, mode)?);
    let mut end = 0;
    loop {
        let start = match lseek(&from, end, Whence::SeekData) {
            Ok(start) => start,
            // No data behind this place.
            Err(Errno::ENXIO) => break,
            Err(error) => return Err(error.into()),
        };
        end = lseek(&from, start, Whence::SeekHole)?;
        let at = SeekFrom::Start(start.unsigned_abs());
        from.seek(at)?;
        to.seek(at)?;
        let length = end.abs_diff(start);
        let copied = io::copy(&mut Read::by_ref(&mut from).take(length), &mut to)?;
        if copied < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    to.set_len(from.metadata()?.len())
}

/// Gives the copy what the original has: a change of owner clears set-user-ID bits and file capabilities, so it comes
/// first.
fn attributes(source: &OwnedFd, status: &FileStat, place: &Place<'_>) -> io::Result<()> {
    let (dir, name) = (place.dir, place.name);
    let link = kind(status) == SFlag::S_IFLNK;
    let (uid, gid) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    fchownat(
        dir,
        name,
        Some(uid),
        Some(gid),
        AtFlags::AT_SYMLINK_NOFOLLOW,
    )?;
    if !link {
        // `name` was made by us a moment ago and is no symbolic link; nobody else writes here.
        let mode = Mode::from_bits_truncate(status.st_mode & 0o7777);
        fchmodat(dir, name, mode, FchmodatFlags::FollowSymlink)?;
    }
    let (from, to) = (by_fd(source), by_fd(dir).join(name));
    for attribute in xattrs::names(&from)? {
        // The label of a layer is not the label of a volume; containerd leaves it out too.
        if attribute != "security.selinux" {
            match xattrs::copy(&from, &to, &attribute) {
                // The directory's file system may have fewer kinds than the layers'.
                Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => {
                    tracing::debug!(?attribute, path = ?place.path, "extended attribute not supported here");
                }
                result => result?,
            }
        }
    }
    let accessed = TimeSpec::new(status.st_atime, status.st_atime_nsec);
    let modified = TimeSpec::new(status.st_mtime, status.st_mtime_nsec);
    utimensat(
        dir,
        name,
        &accessed,
        &modified,
        UtimensatFlags::NoFollowSymlink,
    )?;
    Ok(())
}

#[cfg(test)]
mod tests;
