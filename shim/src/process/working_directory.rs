//! The working directory: reached, and certainly inside the container (CVE-2024-21626).

use std::ffi::CStr;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::StartError;
use super::error::text;

/// Changes to `cwd`, making it when it is missing and `makes` says so. `Ok(false)` when this user may
/// not enter it, which another may.
pub fn enter(cwd: &CStr, makes: bool) -> Result<bool, StartError> {
    let Err(first) = chdir(cwd) else {
        return Ok(true);
    };
    match first.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => return Ok(false),
        Some(libc::ENOENT) if makes => make(cwd)?,
        _ => return Err(error(cwd, &first)),
    }
    chdir(cwd)
        .map(|()| true)
        .map_err(|cause| error(cwd, &cause))
}

/// Changes to `cwd`, which exists.
pub fn enter_as_user(cwd: &CStr) -> Result<(), StartError> {
    chdir(cwd).map_err(|cause| error(cwd, &cause))
}

fn chdir(cwd: &CStr) -> io::Result<()> {
    // SAFETY: a NUL-terminated string that outlives the call.
    if unsafe { libc::chdir(cwd.as_ptr()) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn error(cwd: &CStr, cause: &io::Error) -> StartError {
    StartError::other(format!(
        "chdir to cwd ({:?}) set in config.json failed: {}",
        cwd.to_string_lossy(),
        text(cause)
    ))
}

/// Makes the directory below the present root; symbolic links lead nowhere else.
fn make(cwd: &CStr) -> Result<(), StartError> {
    let failed = |cause: pathrs::error::Error| {
        StartError::other(format!("can't make the working directory {cwd:?}: {cause}"))
    };
    let path = cwd.to_string_lossy();
    let root = pathrs::Root::open("/").map_err(failed)?;
    root.mkdir_all(Path::new(path.as_ref()), &PermissionsExt::from_mode(0o755))
        .map_err(failed)?;
    Ok(())
}

/// Makes sure that the working directory lies below the root of the mount namespace: through a
/// descriptor left open it could be a directory of the machine.
pub fn verify() -> Result<(), StartError> {
    let mut path = [0u8; libc::PATH_MAX as usize];
    // The C library hides what the kernel says about such a directory, so ask the kernel.
    // SAFETY: the buffer and its size belong together.
    let length = unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) };
    // Outside, the kernel's answer begins with "(unreachable)". One that can't be told (the
    // directory was removed) is not trusted either.
    if length > 0 && path[0] == b'/' {
        return Ok(());
    }
    Err(StartError::other(
        "current working directory is outside of container mount namespace root -- possible \
         container breakout detected",
    ))
}
