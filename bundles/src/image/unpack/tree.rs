//! The directory that a layer is unpacked into: finds the directory of each entry without ever leaving it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use pathrs::error::ErrorKind;
use pathrs::flags::ResolverFlags;
use pathrs::{Root, RootRef};

use super::error::LayerError;

/// A directory within the tree, held open.
#[derive(Clone)]
pub(super) struct Dir {
    pub fd: Rc<OwnedFd>,
    /// Where it is below the root, symbolic links resolved.
    pub real: PathBuf,
}

/// The root of a layer that is being unpacked. Nobody else writes below it.
pub(super) struct Tree {
    root: Root,
    real_root: PathBuf,
    /// The directory of the last entry: archives list directories one after the other.
    last: Option<(PathBuf, Dir)>,
    /// Directories that no entry of the layer describes: their attributes come from the layers below.
    pub implicit: BTreeSet<PathBuf>,
    /// What entries of this layer have deleted or replaced: a directory made there later must not show
    /// what lower layers have at its place.
    pub hidden: BTreeSet<PathBuf>,
    /// How many directories were made that have no entry of their own.
    pub made: u64,
}

const LEADS_OUT: &str = "its path goes through a symbolic link that leads out of the layer";

enum Lookup {
    Found(Dir),
    Missing,
    NotADirectory,
}

/// What was at an entry's place before.
pub(super) enum Existing {
    Nothing,
    Directory,
    Other,
}

impl Tree {
    pub(super) fn open(path: &Path) -> Result<Self, LayerError> {
        let failed = |error: io::Error| LayerError::io("open", path.as_os_str().as_bytes(), error);
        let root = Root::open(path).map_err(|e| failed(io::Error::other(e)))?;
        let real_root = path.canonicalize().map_err(failed)?;
        Ok(Self {
            root,
            real_root,
            last: None,
            implicit: BTreeSet::new(),
            hidden: BTreeSet::new(),
            made: 0,
        })
    }

    /// Opens the directory `path` (clean, relative), making what is missing with mode 0755.
    pub(super) fn directory(&mut self, path: &Path, entry: &[u8]) -> Result<Dir, LayerError> {
        if let Some((last, dir)) = &self.last
            && last == path
        {
            return Ok(dir.clone());
        }
        let dir = self.open_or_make(path, entry)?;
        self.last = Some((path.to_owned(), dir.clone()));
        Ok(dir)
    }

    fn open_or_make(&mut self, path: &Path, entry: &[u8]) -> Result<Dir, LayerError> {
        match self.lookup(path, entry)? {
            Lookup::Found(dir) => return Ok(dir),
            Lookup::Missing | Lookup::NotADirectory => {}
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(LayerError::entry(entry, "the layer's root has vanished"));
        };
        let parent = self.open_or_make(parent, entry)?;
        let real = parent.real.join(name);
        let failed = |error: Errno| LayerError::io("create the directory of", entry, error);
        match fstatat(&parent.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => {}
            // This layer deleted what lower layers have here, and now puts a new directory in its place.
            Ok(status) if is_whiteout(&status) => {
                unlinkat(&parent.fd, name, UnlinkatFlags::NoRemoveDir).map_err(failed)?;
                self.hidden.insert(real.clone());
            }
            Ok(_) => {
                return Err(LayerError::entry(
                    entry,
                    "a part of its path is not a directory",
                ));
            }
            Err(error) => return Err(failed(error)),
        }
        mkdirat(&parent.fd, name, Mode::S_IRWXU).map_err(failed)?;
        self.made += 1;
        // Not left to mkdir: the umask of whoever runs this must not matter.
        let mode = Mode::from_bits_truncate(0o755);
        fchmodat(&parent.fd, name, mode, FchmodatFlags::FollowSymlink).map_err(failed)?;
        if self.hidden.remove(&real) {
            // A new directory in the place of a deleted one: it takes no attributes from below either.
            make_opaque(&parent, name, entry)?;
        } else {
            self.implicit.insert(real);
        }
        match self.lookup(path, entry)? {
            Lookup::Found(dir) => Ok(dir),
            Lookup::Missing | Lookup::NotADirectory => {
                Err(LayerError::entry(entry, "its directory has vanished"))
            }
        }
    }

    /// Opens a directory if it is there.
    pub(super) fn resolve(&self, path: &Path, entry: &[u8]) -> Result<Option<Dir>, LayerError> {
        match self.lookup(path, entry)? {
            Lookup::Found(dir) => Ok(Some(dir)),
            Lookup::Missing | Lookup::NotADirectory => Ok(None),
        }
    }

