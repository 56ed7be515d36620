//! A log file that is appended to, and that counts what a full disk didn't take.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// An open log file.
pub struct LogFile {
    file: File,
    size: u64,
    lost: u64,
}

impl LogFile {
    /// Opens or makes the file at `path`, readable by its owner alone, with directories as needed.
    ///
    /// # Errors
    /// What the kernel says; or that it isn't a regular file, since a symbolic link, FIFO or device
    /// in its place would lead the container's output elsewhere.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        Ok(Self {
            file,
            size: metadata.len(),
            lost: 0,
        })
    }

    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends `bytes`, or counts them as lost.
    pub fn write(&mut self, bytes: &[u8]) {
        // The count is only for the log; the caller has none to return it to.
        let _ = self.append(bytes);
    }

    /// Appends `bytes` whole, or nothing of them; then they are counted as lost.
    ///
    /// # Errors
    /// What the kernel said, mostly that the disk is full.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.size += bytes.len() as u64;
                if self.lost > 0 {
                    tracing::warn!("a log can be written again; {} bytes were lost", self.lost);
                    self.lost = 0;
                }
                Ok(())
            }
            Err(error) => {
                if self.lost == 0 {
                    tracing::error!("a log can't be written, output is lost: {error}");
                }
                self.lost += bytes.len() as u64;
                // Half a record would spoil the next one. A file that can't even be cut stays.
                let _ = self.file.set_len(self.size);
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_appended_to_what_is_there() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let path = temp.path().join("deep/er/log");
        LogFile::open(&path).expect("opened").write(b"one\n");
        let mut again = LogFile::open(&path).expect("opened");
        assert_eq!(again.size(), 4);
        again.write(b"two");
        assert_eq!(std::fs::read(&path).expect("read"), b"one\ntwo");
    }

    #[test]
    fn c12_a_log_that_is_no_regular_file_is_refused() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let canary = temp.path().join("shadow");
        std::fs::write(&canary, "secret").expect("written");
        let link = temp.path().join("link");
        std::os::unix::fs::symlink(&canary, &link).expect("linked");
        assert!(LogFile::open(&link).is_err());
        let fifo = temp.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("made");
        assert!(LogFile::open(&fifo).is_err());
        assert!(LogFile::open("/dev/null".as_ref()).is_err());
        assert_eq!(std::fs::read(&canary).expect("read"), b"secret");
    }

    #[test]
    fn f9_a_full_disk_loses_whole_records_and_nothing_more() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let path = temp.path().join("log");
        let mut log = LogFile::open(&path).expect("opened");
        log.write(b"kept\n");
        // A process' file size limit fails like a full disk, and here only for this descriptor: a
        // file sealed against growing would, too, but files on disk have no seals.
        log.file = File::open("/dev/full")
            .and_then(|_| OpenOptions::new().append(true).open("/dev/full"))
            .expect("opened");
        log.write(b"lost\n");
        assert_eq!(log.lost, 5);
        log.file = OpenOptions::new().append(true).open(&path).expect("opened");
        log.write(b"again\n");
        assert_eq!(log.lost, 0);
        assert_eq!(std::fs::read(&path).expect("read"), b"kept\nagain\n");
    }
}
