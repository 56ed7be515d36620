//! A FIFO that a client made, as containerd's clients do for each stream.
//!
//! The process gets a descriptor of its own, so the shim copies nothing. The shim keeps the FIFO
//! open for reading and writing: the process then neither blocks at its first write nor gets SIGPIPE
//! while its reader is away, and what it wrote last isn't lost when it exits.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

nix::ioctl_read_bad!(bytes_to_read, libc::FIONREAD, libc::c_int);

/// A FIFO, held open.
pub struct Fifo {
    path: PathBuf,
    held: Option<OwnedFd>,
}

impl Fifo {
    /// Opens the FIFO at `path`, which must exist. Doesn't wait for its other end.
    ///
    /// # Errors
    /// What the kernel says, or that it isn't a FIFO.
    pub fn open(path: &Path) -> io::Result<Self> {
        let held = open(path, true, true, libc::O_NONBLOCK)?;
        Ok(Self {
            path: path.to_owned(),
            held: Some(held),
        })
    }

    /// A descriptor for a process that reads.
    pub fn reader(&self) -> io::Result<OwnedFd> {
        open(&self.path, true, false, 0)
    }

    /// A descriptor for a process that writes. It can read as well, so that the process outlives
    /// both its reader and the shim.
    pub fn both(&self) -> io::Result<OwnedFd> {
        open(&self.path, true, true, 0)
    }

    /// A descriptor for the shim itself to read from.
    pub fn nonblocking_reader(&self) -> io::Result<OwnedFd> {
        open(&self.path, true, false, libc::O_NONBLOCK)
    }

    /// Lets a reader see the end, now that the process has exited. Keeps the FIFO open when nobody
    /// reads and there is something to read: the kernel would throw it away.
    pub fn let_go(&mut self) {
        let Some(held) = self.held.take() else { return };
        if unread(&held) == 0 {
            return;
        }
        // While the FIFO is held, opening its writing end always works; once it isn't, it works
        // only if somebody else reads.
        let Ok(writer) = open(&self.path, false, true, libc::O_NONBLOCK) else {
            return;
        };
        drop(held);
        let read_by_others = open(&self.path, false, true, libc::O_NONBLOCK);
        if matches!(&read_by_others, Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32))
        {
            self.held = Some(writer);
        }
    }
}

/// How many bytes wait in the FIFO.
fn unread(fifo: &OwnedFd) -> usize {
    use std::os::fd::AsRawFd;
    let mut count = 0;
    // SAFETY: the kernel writes one integer to a valid place.
    match unsafe { bytes_to_read(fifo.as_raw_fd(), &raw mut count) } {
        Ok(_) => usize::try_from(count).unwrap_or(0),
        Err(_) => 0,
    }
}

fn open(path: &Path, read: bool, write: bool, flags: i32) -> io::Result<OwnedFd> {
    let file = OpenOptions::new()
        .read(read)
        .write(write)
        .custom_flags(flags | libc::O_NOFOLLOW | libc::O_NOCTTY)
        .open(path)?;
    if !file.metadata()?.file_type().is_fifo() {
        return Err(io::Error::other("it is not a FIFO"));
    }
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use nix::sys::stat::Mode;
    use nix::unistd::{mkfifo, write};

    use super::*;

    fn fifo() -> (tempfile::TempDir, PathBuf) {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let path = temp.path().join("fifo");
        mkfifo(&path, Mode::from_bits_truncate(0o600)).expect("made");
        (temp, path)
    }

    #[test]
    fn what_was_written_last_is_kept_until_a_reader_comes() {
        let (_temp, path) = fifo();
        let mut fifo = Fifo::open(&path).expect("opened");
        let process = fifo.both().expect("opened");
        write(&process, b"last words").expect("written");
        drop(process);
        fifo.let_go();
        let mut reader =
            std::fs::File::from(open(&path, true, false, libc::O_NONBLOCK).expect("opened"));
        // A reader that came late still gets it, and the end once the process is deleted.
        fifo.let_go();
        drop(fifo);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read");
        assert_eq!(text, "last words");
    }

    #[test]
    fn a_reader_sees_the_end_at_exit() {
        let (_temp, path) = fifo();
        let mut fifo = Fifo::open(&path).expect("opened");
        let process = fifo.both().expect("opened");
        let mut reader =
            std::fs::File::from(open(&path, true, false, libc::O_NONBLOCK).expect("opened"));
        write(&process, b"words").expect("written");
        drop(process);
        fifo.let_go();
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("it ends");
        assert_eq!(text, "words");
    }

    #[test]
    fn b50_what_is_not_a_fifo_is_refused() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let file = temp.path().join("file");
        std::fs::write(&file, "").expect("written");
        assert!(Fifo::open(&file).is_err());
        assert!(Fifo::open(&temp.path().join("none")).is_err());
        assert!(Fifo::open(temp.path()).is_err());
    }
}
