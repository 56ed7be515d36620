//! A FIFO that a client made, as containerd's clients do for each stream.
//!
//! The process gets a descriptor of its own, so the shim copies nothing. The shim keeps the FIFO
//! open for reading and writing: the process then neither blocks at its first write nor gets SIGPIPE
//! while its reader is away, and what it wrote last isn't lost when it exits.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::Interest;
use tokio::task::JoinHandle;

/// A FIFO, held open.
pub struct Fifo {
    path: PathBuf,
    held: Option<OwnedFd>,
    /// What waits for a late reader.
    farewell: Option<Farewell>,
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
            farewell: None,
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

    /// Lets a reader see the end, now that the process has exited. When nobody reads yet, the FIFO stays open for
    /// writing until somebody does: the kernel would throw away what it has, and a reader that opens it later,
    /// as containerd's may, would wait for ever. Needs the runtime.
    pub fn let_go(&mut self) {
        let Some(held) = self.held.take() else { return };
        // While the FIFO is held, opening its writing end always works.
        let Ok(writer) = open(&self.path, false, true, libc::O_NONBLOCK) else {
            return;
        };
        drop(held);
        if is_read(&writer) {
            return;
        }
        let path = self.path.clone();
        self.farewell = Some(Farewell(tokio::spawn(async move {
            if let Err(error) = wait_for_reader(&path, &writer).await {
                tracing::warn!("{}: no reader can be waited for: {error}", path.display());
            }
        })));
    }
}

/// Ends with the stream.
struct Farewell(JoinHandle<()>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether a FIFO is open for reading.
fn is_read(writer: &OwnedFd) -> bool {
    let mut ends = [PollFd::new(writer.as_fd(), PollFlags::POLLOUT)];
    // It is an error to write where nobody reads.
    let polled = poll(&mut ends, PollTimeout::ZERO).is_ok();
    let seen = ends[0].revents().unwrap_or(PollFlags::POLLERR);
    polled && !seen.contains(PollFlags::POLLERR)
}

async fn wait_for_reader(path: &Path, writer: &OwnedFd) -> io::Result<()> {
    let opens = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&opens, path, WatchFlags::OPEN | WatchFlags::DONT_FOLLOW)?;
    let opens = crate::ready::watch(opens, Interest::READABLE)?;
    let mut events = [0; 512];
    while !is_read(writer) {
        crate::ready::read(&opens, &mut events).await?;
    }
    Ok(())
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

    /// A reader as containerd has it: it opens the FIFO in its own time, and reads to the end.
    fn read(path: &Path) -> std::thread::JoinHandle<String> {
        let path = path.to_owned();
        std::thread::spawn(move || std::fs::read_to_string(path).expect("it ends"))
    }

    async fn heard(reader: std::thread::JoinHandle<String>) -> String {
        while !reader.is_finished() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        reader.join().expect("it doesn't panic")
    }

    #[tokio::test]
    async fn a_late_reader_gets_the_last_words_and_the_end() {
        for words in ["last words", ""] {
            let (_temp, path) = fifo();
            let mut fifo = Fifo::open(&path).expect("opened");
            let process = fifo.both().expect("opened");
            write(&process, words.as_bytes()).expect("written");
            drop(process);
            fifo.let_go();
            // The shim waits meanwhile.
            tokio::task::yield_now().await;
            assert_eq!(heard(read(&path)).await, words);
        }
    }

    #[tokio::test]
    async fn a_reader_sees_the_end_at_exit() {
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

    #[tokio::test]
    async fn a_fifo_without_reader_goes_with_its_stream() {
        let (_temp, path) = fifo();
        let mut fifo = Fifo::open(&path).expect("opened");
        fifo.let_go();
        drop(fifo);
        tokio::task::yield_now().await;
        let writer = open(&path, false, true, libc::O_NONBLOCK);
        assert!(writer.is_err(), "somebody reads");
        let reader = open(&path, true, false, libc::O_NONBLOCK).expect("opened");
        let mut byte = [0];
        // The end, instead of nothing yet.
        assert_eq!(nix::unistd::read(&reader, &mut byte), Ok(0));
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
