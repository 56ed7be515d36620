//! Makes files, directories, links, nodes and whiteouts out of a layer's entries.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat, makedev, mkdirat, mknodat};
use nix::unistd::{linkat, symlinkat};

use super::error::LayerError;
use super::metadata::{self, regular};
use super::reader::{Entry, TarReader, damaged};
use super::tree::{Dir, Existing, Tree, is_directory, make_opaque};

const WHITEOUT: &[u8] = b".wh.";
const WHITEOUT_META: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const MAX_PATH: usize = 4096;

/// The work on one layer.
pub(super) struct Applier {
    tree: Tree,
    /// Times of directories, set last since making their content changes them.
    times: BTreeMap<PathBuf, (i64, u32)>,
    /// The whole layer hides what is below it.
    opaque_root: bool,
    buffer: Vec<u8>,
}

/// What must be known of a layer besides its files.
pub(super) struct Applied {
    pub implicit: Vec<PathBuf>,
    pub opaque_root: bool,
}

impl Applier {
    pub(super) fn new(root: &Path) -> Result<Self, LayerError> {
        Ok(Self {
            tree: Tree::open(root)?,
            times: BTreeMap::new(),
            opaque_root: false,
            buffer: vec![0; 128 << 10],
        })
    }

    /// Directories made so far that are no entries.
    pub(super) fn made(&self) -> u64 {
        self.tree.made
    }

