//! `subPath`: one file or directory of a volume, whatever a container does to the volume meanwhile.
//!
//! A container that shares the volume may at any moment put a symbolic link to the host's files where a directory was
//! (CVE-2017-1002101, CVE-2021-25741). So the path is walked by the kernel beneath the volume (openat2), and what it
//! ends at is held open and bind-mounted by that descriptor to a place that no container reaches. The mount that the
//! container gets is made from there: nothing that is looked up by a path can be swapped.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, mkdirat, stat};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::beneath::{open_beneath, open_child, open_dir};
use super::error::VolumeError;
use super::mounts;

/// Why a sub-path cannot be used; the caller adds whose it is.
pub(super) enum Refused {
    /// In words.
    Reason(String),
    /// An error with a place of its own.
    Volume(VolumeError),
}

impl From<VolumeError> for Refused {
    fn from(error: VolumeError) -> Refused {
        Refused::Volume(error)
    }
}

/// Opens the sub-path of a volume, making the directories that are missing, and binds it to `target`, a path below `pod`.
/// Again with the same result it changes nothing.
pub(super) fn bind(
    volume: &Path,
    sub_path: &str,
    pod: &Path,
    target: &Path,
) -> Result<(), Refused> {
    let path = check(sub_path)?;
    let root = open_dir(volume).map_err(|e| VolumeError::file("open", volume, e))?;
    let source = open(&root, &path).map_err(|error| Refused::Reason(explain(error)))?;
    let source_stat = fstat(&source).map_err(|e| VolumeError::file("read", volume, e))?;
    if is_same(target, &source_stat) {
        return Ok(());
    }
    // Something else, from before: the container was restarted, and the sub-path is another by now.
    mounts::unmount(pod, target)?;
    make_target(target, &source_stat)?;
    attach(source, target)?;
    Ok(())
}

/// What Kubernetes takes for a `subPath` (and for what a `subPathExpr` expands to).
fn check(sub_path: &str) -> Result<PathBuf, Refused> {
    let refuse = |reason: &str| Err(Refused::Reason(reason.to_owned()));
    let path = Path::new(sub_path);
    if path.is_absolute() {
        return refuse("must be a relative path");
    }
    if path.components().any(|c| c == Component::ParentDir) {
        return refuse("must not contain '..'");
    }
    if sub_path.contains('\0') {
        return refuse("must not contain a zero byte");
    }
    let path: PathBuf = path
        .components()
        .filter(|c| matches!(c, Component::Normal(_)))
        .collect();
    if path.as_os_str().is_empty() {
        // "." is the volume itself.
        return Ok(PathBuf::from("."));
    }
    Ok(path)
}

fn open(root: &OwnedFd, path: &Path) -> nix::Result<OwnedFd> {
    let find = |path: &Path| open_beneath(root, path, OFlag::O_PATH, ResolveFlag::empty());
    match find(path) {
        Err(Errno::ENOENT) => {}
        result => return result,
    }
    // As the kubelet: with the mode of the volume, so that whoever can use it can use them.
    let mode = Mode::from_bits_truncate(fstat(root)?.st_mode);
    let mut parent = open_child(root, Path::new("."))?;
    let mut walked = PathBuf::new();
    for component in path.components() {
        walked.push(component);
        // From the volume's root each time: a link among the components that stays within the volume is good.
        match find(&walked) {
            Ok(found) => {
                parent = found;
                continue;
            }
            Err(Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
        let name = Path::new(component.as_os_str());
        let made = match mkdirat(&parent, name, Mode::S_IRWXU) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(error) => return Err(error),
        };
        let child = open_child(&parent, name)?;
        if made {
            // Whatever the umask is. A swapped directory is one of the same volume.
            fchmod(&child, mode)?;
        }
        parent = child;
    }
    Ok(parent)
}

fn explain(error: Errno) -> String {
    match error {
        Errno::EXDEV => "it leads outside the volume".to_owned(),
        Errno::ELOOP => "it has a symbolic link that leads nowhere or round in a circle".to_owned(),
        Errno::ENOTDIR => "it goes through something that is not a directory".to_owned(),
        Errno::EAGAIN => "the volume keeps being changed while it is looked up".to_owned(),
        Errno::ENOSYS => {
            "the kernel has no openat2, which is needed to look it up safely (Linux 5.6 or later)"
                .to_owned()
        }
        other => std::io::Error::from(other).to_string(),
    }
}

fn is_dir(stat: &FileStat) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits()
}

fn is_same(target: &Path, source: &FileStat) -> bool {
    stat(target).is_ok_and(|now| (now.st_dev, now.st_ino) == (source.st_dev, source.st_ino))
}

/// Makes what the source is mounted on: a directory for a directory, a file for anything else.
fn make_target(target: &Path, source: &FileStat) -> Result<(), VolumeError> {
    let create = |error| VolumeError::file("create", target, error);
    if let Some(parent) = target.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(create)?;
    }
    match fs::symlink_metadata(target) {
        Ok(found) if found.is_dir() == is_dir(source) => return Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir(target).map_err(create)?,
        Ok(_) => fs::remove_file(target).map_err(create)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(create(error)),
    }
    if is_dir(source) {
        DirBuilder::new().mode(0o700).create(target).map_err(create)
    } else {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(target)
            .map(drop)
            .map_err(create)
    }
}

fn attach(source: OwnedFd, target: &Path) -> Result<(), VolumeError> {
    let clone = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(source.as_fd(), "", clone)
        .and_then(|tree| {
            let from_itself = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            move_mount(tree, "", CWD, target, from_itself)
        })
        .map_err(|e| VolumeError::file("mount a subPath on", target, e))
}