    /// Symbolic links are followed as long as they stay within the layer.
    fn lookup(&self, path: &Path, entry: &[u8]) -> Result<Lookup, LayerError> {
        let search = if path.as_os_str().is_empty() {
            Path::new("/")
        } else {
            path
        };
        let strict =
            RootRef::from_fd(self.root.as_fd()).with_resolver_flags(ResolverFlags::NO_SYMLINKS);
        let (found, linked) = match strict.resolve(search) {
            Err(error) if error.kind() == ErrorKind::OsError(Some(nix::libc::ELOOP)) => {
                if self.leads_out(path) {
                    return Err(LayerError::entry(entry, LEADS_OUT));
                }
                (self.root.resolve(search), true)
            }
            found => (found, false),
        };
        let fd = match found {
            Ok(handle) => OwnedFd::from(handle),
            Err(error) => match error.kind() {
                ErrorKind::OsError(Some(nix::libc::ENOENT)) => return Ok(Lookup::Missing),
                ErrorKind::OsError(Some(nix::libc::ENOTDIR)) => return Ok(Lookup::NotADirectory),
                ErrorKind::OsError(Some(nix::libc::ELOOP)) => {
                    return Err(LayerError::entry(
                        entry,
                        "its path goes through a loop of symbolic links",
                    ));
                }
                _ => {
                    return Err(LayerError::io(
                        "open the directory of",
                        entry,
                        io::Error::other(error),
                    ));
                }
            },
        };
        let status = fstat(&fd).map_err(|e| LayerError::io("open the directory of", entry, e))?;
        if !is_directory(&status) {
            return Ok(Lookup::NotADirectory);
        }
        let real = if linked {
            self.real_path(&fd, entry)?
        } else {
            path.to_owned()
        };
        Ok(Lookup::Found(Dir {
            fd: Rc::new(fd),
            real,
        }))
    }

    /// Whether the kernel, not pretending that the layer is `/`, would leave it on the way to `path`.
    fn leads_out(&self, path: &Path) -> bool {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        matches!(openat2(&self.root, path, how), Err(Errno::EXDEV))
    }

    fn real_path(&self, fd: &OwnedFd, entry: &[u8]) -> Result<PathBuf, LayerError> {
        let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let path = std::fs::read_link(link).map_err(|e| LayerError::io("resolve", entry, e))?;
        path.strip_prefix(&self.real_root)
            .map(Path::to_owned)
            .map_err(|_| LayerError::entry(entry, LEADS_OUT))
    }

    /// Makes room for an entry. A directory stays when the new entry is one too.
    pub(super) fn clear(
        &mut self,
        dir: &Dir,
        name: &OsStr,
        keep_directory: bool,
        entry: &[u8],
    ) -> Result<Existing, LayerError> {
        let status = match fstatat(&dir.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(status) => status,
            Err(Errno::ENOENT) => return Ok(Existing::Nothing),
            Err(error) => return Err(LayerError::io("look up", entry, error)),
        };
        let removed = |error| LayerError::io("replace", entry, error);
        if !is_directory(&status) {
            unlinkat(&dir.fd, name, UnlinkatFlags::NoRemoveDir).map_err(|e| removed(e.into()))?;
            self.hidden.insert(dir.real.join(name));
            return Ok(Existing::Other);
        }
        if keep_directory {
            return Ok(Existing::Directory);
        }
        self.last = None;
        RootRef::from_fd(dir.fd.as_fd())
            .remove_all(name)
            .map_err(|e| removed(io::Error::other(e)))?;
        let real = dir.real.join(name);
        forget_below(&mut self.implicit, &real);
        forget_below(&mut self.hidden, &real);
        self.hidden.insert(real);
        Ok(Existing::Directory)
    }
}

/// Paths are ordered by component, so what is below one follows it at once.
fn forget_below(paths: &mut BTreeSet<PathBuf>, top: &Path) {
    let range = paths.range(top.to_owned()..);
    let gone: Vec<_> = range
        .take_while(|path| path.starts_with(top))
        .cloned()
        .collect();
    for path in gone {
        paths.remove(&path);
    }
}

pub(super) fn is_directory(status: &FileStat) -> bool {
    SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR
}

/// Overlayfs's own sign for "deleted": a character device 0/0.
pub(super) fn is_whiteout(status: &FileStat) -> bool {
    SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFCHR
        && status.st_rdev == 0
}

/// A path that reaches `name` in `dir` by descriptor, for calls without an `…at` form.
/// Nothing in it is followed but the kernel's own link to `dir`, if the call does not follow the last part.
pub(super) fn by_fd(dir: &Dir, name: &OsStr) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", dir.fd.as_raw_fd())).join(name)
}

/// Hides what lower layers have in this directory (kernel documentation, overlayfs, "whiteouts and opaque
/// directories").
pub(super) fn make_opaque(dir: &Dir, name: &OsStr, entry: &[u8]) -> Result<(), LayerError> {
    rustix::fs::lsetxattr(
        by_fd(dir, name),
        "trusted.overlay.opaque",
        b"y",
        rustix::fs::XattrFlags::empty(),
    )
    .map_err(|e| LayerError::io("hide the lower layers' content of", entry, e))
}
