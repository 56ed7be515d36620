//! Copies between a terminal's master and what the client named.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};

use nix::errno::Errno;
use nix::unistd::{read, write};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

use super::{Output, Stream};
use crate::ready;

/// How much is copied at a time, in bytes.
const CHUNK: usize = 4096;

nix::ioctl_write_ptr_bad!(set_window_size, libc::TIOCSWINSZ, libc::winsize);

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// The copying of one terminal.
pub struct Console {
    shared: Arc<Terminal>,
    tasks: Vec<JoinHandle<()>>,
}

struct Terminal {
    master: AsyncFd<OwnedFd>,
    output: Mutex<Option<Output>>,
    /// What was read and not yet taken by a FIFO's reader.
    pending: Mutex<Vec<u8>>,
}

impl Console {
    /// Starts copying in tasks of the current runtime: from `input`, a FIFO opened without waiting,
    /// and to `output`.
    ///
    /// # Errors
    /// When the runtime can't watch a descriptor.
    pub(super) fn start(
        master: OwnedFd,
        input: Option<OwnedFd>,
        output: Option<Output>,
    ) -> io::Result<Self> {
        let writable = match &output {
            // A second descriptor, for the runtime alone.
            Some(Output::Fifo(fifo)) => Some(ready::watch(fifo.try_clone()?, Interest::WRITABLE)?),
            _ => None,
        };
        let shared = Arc::new(Terminal {
            master: ready::watch(master, Interest::READABLE | Interest::WRITABLE)?,
            output: Mutex::new(output),
            pending: Mutex::default(),
        });
        let mut tasks = vec![tokio::spawn(copy_out(shared.clone(), writable))];
        if let Some(input) = input {
            let input = ready::watch(input, Interest::READABLE)?;
            tasks.push(tokio::spawn(copy_in(shared.clone(), input)));
        }
        Ok(Self { shared, tasks })
    }

    /// Changes the size, which sends SIGWINCH to the foreground processes.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn resize(&self, size: Size) -> io::Result<()> {
        let size = libc::winsize {
            ws_row: size.height,
            ws_col: size.width,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: the kernel reads one structure that outlives the call.
        unsafe { set_window_size(self.shared.master.get_ref().as_raw_fd(), &raw const size) }?;
        Ok(())
    }

    /// Copies what the terminal has now, as far as it is taken.
    pub fn drain(&self) {
        while self.shared.step().is_ok() {}
    }

    /// Copies what the terminal has now, and ends.
    pub fn finish(self) {
        self.drain();
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.shared.end();
    }
}

impl Terminal {
    /// Copies one chunk out.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing to copy or the reader is slow, another when the terminal
    /// has ended.
    fn step(&self) -> io::Result<()> {
        self.flush()?;
        let mut chunk = [0; CHUNK];
        let length = match read(self.master.get_ref(), &mut chunk) {
            Ok(0) => return Err(self.end()),
            Ok(length) => length,
            Err(Errno::EAGAIN | Errno::EINTR) => return Err(io::ErrorKind::WouldBlock.into()),
            // EIO: the last process has closed it.
            Err(_) => return Err(self.end()),
        };
        match &*lock(&self.output) {
            Some(Output::Sink(sink)) => sink.write(Stream::Stdout, &chunk[..length]),
            Some(Output::Fifo(_)) => lock(&self.pending).extend_from_slice(&chunk[..length]),
            None => {}
        }
        // What a FIFO doesn't take now stays pending.
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes what is pending.
    fn flush(&self) -> io::Result<()> {
        let output = lock(&self.output);
        let mut pending = lock(&self.pending);
        let Some(Output::Fifo(fifo)) = &*output else {
            return Ok(());
        };
        while !pending.is_empty() {
            match write(fifo, &pending) {
                Ok(length) => drop(pending.drain(..length)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(io::ErrorKind::WouldBlock.into()),
                // Nobody will ever read it: the terminal goes on without.
                Err(_) => pending.clear(),
            }
        }
        Ok(())
    }

    fn has_pending(&self) -> bool {
        !lock(&self.pending).is_empty()
    }

    /// Closes the output, so that its reader sees the end.
    fn end(&self) -> io::Error {
        if let Some(Output::Sink(sink)) = lock(&self.output).take() {
            sink.end(Stream::Stdout);
        }
        io::ErrorKind::UnexpectedEof.into()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no code panics while it holds the terminal")
}

async fn copy_out(terminal: Arc<Terminal>, writable: Option<AsyncFd<OwnedFd>>) {
    loop {
        if let Some(writable) = writable.as_ref().filter(|_| terminal.has_pending()) {
            // Nothing is read from the terminal meanwhile, so its writers wait, as on a slow line.
            let Ok(mut ready) = writable.writable().await else {
                return;
            };
            // A failed write has cleared what was pending.
            let _ = ready.try_io(|_| terminal.flush());
            continue;
        }
        let Ok(mut ready) = terminal.master.readable().await else {
            return;
        };
        let step = ready.try_io(|_| match terminal.step() {
            // The terminal wasn't the one to wait for.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && terminal.has_pending() => {
                Ok(())
            }
            other => other,
        });
        if let Ok(Err(_ended)) = step {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn copy_in(terminal: Arc<Terminal>, input: AsyncFd<OwnedFd>) {
    let mut chunk = [0; 512];
    loop {
        let length = match ready::read(&input, &mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        let mut rest = &chunk[..length];
        while !rest.is_empty() {
            let Ok(mut ready) = terminal.master.writable().await else {
                return;
            };
            match ready.try_io(|master| Ok(write(master.get_ref(), rest)?)) {
                Ok(Ok(length)) => rest = &rest[length..],
                Ok(Err(_)) => return,
                Err(_would_block) => {}
            }
        }
    }
}
