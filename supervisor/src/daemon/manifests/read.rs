//! Reading the files of the manifests' directory: each whole or not at all, whoever is writing them.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use carob_core::registry::is_manifest_name;
use nix::errno::Errno;
use nix::libc;

use crate::cli::MANIFEST_MAX;

/// `<asm-generic/fcntl.h>`; the crate has it for no Linux.
const F_SETSIG: libc::c_int = 10;

/// What a file is at the moment.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// Its bytes.
    Bytes(Vec<u8>),
    /// Someone is writing it: its end will be heard.
    BeingWritten,
    /// It can't be read; why.
    Unreadable(String),
}

/// All files of a directory that are meant to be read, by name. Those below it are not (as with a kubelet), nor what
/// editors leave; symbolic links are followed.
///
/// # Errors
/// When the directory itself can't be read.
pub fn directory(path: &Path) -> io::Result<BTreeMap<String, Content>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_manifest_name(&name)
            && let Some(content) = file(&entry.path())
        {
            files.insert(name, content);
        }
    }
    Ok(files)
}

/// None for a directory, and for what is gone.
fn file(path: &Path) -> Option<Content> {
    match read(path) {
        Ok(content) => content,
        // Removed since the directory was read, unless it is a link to nowhere.
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::symlink_metadata(path)
            .ok()
            .map(|_| Content::Unreadable("it is a symbolic link to nowhere".to_owned())),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => Some(Content::Unreadable(
            "it is a symbolic link that leads round in a circle".to_owned(),
        )),
        Err(error) => Some(Content::Unreadable(format!("cannot read it: {error}"))),
    }
}

fn read(path: &Path) -> io::Result<Option<Content>> {
    // A named pipe without a writer must not hold us up.
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path);
    let file = match file {
        // A socket, or a device without a driver.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
            return Ok(Some(Content::Unreadable(
                "it is no regular file".to_owned(),
            )));
        }
        file => file?,
    };
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Ok(None);
    }
    if !kind.is_file() {
        return Ok(Some(Content::Unreadable(
            "it is no regular file".to_owned(),
        )));
    }
    if !still(&file) {
        return Ok(Some(Content::BeingWritten));
    }
    let mut bytes = Vec::new();
    file.take(MANIFEST_MAX).read_to_end(&mut bytes)?;
    Ok(Some(Content::Bytes(bytes)))
}

/// Whether nobody has the file open for writing. The kernel grants a read lease only then (fcntl(2)); while it lasts, which
/// is until the file is closed, who wants to write waits. A file system that has no leases is taken at its word.
fn still(file: &File) -> bool {
    // A writer that waits is told to us by this signal, which is ignored by default, instead of one that kills.
    // SAFETY: both calls take integers only, and the descriptor is open.
    let leased = unsafe {
        libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG);
        libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK)
    };
    leased == 0 || Errno::last() != Errno::EAGAIN
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    fn of(dir: &Path, name: &str) -> Option<Content> {
        directory(dir).unwrap().remove(name)
    }

    #[test]
    fn b57_a_file_that_is_being_written_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = File::create(dir.path().join("web.yaml")).unwrap();
        writer.write_all(b"half").unwrap();
        assert_eq!(of(dir.path(), "web.yaml"), Some(Content::BeingWritten));
        // Also through a link.
        symlink("web.yaml", dir.path().join("link.yaml")).unwrap();
        assert_eq!(of(dir.path(), "link.yaml"), Some(Content::BeingWritten));
        writer.write_all(b" whole").unwrap();
        drop(writer);
        let whole = Some(Content::Bytes(b"half whole".to_vec()));
        assert_eq!(of(dir.path(), "web.yaml"), whole);
        assert_eq!(of(dir.path(), "link.yaml"), whole);
        // The lease is gone with the reading.
        File::create(dir.path().join("web.yaml")).unwrap();
    }

    #[test]
    fn b57_what_is_no_file_is_named_and_harms_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        symlink("nowhere", dir.join("dangling")).unwrap();
        symlink("loop", dir.join("loop")).unwrap();
        fs::create_dir(dir.join("directory")).unwrap();
        nix::unistd::mkfifo(&dir.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        symlink("/dev/null", dir.join("device")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap();
        fs::write(dir.join("good"), "text").unwrap();
        fs::write(dir.join(".good.swp"), "text").unwrap();
        let found = directory(dir).unwrap();
        let said = |name: &str| match &found[name] {
            Content::Unreadable(why) => why.clone(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(said("dangling"), "it is a symbolic link to nowhere");
        assert!(said("loop").contains("circle"));
        for name in ["pipe", "device", "socket"] {
            assert_eq!(said(name), "it is no regular file", "{name}");
        }
        assert_eq!(found["good"], Content::Bytes(b"text".to_vec()));
        assert_eq!(found.len(), 6);
    }
}
