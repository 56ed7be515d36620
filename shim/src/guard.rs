//! Keeps containers from overwriting the shim's own program (CVE-2019-5736).
//!
//! Until a container's process has called `execve`, `/proc/PID/exe` is the shim's program, and a
//! privileged container could open it for writing. So the server runs from a detached, read-only
//! bind mount of the program: opening it for writing gives `EROFS`, and nobody can remount it, since
//! it is in no mount namespace. Unlike a sealed copy in memory that costs nothing.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use nix::sys::statvfs::{FsFlags, statvfs};
use rustix::mount::{OpenTreeFlags, open_tree};

const PROGRAM: &str = "/proc/self/exe";

/// The program of this process, on a read-only mount of its own. Needs Linux 5.12.
///
/// # Errors
/// What the kernel says: `EPERM` without CAP_SYS_ADMIN, `ENOSYS` before Linux 5.12.
pub fn read_only_program() -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(rustix::fs::CWD, PROGRAM, flags)?;
    set_attributes(&mount, libc::MOUNT_ATTR_RDONLY, false)?;
    Ok(mount)
}

/// A path by which the file behind `program` can be executed.
pub fn path_of(program: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", program.as_raw_fd()).into()
}

/// Whether the program of this process can't be opened for writing through its own mount.
///
/// # Errors
/// When `/proc` is not readable.
pub fn is_guarded() -> io::Result<bool> {
    Ok(statvfs(PROGRAM)?.flags().contains(FsFlags::ST_RDONLY))
}

/// Sets attributes (`MOUNT_ATTR_*`) of a detached mount, and with `recursive` of all on it.
///
/// # Errors
/// What mount_setattr(2) says.
pub fn set_attributes(mount: &OwnedFd, set: u64, recursive: bool) -> io::Result<()> {
    change(mount, set, 0, recursive)
}

/// Shows the files of a detached mount, and with `recursive` of all on it, with the owners that a user namespace gives
/// them.
///
/// # Errors
/// What mount_setattr(2) says: `EINVAL` for file systems that can't be shown so.
pub fn map_ids(mount: &OwnedFd, users: &OwnedFd, recursive: bool) -> io::Result<()> {
    // An open descriptor is never negative.
    let users = users.as_raw_fd().unsigned_abs();
    change(mount, libc::MOUNT_ATTR_IDMAP, u64::from(users), recursive)
}

fn change(mount: &OwnedFd, set: u64, users: u64, recursive: bool) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: users,
    };
    let recursive = if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the descriptor is open, the path is a string with its zero, and the kernel reads
    // exactly the given size of a structure that outlives the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c1_trap_10_the_program_can_be_run_but_not_written() {
        let program = read_only_program().expect("the tests run as root on Linux 5.12 or later");
        let path = path_of(&program);
        assert!(
            statvfs(&path)
                .expect("mounted")
                .flags()
                .contains(FsFlags::ST_RDONLY)
        );
        let error = std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .expect_err("read-only");
        // The kernel may notice first that it is being executed.
        let refused = [Some(libc::EROFS), Some(libc::ETXTBSY)];
        assert!(refused.contains(&error.raw_os_error()), "{error}");
        let output = std::process::Command::new(&path)
            .arg("--list")
            .output()
            .expect("it runs");
        assert!(output.status.success());
    }
}
