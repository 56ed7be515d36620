//! Looks files up in a stack of layers as overlayfs would show them, without mounting anything.
//!
//! Every step opens one name in one directory without following links, so nothing outside the layers
//! can be reached.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

/// As many symbolic links as the kernel follows for one path.
const MAX_LINKS: usize = 40;

/// The layers of an image, the topmost first.
pub(crate) struct Stack {
    roots: Merged,
}

/// A directory as the layers that have it, by number, the topmost first.
pub(crate) type Merged = Vec<(usize, Rc<OwnedFd>)>;

/// What a path or name stands for.
pub(crate) enum Found {
    Nothing,
    Directory(Merged),
    Other(OwnedFd, FileStat),
}

impl Stack {
    pub(crate) fn open(layers: &[PathBuf]) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let roots = layers.iter().enumerate().map(|(number, path)| {
            open(path, flags, Mode::empty())
                .map(|fd| (number, Rc::new(fd)))
                .map_err(io::Error::from)
        });
        Ok(Self {
            roots: roots.collect::<io::Result<_>>()?,
        })
    }

    /// The content of a regular file of at most `limit` bytes; symbolic links are followed within the
    /// image. `None` when there is no such file; the error is one sentence.
    pub(crate) fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, String> {
        let describe =
            |error: &dyn std::fmt::Display| format!("{path} of the image cannot be read: {error}");
        let (fd, status) = match self.resolve(Path::new(path)).map_err(|e| describe(&e))? {
            Found::Nothing => return Ok(None),
            Found::Other(fd, status) if kind(&status) == SFlag::S_IFREG => (fd, status),
            _ => return Err(format!("{path} of the image is not a regular file")),
        };
        let too_large = || format!("{path} of the image is larger than {limit} bytes");
        if u64::try_from(status.st_size).unwrap_or(u64::MAX) > limit {
            return Err(too_large());
        }
        let mut content = Vec::new();
        std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(by_fd(&fd))
            .and_then(|file: File| file.take(limit + 1).read_to_end(&mut content))
            .map_err(|e| describe(&e))?;
        if content.len() as u64 > limit {
            Err(too_large())
        } else {
            Ok(Some(content))
        }
    }

    /// Which layers have the directory at `path` (relative, no links), the topmost first. Layers below an
    /// opaque directory are listed when only the last component is opaque: its attributes may be theirs.
    pub(crate) fn directories(&self, path: &Path) -> io::Result<Vec<(usize, Rc<OwnedFd>)>> {
        let mut current = self.roots.clone();
        let mut names = path.iter().peekable();
        while let Some(name) = names.next() {
            match lookup(&current, name, names.peek().is_none())? {
                Found::Directory(merged) => current = merged,
                Found::Nothing | Found::Other(..) => return Ok(Vec::new()),
            }
        }
        Ok(current)
    }

    /// What is at `path` in the image, symbolic links followed within the image.
    pub(crate) fn resolve(&self, path: &Path) -> io::Result<Found> {
        let mut todo: VecDeque<OsString> = VecDeque::new();
        prepend(&mut todo, path);
        let mut parents: Vec<Merged> = Vec::new();
        let mut current = self.roots.clone();
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                // The root's parent is the root.
                current = parents.pop().unwrap_or_else(|| self.roots.clone());
                continue;
            }
            match lookup(&current, &name, false)? {
                Found::Nothing => return Ok(Found::Nothing),
                Found::Directory(merged) => parents.push(std::mem::replace(&mut current, merged)),
                Found::Other(fd, status) if kind(&status) == SFlag::S_IFLNK => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::ELOOP.into());
                    }
                    let target = PathBuf::from(readlinkat(&fd, "")?);
                    if target.is_absolute() {
                        parents.clear();
                        current = self.roots.clone();
                    }
                    prepend(&mut todo, &target);
                }
                Found::Other(..) if !todo.is_empty() => return Ok(Found::Nothing),
                other => return Ok(other),
            }
        }
        Ok(Found::Directory(current))
    }
}

