//! Files that only root can read: written whole, or held as locks.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Writes a file, whole or not at all.
///
/// # Errors
/// The system's answer.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    write_temporary(path, content)?;
    fs::rename(temporary(path), path)
}

/// Like [`write()`], also when the machine stops at any moment; its directory is still to be synced for it to be
/// there for certain.
///
/// # Errors
/// The system's answer.
pub fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    write_temporary(path, content)?.sync_data()?;
    fs::rename(temporary(path), path)
}

/// Removes a file, and what a [`write()`] of it that was killed half-way has left. True when there was any of it.
///
/// # Errors
/// The system's answer.
pub fn remove(path: &Path) -> io::Result<bool> {
    let mut removed = false;
    for path in [&temporary(path), path] {
        match fs::remove_file(path) {
            Ok(()) => removed = true,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(removed)
}

fn write_temporary(path: &Path, content: &[u8]) -> io::Result<File> {
    let mut file = open(OpenOptions::new().truncate(true), &temporary(path))?;
    file.write_all(content)?;
    Ok(file)
}

fn temporary(path: &Path) -> PathBuf {
    path.with_extension("tmp")
}

/// Waits for the lock of a file, which is made if missing. Held until dropped.
///
/// # Errors
/// The system's answer.
pub fn lock(path: &Path) -> io::Result<Flock<File>> {
    Flock::lock(lock_file(path)?, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

/// Like [`lock`], but `None` when someone else has it.
///
/// # Errors
/// The system's answer.
pub fn try_lock(path: &Path) -> io::Result<Option<Flock<File>>> {
    match Flock::lock(lock_file(path)?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    open(OpenOptions::new().truncate(false), path)
}

fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.create(true).write(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_file_is_private_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record.json");
        write(&path, b"a long first text").unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_goes_with_its_half_written_twin() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record.json");
        write(&path, b"whole").unwrap();
        fs::write(temporary(&path), b"ha").unwrap();
        assert!(remove(&path).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(!remove(&path).unwrap());
    }

    #[test]
    fn a_lock_is_for_one_and_keeps_the_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        fs::write(&path, "kept").unwrap();
        let held = lock(&path).unwrap();
        assert!(try_lock(&path).unwrap().is_none());
        drop(held);
        assert!(try_lock(&path).unwrap().is_some());
        assert_eq!(fs::read(&path).unwrap(), b"kept");
    }
}
