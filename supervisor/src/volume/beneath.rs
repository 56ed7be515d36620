//! Opening files by paths that whoever fills the volume may change at any moment (openat2, Linux 5.6).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;

/// How often a walk is tried that a rename elsewhere made uncertain. The kernel asks for it with EAGAIN, which is
/// rare; that many in a row are someone's attempt to stop us.
const ATTEMPTS: usize = 256;

/// Opens a path below a directory. A walk that would leave the directory fails with `EXDEV`.
pub(super) fn open_beneath(
    root: impl AsFd,
    path: &Path,
    flags: OFlag,
    resolve: ResolveFlag,
) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(resolve | ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    for _ in 0..ATTEMPTS {
        match openat2(root.as_fd(), path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            result => return result,
        }
    }
    Err(Errno::EAGAIN)
}

/// Opens a directory right in another: no symbolic link, no other mount.
pub(super) fn open_child(parent: impl AsFd, name: &Path) -> nix::Result<OwnedFd> {
    open_beneath(
        parent,
        name,
        OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW,
        ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV,
    )
}

/// Opens a directory of ours by its path, of which the last component must be no symbolic link.
pub(super) fn open_dir(path: &Path) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty())
}