fn prepend(todo: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => todo.push_front(name.to_owned()),
            Component::ParentDir => todo.push_front("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
}

/// One name in a merged directory (kernel documentation, overlayfs: upper hides lower, directories
/// merge, whiteouts and opaque directories end the search).
pub(crate) fn lookup(directory: &Merged, name: &OsStr, through_opaque: bool) -> io::Result<Found> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut merged: Merged = Vec::new();
    for (number, parent) in directory {
        let fd = match openat(parent.as_ref(), name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        let status = fstat(&fd)?;
        if kind(&status) != SFlag::S_IFDIR {
            if merged.is_empty() && !(kind(&status) == SFlag::S_IFCHR && status.st_rdev == 0) {
                return Ok(Found::Other(fd, status));
            }
            break;
        }
        let opaque = is_opaque(&fd);
        merged.push((*number, Rc::new(fd)));
        if opaque && !through_opaque {
            break;
        }
    }
    Ok(if merged.is_empty() {
        Found::Nothing
    } else {
        Found::Directory(merged)
    })
}

/// All names in a merged directory, those of whiteouts among them: [`lookup`] finds nothing there.
pub(crate) fn names(directory: &Merged) -> io::Result<BTreeSet<OsString>> {
    let mut names = BTreeSet::new();
    for (_, fd) in directory {
        for entry in std::fs::read_dir(by_fd(fd))? {
            names.insert(entry?.file_name());
        }
    }
    Ok(names)
}

fn is_opaque(fd: &OwnedFd) -> bool {
    let mut value = [0; 2];
    // Absent, or not supported by the file system: not opaque either way.
    rustix::fs::getxattr(by_fd(fd), "trusted.overlay.opaque", &mut value)
        .is_ok_and(|length| &value[..length] == b"y")
}

/// A path to what an `O_PATH` descriptor stands for.
pub(crate) fn by_fd(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// The type of a file.
pub(crate) fn kind(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, Instant};
    use tempfile::TempDir;

    fn layers(count: usize) -> (TempDir, Vec<PathBuf>) {
        let top = TempDir::new().unwrap();
        let paths: Vec<_> = (0..count).map(|n| top.path().join(n.to_string())).collect();
        for path in &paths {
            fs::create_dir_all(path.join("etc")).unwrap();
        }
        (top, paths)
    }

    fn whiteout(path: PathBuf) {
        let device = nix::sys::stat::makedev(0, 0);
        nix::sys::stat::mknod(&path, SFlag::S_IFCHR, Mode::empty(), device).unwrap();
    }

    fn read(paths: &[PathBuf]) -> Result<Option<Vec<u8>>, String> {
        Stack::open(paths).unwrap().read("/etc/passwd", 1 << 20)
    }

    #[test]
    fn layers_hide_and_merge() {
        let (_top, paths) = layers(3);
        assert_eq!(read(&paths), Ok(None));
        fs::write(paths[2].join("etc/passwd"), "lowest").unwrap();
        assert_eq!(read(&paths), Ok(Some(b"lowest".to_vec())));
        whiteout(paths[1].join("etc/passwd"));
        assert_eq!(read(&paths), Ok(None));
        symlink("../usr/passwd", paths[0].join("etc/passwd")).unwrap();
        assert_eq!(read(&paths), Ok(None));
        fs::create_dir(paths[2].join("usr")).unwrap();
        fs::write(paths[2].join("usr/passwd"), "linked").unwrap();
        assert_eq!(read(&paths), Ok(Some(b"linked".to_vec())));
        fs::create_dir(paths[1].join("usr")).unwrap();
        let opaque = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(paths[1].join("usr"), "trusted.overlay.opaque", b"y", opaque).unwrap();
        assert_eq!(read(&paths), Ok(None));
        let usr = |path: &str| {
            let found = Stack::open(&paths)
                .unwrap()
                .directories(Path::new(path))
                .unwrap();
            found
                .into_iter()
                .map(|(number, _)| number)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (usr("usr"), usr("etc"), usr("usr/x")),
            (vec![1, 2], vec![0, 1, 2], vec![])
        );
    }

    #[test]
    fn c14_passwd_of_any_other_kind_is_refused_at_once() {
        let start = Instant::now();
        let (top, paths) = layers(1);
        let passwd = paths[0].join("etc/passwd");
        let outside = top.path().join("secret");
        fs::write(&outside, "host").unwrap();
        for target in [
            outside.to_str().unwrap(),
            "../../secret",
            "../../../../../../../../etc/passwd",
        ] {
            symlink(target, &passwd).unwrap();
            // The last leads to itself within the image, the others to nothing.
            assert!(matches!(read(&paths), Ok(None) | Err(_)), "{target}");
            fs::remove_file(&passwd).unwrap();
        }
        symlink("passwd", &passwd).unwrap();
        assert!(read(&paths).is_err());
        fs::remove_file(&passwd).unwrap();
        nix::unistd::mkfifo(&passwd, Mode::S_IRUSR).unwrap();
        assert!(read(&paths).unwrap_err().contains("not a regular file"));
        fs::remove_file(&passwd).unwrap();
        let zero = nix::sys::stat::makedev(1, 5);
        nix::sys::stat::mknod(&passwd, SFlag::S_IFCHR, Mode::S_IRUSR, zero).unwrap();
        assert!(read(&paths).unwrap_err().contains("not a regular file"));
        fs::remove_file(&passwd).unwrap();
        File::create(&passwd).unwrap().set_len(1 << 30).unwrap();
        assert!(read(&paths).unwrap_err().contains("larger than"));
        fs::remove_file(&passwd).unwrap();
        fs::create_dir(&passwd).unwrap();
        assert!(read(&paths).is_err());
        // Not a measurement: reading /dev/zero or the FIFO would never end.
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}
