//! The worker's private mount namespace: nothing that is mounted here appears on the host.

use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::WorkerError;

/// Enters a mount namespace of the worker's own. Mounts of the host still arrive in it (as Kubernetes'
/// `HostToContainer` wants), none leaves it.
///
/// `shared` leaves the host's mounts connected, for a container that asks for `rshared`
/// propagation (Kubernetes' `Bidirectional`); then only the mount below `bundle` is cut off.
pub fn enter_private_namespace(bundle: &Path, shared: bool) -> Result<(), WorkerError> {
    unshare(CloneFlags::CLONE_NEWNS)
        .map_err(|cause| WorkerError::step("a mount namespace can't be made", cause))?;
    if !shared {
        return propagation("/".as_ref(), MsFlags::MS_SLAVE | MsFlags::MS_REC);
    }
    // A private mount of the bundle upon itself: what is mounted below it stays here.
    let below = mount_point_of(bundle)
        .map_err(|cause| WorkerError::step("the bundle's mount can't be found", cause))?;
    propagation(&below, MsFlags::MS_PRIVATE)
}

fn propagation(at: &Path, flags: MsFlags) -> Result<(), WorkerError> {
    mount(None::<&str>, at, None::<&str>, flags, None::<&str>)
        .map_err(|cause| WorkerError::mount("propagation of mounts", at, cause))
}

/// Puts an empty file system that only this namespace sees at `at`, for libcontainer's own files.
pub fn scratch(at: &Path) -> Result<(), WorkerError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("carob"), at, Some("tmpfs"), flags, Some("mode=0700"))
        .map_err(|cause| WorkerError::mount("the worker's scratch directory", at, cause))
}

/// The mount point that `path` is on, from `/proc/self/mountinfo` (proc(5)).
fn mount_point_of(path: &Path) -> io::Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let path = path.canonicalize()?;
    let table = std::fs::read("/proc/self/mountinfo")?;
    let mut best = PathBuf::from("/");
    for line in table.split(|byte| *byte == b'\n') {
        let Some(field) = line.split(|byte| *byte == b' ').nth(4) else {
            continue;
        };
        let point = PathBuf::from(std::ffi::OsString::from_vec(unescape(field)));
        if path.starts_with(&point) && point.as_os_str().len() > best.as_os_str().len() {
            best = point;
        }
    }
    Ok(best)
}

/// Turns `\040` and its like back into bytes.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, more)) = rest.split_first() {
        let octal = more
            .get(..3)
            .filter(|digits| byte == b'\\' && digits.iter().all(u8::is_ascii_digit));
        match octal {
            Some(digits) => {
                plain.push(digits.iter().fold(0, |sum: u8, digit| {
                    sum.wrapping_mul(8).wrapping_add(digit - b'0')
                }));
                rest = &more[3..];
            }
            None => {
                plain.push(byte);
                rest = more;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_found() {
        assert_eq!(
            mount_point_of("/proc/self".as_ref()).expect("readable"),
            Path::new("/proc")
        );
        assert_eq!(unescape(br"/a\040b\134c"), b"/a b\\c");
        assert_eq!(unescape(br"\04"), br"\04");
    }
}
