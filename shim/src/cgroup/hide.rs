//! Hides the cgroup file systems from libcontainer, so that it does no cgroup work of its own.

use std::fs;
use std::io;
use std::path::Path;
use std::ptr;

use super::CgroupError;
use super::dir::c_path;
use super::hierarchy::Hierarchies;

const ROOT: &str = "/sys/fs/cgroup";

/// Detaches every cgroup mount from the mount namespace of the calling process and puts an empty
/// tmpfs at `/sys/fs/cgroup`: libcontainer takes that for a v1 machine without any controller. The
/// spec given to it must then have no `linux.resources` and no mount of type `cgroup`.
///
/// Only for a single-threaded process that has unshared its mount namespace. Nothing of this is seen
/// in other namespaces, and how all other mounts propagate stays as it is.
///
/// # Errors
/// [`CgroupError::Io`]; with `EPERM` also when the mount namespace is still the parent process's.
pub fn hide() -> Result<(), CgroupError> {
    let own = Path::new("/proc/self/ns/mnt");
    let parents = format!("/proc/{}/ns/mnt", std::os::unix::process::parent_id());
    let namespace =
        |path: &Path| fs::read_link(path).map_err(|cause| CgroupError::io("read", path, cause));
    if namespace(own)? == namespace(Path::new(&parents))? {
        let refused = io::Error::from_raw_os_error(libc::EPERM);
        return Err(CgroupError::io(
            "hide cgroups in the machine's own mount namespace",
            own,
            refused,
        ));
    }
    let root = Path::new(ROOT);
    // To be found as long as they can be seen.
    let hierarchies = Hierarchies::of_machine()?;
    let whole = detach(root)?;
    for hierarchy in &hierarchies.all {
        if !whole || !hierarchy.mount_point.starts_with(root) {
            detach(&hierarchy.mount_point)?;
        }
    }
    let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    mount(c"tmpfs", root, c"tmpfs", flags, c"mode=755")
}

/// Detaches a mount and all on it. `false` when the path is no mount point.
fn detach(path: &Path) -> Result<bool, CgroupError> {
    let not_there =
        |error: &CgroupError| matches!(error.errno(), Some(libc::EINVAL | libc::ENOENT));
    // The detaching would spread to every peer of what is detached, and to every peer of the mount
    // that it is mounted on: the nearest mount point above.
    match slave(path, libc::MS_REC) {
        Err(error) if not_there(&error) => return Ok(false),
        result => result?,
    }
    for above in path.ancestors().skip(1) {
        match slave(above, 0) {
            Err(error) if not_there(&error) => {}
            result => {
                result?;
                break;
            }
        }
    }
    let target = c_path(path)?;
    // SAFETY: the path is NUL-terminated and lives through the call.
    if unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) } == 0 {
        return Ok(true);
    }
    Err(CgroupError::io("detach", path, io::Error::last_os_error()))
}

/// Ends the propagation of a mount to others.
fn slave(path: &Path, recursive: libc::c_ulong) -> Result<(), CgroupError> {
    mount(c"none", path, c"", libc::MS_SLAVE | recursive, c"")
}

fn mount(
    source: &std::ffi::CStr,
    target: &Path,
    kind: &std::ffi::CStr,
    flags: libc::c_ulong,
    options: &std::ffi::CStr,
) -> Result<(), CgroupError> {
    let path = c_path(target)?;
    let data = if options.is_empty() {
        ptr::null()
    } else {
        options.as_ptr().cast()
    };
    // SAFETY: all strings are NUL-terminated and live through the call; `data` is a string for
    // tmpfs and null otherwise.
    if unsafe { libc::mount(source.as_ptr(), path.as_ptr(), kind.as_ptr(), flags, data) } == 0 {
        return Ok(());
    }
    Err(CgroupError::io(
        "mount over",
        target,
        io::Error::last_os_error(),
    ))
}
