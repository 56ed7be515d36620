//! The container's own `cgroup` mount, made by us because libcontainer must not see any cgroup.
//!
//! [`CgroupMount::prepare`] takes detached clones of the cgroup directories while they can be seen;
//! [`CgroupMount::attach`] puts them into the container's root when the process is in it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::{Cgroup, CgroupError};

/// A `cgroup` mount that is ready to be attached.
#[derive(Debug)]
pub struct CgroupMount {
    destination: PathBuf,
    flags: MountAttrFlags,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// v2: the one tree.
    Unified(OwnedFd),
    /// v1: a directory for each hierarchy, in a tmpfs. With the co-mounted controllers' own names,
    /// which become symbolic links.
    Separate(Vec<(String, OwnedFd, Vec<String>)>),
}

impl CgroupMount {
    /// Clones the cgroup's directories for `mount`, the spec's mount of type `cgroup`. To be called
    /// after [`Cgroup::create`] and before [`super::hide`].
    ///
    /// The container sees its own cgroup as the root. Only on v2 and without `private` (a cgroup
    /// namespace of its own) it sees the machine's tree, as with runc.
    ///
    /// # Errors
    /// [`CgroupError::BadLimit`] for an option that is not a mount flag, or [`CgroupError::Io`].
    pub fn prepare(cgroup: &Cgroup, mount: &Mount, private: bool) -> Result<Self, CgroupError> {
        let flags = flags(mount.options().as_deref().unwrap_or_default())?;
        let clone = |path: &Path| {
            // On this mount alone: nothing that the machine mounts on it later shows inside.
            open_tree(
                rustix::fs::CWD,
                path,
                OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
            )
            .map_err(|cause| CgroupError::io("clone the mount of", path, cause.into()))
        };
        let content = match cgroup.unified().filter(|_| cgroup.dirs.len() == 1) {
            Some(dir) => {
                let path = if private {
                    &dir.path
                } else {
                    &dir.hierarchy.mount_point
                };
                Content::Unified(clone(path)?)
            }
            None => Content::Separate(
                cgroup
                    .dirs
                    .iter()
                    .filter(|dir| !dir.hierarchy.unified)
                    .map(|dir| {
                        let name = dir
                            .hierarchy
                            .mount_point
                            .file_name()
                            .map(|name| name.to_string_lossy().into_owned())
                            .unwrap_or_default();
                        let links = dir
                            .hierarchy
                            .controllers
                            .iter()
                            .filter(|other| **other != name && !other.starts_with("name="))
                            .cloned()
                            .collect();
                        Ok((name, clone(&dir.path)?, links))
                    })
                    .collect::<Result<_, CgroupError>>()?,
            ),
        };
        Ok(Self {
            destination: mount.destination().clone(),
            flags,
            content,
        })
    }

    /// Puts the mount at its destination below the root of the calling process, which is the
    /// container's. The destination is made when it is missing; symbolic links in it are followed
    /// inside that root only.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn attach(&self) -> Result<(), CgroupError> {
        let error =
            |action: &str, cause: io::Error| CgroupError::io(action, &self.destination, cause);
        let target = self.target()?;
        match &self.content {
            Content::Unified(tree) => {
                set_flags(tree, self.flags).map_err(|cause| error("set the flags of", cause))?;
                put(tree, &target).map_err(|cause| error("mount cgroups on", cause))
            }
            Content::Separate(hierarchies) => {
                let tmpfs = tmpfs().map_err(|cause| error("make a tmpfs for", cause))?;
                for (name, tree, links) in hierarchies {
                    let name = name.as_str();
                    let made = || -> io::Result<()> {
                        rustix::fs::mkdirat(&tmpfs, name, 0o755.into())?;
                        for link in links {
                            rustix::fs::symlinkat(name, &tmpfs, link.as_str())?;
                        }
                        Ok(())
                    };
                    made().map_err(|cause| error("fill the tmpfs of", cause))?;
                    set_flags(tree, self.flags)
                        .map_err(|cause| error("set the flags of", cause))?;
                }
                // A mount goes only onto what is itself mounted, so the tmpfs comes first.
                put(&tmpfs, &target).map_err(|cause| error("mount cgroups on", cause))?;
                for (name, tree, _) in hierarchies {
                    let place = rustix::fs::openat(
                        &tmpfs,
                        name.as_str(),
                        rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
                        rustix::fs::Mode::empty(),
                    )
                    .map_err(|cause| error("open a directory in", cause.into()))?;
                    put(tree, &place).map_err(|cause| error("mount cgroups below", cause))?;
                }
                set_flags(&tmpfs, self.flags).map_err(|cause| error("set the flags of", cause))
            }
        }
    }

    /// Opens (and makes, where missing) the destination.
    fn target(&self) -> Result<OwnedFd, CgroupError> {
        let error = |cause: pathrs::error::Error| {
            let cause = match cause.kind() {
                pathrs::error::ErrorKind::OsError(Some(code)) => io::Error::from_raw_os_error(code),
                _ => io::Error::other(cause),
            };
            CgroupError::io("find the mount point", &self.destination, cause)
        };
        let root = pathrs::Root::open("/").map_err(error)?;
        let found = match root.resolve(&self.destination) {
            Ok(found) => found,
            Err(cause) if cause.kind() == pathrs::error::ErrorKind::OsError(Some(libc::ENOENT)) => {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                root.mkdir_all(&self.destination, &mode).map_err(error)?
            }
            Err(cause) => return Err(error(cause)),
        };
        Ok(OwnedFd::from(found))
    }
}

/// The mount flags among OCI's mount options. Propagation is private in a new mount namespace.
fn flags(options: &[String]) -> Result<MountAttrFlags, CgroupError> {
    let mut flags = MountAttrFlags::empty();
    for option in options {
        flags |= match option.as_str() {
            "ro" => MountAttrFlags::MOUNT_ATTR_RDONLY,
            "nosuid" => MountAttrFlags::MOUNT_ATTR_NOSUID,
            "nodev" => MountAttrFlags::MOUNT_ATTR_NODEV,
            "noexec" => MountAttrFlags::MOUNT_ATTR_NOEXEC,
            "noatime" => MountAttrFlags::MOUNT_ATTR_NOATIME,
            "rw" | "relatime" | "private" | "rprivate" | "slave" | "rslave" | "bind" | "rbind" => {
                MountAttrFlags::empty()
            }
            other => {
                return Err(CgroupError::BadLimit {
                    limit: "mounts[type=cgroup].options".to_owned(),
                    why: format!("{other:?} is no flag that a cgroup mount can have"),
                });
            }
        };
    }
    Ok(flags)
}

fn tmpfs() -> io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "mode", "755")?;
    fsconfig_set_string(context.as_fd(), "source", "cgroup")?;
    fsconfig_create(context.as_fd())?;
    Ok(fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?)
}

fn put(tree: &OwnedFd, place: &OwnedFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(tree, "", place, "", flags)?)
}

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Sets flags of a mount by its descriptor.
fn set_flags(tree: &OwnedFd, flags: MountAttrFlags) -> io::Result<()> {
    if flags.is_empty() {
        return Ok(());
    }
    let clear = if flags.contains(MountAttrFlags::MOUNT_ATTR_NOATIME) {
        MountAttrFlags::MOUNT_ATTR__ATIME.bits()
    } else {
        0
    };
    let attr = MountAttr {
        set: u64::from(flags.bits()),
        clear: u64::from(clear),
        propagation: 0,
        user_namespace: 0,
    };
    // SAFETY: the structure and its size are given together, the path is an empty C string.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
