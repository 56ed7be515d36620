//! Mounts that are made by us, in the container's root after libcontainer has entered it: the
//! container's own cgroups, and binds of cgroup directories of the machine, all of which are hidden
//! from libcontainer.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;
use pathrs::Root;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::WorkerError;
use super::spec::{is_bind, is_cgroup};
use crate::cgroup::{Cgroup, CgroupMount};

/// Where cgroups are mounted, on every machine.
const CGROUPS: &str = "/sys/fs/cgroup";

/// A mount that is ready to be attached.
pub enum LateMount {
    /// The container's own cgroup.
    Cgroup(CgroupMount),
    /// A clone of a part of the machine's tree.
    Bind {
        /// The clone.
        tree: OwnedFd,
        /// Whether it is a directory.
        is_directory: bool,
        /// Where it goes.
        destination: PathBuf,
    },
}

/// Takes the mounts that libcontainer can't make out of `mounts`, while cgroups can still be seen.
pub fn take(
    mounts: &mut Vec<Mount>,
    cgroup: &Cgroup,
    private: bool,
) -> Result<Vec<LateMount>, WorkerError> {
    let mut late = Vec::new();
    let mut kept = Vec::with_capacity(mounts.len());
    for mount in std::mem::take(mounts) {
        if is_cgroup(&mount) {
            late.push(LateMount::Cgroup(CgroupMount::prepare(
                cgroup, &mount, private,
            )?));
        } else if shows_cgroups(&mount) {
            late.push(clone(&mount)?);
        } else {
            kept.push(mount);
        }
    }
    *mounts = kept;
    Ok(late)
}

/// Whether a bind's source is in the cgroup file systems, or brings them along.
fn shows_cgroups(mount: &Mount) -> bool {
    let Some(source) = mount.source().as_ref().filter(|_| is_bind(mount)) else {
        return false;
    };
    let source = source.canonicalize().unwrap_or_else(|_| source.clone());
    let recursive = mount
        .options()
        .iter()
        .flatten()
        .any(|option| option == "rbind");
    source.starts_with(CGROUPS) || (recursive && Path::new(CGROUPS).starts_with(&source))
}

fn clone(mount: &Mount) -> Result<LateMount, WorkerError> {
    let destination = mount.destination().clone();
    let source = mount.source().clone().unwrap_or_default();
    let failed =
        |cause: io::Error| WorkerError::mount(source.display().to_string(), &destination, cause);
    let has = |wanted: &[&str]| {
        mount
            .options()
            .iter()
            .flatten()
            .any(|option| wanted.contains(&option.as_str()))
    };
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if has(&["rbind"]) {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let is_directory = std::fs::metadata(&source).map_err(failed)?.is_dir();
    let tree = open_tree(rustix::fs::CWD, &source, flags).map_err(|error| failed(error.into()))?;
    let attributes = [
        ("ro", libc::MOUNT_ATTR_RDONLY),
        ("rro", libc::MOUNT_ATTR_RDONLY),
        ("nosuid", libc::MOUNT_ATTR_NOSUID),
        ("nodev", libc::MOUNT_ATTR_NODEV),
        ("noexec", libc::MOUNT_ATTR_NOEXEC),
    ];
    let set = attributes
        .iter()
        .filter(|(word, _)| has(&[word]))
        .fold(0, |bits, (_, bit)| bits | bit);
    crate::guard::set_attributes(&tree, set, has(&["rro"])).map_err(failed)?;
    Ok(LateMount::Bind {
        tree,
        is_directory,
        destination,
    })
}

impl LateMount {
    /// Attaches the mount below the root of this process, which is the container's.
    pub fn attach(&self) -> Result<(), WorkerError> {
        match self {
            Self::Cgroup(mount) => Ok(mount.attach()?),
            Self::Bind {
                tree,
                is_directory,
                destination,
            } => attach(tree, *is_directory, destination)
                .map_err(|cause| WorkerError::mount("a bind of cgroups", destination, cause)),
        }
    }
}

/// Symbolic links in the destination are followed within the root only.
fn attach(tree: &OwnedFd, is_directory: bool, destination: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let root = Root::open("/").map_err(io::Error::other)?;
    let mode = |bits| std::fs::Permissions::from_mode(bits);
    let target = match root.resolve(destination) {
        Ok(found) => found,
        Err(_) if is_directory => root
            .mkdir_all(destination, &mode(0o755))
            .map_err(io::Error::other)?,
        Err(_) => {
            let parent = destination.parent().unwrap_or(Path::new("/"));
            root.mkdir_all(parent, &mode(0o755))
                .map_err(io::Error::other)?;
            let flags = pathrs::flags::OpenFlags::O_EXCL | pathrs::flags::OpenFlags::O_CLOEXEC;
            root.create_file(destination, flags, &mode(0o644))
                .map_err(io::Error::other)?;
            root.resolve(destination).map_err(io::Error::other)?
        }
    };
    let target: OwnedFd = target.into();
    move_mount(
        tree,
        "",
        &target,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )?;
    Ok(())
}