    /// Makes one entry, reading its data from `reader`.
    pub(super) fn entry(
        &mut self,
        entry: &mut Entry,
        reader: &mut TarReader<impl Read>,
    ) -> Result<(), LayerError> {
        let path = clean(&entry.path)?;
        // Pre-POSIX archives write directories as files whose name ends with a slash.
        if regular(entry.kind) && entry.path.ends_with(b"/") {
            entry.kind = tar::EntryType::Directory;
        }
        // The root's attributes are those of the container's writable layer, as with containerd.
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return if entry.kind.is_dir() {
                Ok(())
            } else {
                Err(LayerError::entry(
                    &entry.path,
                    "only a directory can be the root",
                ))
            };
        };
        let bytes = name.as_bytes();
        if bytes == OPAQUE {
            return self.opaque(parent, &entry.path);
        }
        // Left by aufs; means nothing to anyone else.
        if path
            .iter()
            .any(|part| part.as_bytes().starts_with(WHITEOUT_META))
        {
            return Ok(());
        }
        let dir = self.tree.directory(parent, &entry.path)?;
        if let Some(hidden) = bytes.strip_prefix(WHITEOUT) {
            return self.whiteout(&dir, hidden, entry);
        }
        self.make(&dir, name, entry, reader)
    }

    fn make(
        &mut self,
        dir: &Dir,
        name: &OsStr,
        entry: &Entry,
        reader: &mut TarReader<impl Read>,
    ) -> Result<(), LayerError> {
        metadata::owner(entry)?;
        let existing = self
            .tree
            .clear(dir, name, entry.kind.is_dir(), &entry.path)?;
        let real = dir.real.join(name);
        let failed = |action, error: Errno| LayerError::io(action, &entry.path, error);
        if entry.kind.is_dir() {
            if !matches!(existing, Existing::Directory) {
                mkdirat(&dir.fd, name, Mode::S_IRWXU).map_err(|e| failed("create", e))?;
                if self.tree.hidden.remove(&real) {
                    make_opaque(dir, name, &entry.path)?;
                }
            }
            self.tree.implicit.remove(&real);
            self.times.insert(real, entry.mtime);
        } else if regular(entry.kind) {
            self.file(dir, name, entry, reader)?;
        } else if entry.kind.is_hard_link() {
            // Everything else about it belongs to the file that it links to.
            return self.hard_link(dir, name, entry);
        } else if entry.kind.is_symlink() {
            if entry.link.is_empty() || entry.link.len() >= MAX_PATH || entry.link.contains(&0) {
                return Err(LayerError::entry(
                    &entry.path,
                    "its link target is not a path",
                ));
            }
            symlinkat(OsStr::from_bytes(&entry.link), &dir.fd, name)
                .map_err(|e| failed("create", e))?;
        } else {
            let kind = match entry.kind {
                tar::EntryType::Char => SFlag::S_IFCHR,
                tar::EntryType::Block => SFlag::S_IFBLK,
                tar::EntryType::Fifo => SFlag::S_IFIFO,
                other => {
                    let reason = format!(
                        "entries of type {:?} are not supported",
                        char::from(other.as_byte())
                    );
                    return Err(LayerError::entry(&entry.path, reason));
                }
            };
            let device = makedev(entry.device.0.into(), entry.device.1.into());
            mknodat(&dir.fd, name, kind, Mode::S_IRUSR, device).map_err(|e| failed("create", e))?;
        }
        metadata::apply(dir, name, entry)
    }

    fn file(
        &mut self,
        dir: &Dir,
        name: &OsStr,
        entry: &Entry,
        reader: &mut TarReader<impl Read>,
    ) -> Result<(), LayerError> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&dir.fd, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(|e| LayerError::io("create", &entry.path, e))?;
        let mut file = File::from(fd);
        let failed = |error| LayerError::io("write", &entry.path, error);
        if let Some(map) = &entry.sparse {
            for segment in &map.segments {
                file.seek(SeekFrom::Start(segment.offset)).map_err(failed)?;
                self.copy(&mut reader.take(segment.length), &mut file, entry)?;
            }
            file.set_len(map.real_size).map_err(failed)
        } else {
            self.copy(reader, &mut file, entry)
        }
    }

    fn copy(
        &mut self,
        from: &mut impl Read,
        to: &mut File,
        entry: &Entry,
    ) -> Result<(), LayerError> {
        loop {
            match from.read(&mut self.buffer).map_err(damaged)? {
                0 => return Ok(()),
                count => to
                    .write_all(&self.buffer[..count])
                    .map_err(|e| LayerError::io("write", &entry.path, e))?,
            }
        }
    }

    fn hard_link(&mut self, dir: &Dir, name: &OsStr, entry: &Entry) -> Result<(), LayerError> {
        let outside = |_| LayerError::entry(&entry.path, "its hard link leads out of the layer");
        let target = clean(&entry.link).map_err(outside)?;
        let missing =
            || LayerError::entry(&entry.path, "its hard link leads to nothing in this layer");
        let (Some(parent), Some(file)) = (target.parent(), target.file_name()) else {
            return Err(LayerError::entry(
                &entry.path,
                "its hard link leads to a directory",
            ));
        };
        let source = self
            .tree
            .resolve(parent, &entry.path)?
            .ok_or_else(missing)?;
        linkat(&source.fd, file, &dir.fd, name, AtFlags::empty()).map_err(|error| match error {
            Errno::ENOENT => missing(),
            Errno::EPERM => LayerError::entry(&entry.path, "its hard link leads to a directory"),
            error => LayerError::io("create", &entry.path, error),
        })
    }

    /// `.wh.NAME`: lower layers' NAME is gone. What this layer itself has there stays (OCI image
    /// specification, "whiteouts").
    fn whiteout(&mut self, dir: &Dir, name: &[u8], entry: &Entry) -> Result<(), LayerError> {
        if name.is_empty() || name == b"." || name == b".." {
            return Err(LayerError::entry(
                &entry.path,
                "it deletes nothing that can have a name",
            ));
        }
        let name = OsStr::from_bytes(name);
        match fstatat(&dir.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(status) if is_directory(&status) => make_opaque(dir, name, &entry.path),
            Ok(_) => Ok(()),
            Err(Errno::ENOENT) => {
                mknodat(&dir.fd, name, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0))
                    .map_err(|e| LayerError::io("create the whiteout", &entry.path, e))
            }
            Err(error) => Err(LayerError::io("look up", &entry.path, error)),
        }
    }

    fn opaque(&mut self, path: &Path, entry: &[u8]) -> Result<(), LayerError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            self.opaque_root = true;
            return Ok(());
        };
        // Makes the directory when only the marker tells of it, and refuses a marker within a symbolic link.
        self.tree.directory(path, entry)?;
        let dir = self.tree.directory(parent, entry)?;
        let status = fstatat(&dir.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(|e| LayerError::io("look up", entry, e))?;
        if !is_directory(&status) {
            return Err(LayerError::entry(
                entry,
                "it marks something that is not a directory",
            ));
        }
        make_opaque(&dir, name, entry)
    }

    /// Sets the times of directories and returns what else must be known.
    pub(super) fn finish(mut self) -> Result<Applied, LayerError> {
        for (path, mtime) in std::mem::take(&mut self.times) {
            let entry = path.as_os_str().as_bytes();
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                continue;
            };
            // What replaced a directory later has its own time.
            let Ok(Some(dir)) = self.tree.resolve(parent, entry) else {
                continue;
            };
            match fstatat(&dir.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(status) if is_directory(&status) => metadata::times(&dir, name, mtime, entry)?,
                _ => {}
            }
        }
        let implicit = self.tree.implicit.into_iter().collect();
        Ok(Applied {
            implicit,
            opaque_root: self.opaque_root,
        })
    }
}

/// The path below the layer's root: absolute names are taken as relative (ko's images have them), `..`
/// is refused.
fn clean(name: &[u8]) -> Result<PathBuf, LayerError> {
    let refuse = |reason: &str| Err(LayerError::entry(name, reason));
    if name.is_empty() {
        return refuse("it has no name");
    }
    if name.contains(&0) {
        return refuse("its name contains a NUL");
    }
    if name.len() >= MAX_PATH {
        return refuse("its name is longer than 4095 bytes");
    }
    let mut path = PathBuf::new();
    for part in name.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return refuse("its name or link leads out of the layer through '..'"),
            part => path.push(OsString::from_vec(part.to_vec())),
        }
    }
    Ok(path)
}
