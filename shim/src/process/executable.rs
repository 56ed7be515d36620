//! Finding the program to run, with the texts that Go's `exec.LookPath` gives in runc.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::zeroed;

use super::error::text;
use super::{StartError, StartErrorKind};

/// `faccessat2(2)`: effective IDs and capabilities decide, as they will at `execve`.
const AT_EACCESS: i32 = 0x200;

/// The path of the program `name`: itself when it has a slash, otherwise found in `path`. To be
/// called with the identity and the capabilities of the process to be.
pub fn find(name: &CStr, path: &str) -> Result<CString, StartError> {
    let shown = name.to_string_lossy();
    if name.to_bytes().contains(&b'/') {
        return match check(name) {
            Ok(()) => Ok(name.to_owned()),
            Err(cause) => Err(unusable(&shown, &cause)),
        };
    }
    // As in Go, an empty list is no list of one empty directory.
    for directory in path.split(':').filter(|_| !path.is_empty()) {
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = [directory.as_bytes(), b"/", name.to_bytes()].concat();
        // Neither has a NUL byte in it.
        let Ok(candidate) = CString::new(candidate) else {
            continue;
        };
        if check(&candidate).is_ok() {
            if directory.starts_with('/') {
                return Ok(candidate);
            }
            return Err(StartError::new(
                StartErrorKind::NotExecutable,
                format!(
                    "exec: {shown:?}: cannot run executable found relative to current directory"
                ),
            ));
        }
    }
    Err(StartError::new(
        StartErrorKind::NotFound,
        format!("exec: {shown:?}: executable file not found in $PATH"),
    ))
}

/// Why a program that was named by its path can't be run.
fn unusable(shown: &str, cause: &io::Error) -> StartError {
    match cause.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => StartError::new(
            StartErrorKind::NotFound,
            format!("exec: {shown:?}: stat {shown}: {}", text(cause)),
        ),
        _ => StartError::new(
            StartErrorKind::NotExecutable,
            format!("exec: {shown:?}: {}", text(cause)),
        ),
    }
}

/// Whether a file can be executed by the present user.
fn check(path: &CStr) -> io::Result<()> {
    let stat = stat(path)?;
    if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    // SAFETY: a NUL-terminated string that outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_faccessat2,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::X_OK,
            AT_EACCESS,
        )
    };
    if result == 0 {
        return Ok(());
    }
    let cause = io::Error::last_os_error();
    if cause.raw_os_error() != Some(libc::ENOSYS) {
        return Err(cause);
    }
    // Before Linux 5.8. The real IDs are the effective ones here.
    // SAFETY: a NUL-terminated string that outlives the call.
    if unsafe { libc::access(path.as_ptr(), libc::X_OK) } == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// Device and inode of a file.
pub fn identity(path: &CStr) -> Option<(u64, u64)> {
    stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino))
}

fn stat(path: &CStr) -> io::Result<libc::stat> {
    // SAFETY: all-zero is a valid value; the string is NUL-terminated and outlives the call.
    unsafe {
        let mut stat: libc::stat = zeroed();
        if libc::stat(path.as_ptr(), &raw mut stat) == 0 {
            return Ok(stat);
        }
    }
    Err(io::Error::last_os_error())
}

/// The error of a failed `execve`.
pub fn failed(path: &CStr, cause: &io::Error) -> StartError {
    let shown = path.to_string_lossy();
    let hint = match cause.raw_os_error() {
        Some(libc::ENOENT) => " (its interpreter or loader is missing)",
        Some(libc::E2BIG) => {
            " (arguments and environment together are larger than the kernel takes)"
        }
        Some(libc::EAGAIN) => " (its user has as many processes as RLIMIT_NPROC allows)",
        _ => "",
    };
    let kind = match cause.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => StartErrorKind::NotFound,
        Some(libc::EACCES | libc::EPERM | libc::ENOEXEC | libc::EISDIR) => {
            StartErrorKind::NotExecutable
        }
        _ => StartErrorKind::Other,
    };
    StartError::new(kind, format!("exec {shown}: {}{hint}", text(cause)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn find_in(name: &str, path: &str) -> Result<String, String> {
        let name = CString::new(name).expect("no NUL");
        find(&name, path)
            .map(|found| found.to_string_lossy().into_owned())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn path_is_searched_in_order_and_only_for_executables() {
        let dirs = tempfile::tempdir().expect("a directory");
        let at = |part: &str| dirs.path().join(part);
        for (part, mode) in [("a", 0o644), ("b", 0o750), ("c", 0o755)] {
            fs::create_dir(at(part)).expect("made");
            let file = at(part).join("tool");
            fs::write(&file, "").expect("written");
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
        }
        fs::create_dir(at("a/dir")).expect("made");
        let path = format!("{0}/none:{0}/a:{0}/b:{0}/c", dirs.path().display());
        // 0750 is good enough for its owner.
        assert_eq!(
            find_in("tool", &path),
            Ok(format!("{}/b/tool", dirs.path().display()))
        );
        let missing = "exec: \"dir\": executable file not found in $PATH";
        assert_eq!(find_in("dir", &path), Err(missing.to_owned()));
        let file = at("a/tool").display().to_string();
        assert_eq!(
            find_in(&file, ""),
            Err(format!("exec: {file:?}: permission denied"))
        );
        let dir = at("a/dir").display().to_string();
        assert_eq!(
            find_in(&dir, ""),
            Err(format!("exec: {dir:?}: is a directory"))
        );
        let none = at("none").display().to_string();
        assert_eq!(
            find_in(&none, ""),
            Err(format!(
                "exec: {none:?}: stat {none}: no such file or directory"
            ))
        );
    }

    #[test]
    fn execve_failures_say_what_to_look_at() {
        let error = failed(c"/x", &io::Error::from_raw_os_error(libc::ENOEXEC));
        assert_eq!(error.to_string(), "exec /x: exec format error");
        assert_eq!(error.kind(), StartErrorKind::NotExecutable);
        let error = failed(c"/x", &io::Error::from_raw_os_error(libc::E2BIG));
        assert!(error.to_string().contains("environment"));
    }
}
