//! Copies a pipe that a process writes to into a sink.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

use super::Stream;
use super::sink::Shared;
use crate::ready;

/// How much is read at a time, in bytes. On the stack, so that an idle stream costs nothing.
const CHUNK: usize = 16384;

/// The copying of one stream.
pub struct Pump {
    pipe: Arc<Pipe>,
    task: JoinHandle<()>,
}

struct Pipe {
    fd: AsyncFd<OwnedFd>,
    sink: Shared,
    stream: Stream,
}

impl Pump {
    /// Starts copying from `reader` in a task of the current runtime.
    ///
    /// # Errors
    /// When the runtime can't watch it.
    pub fn start(reader: OwnedFd, sink: Shared, stream: Stream) -> io::Result<Self> {
        let fd = ready::watch(reader, Interest::READABLE)?;
        let pipe = Arc::new(Pipe { fd, sink, stream });
        let task = tokio::spawn(copy(pipe.clone()));
        Ok(Self { pipe, task })
    }

    /// Copies what is in the pipe now.
    pub fn drain(&self) {
        while self.pipe.step().is_ok() {}
    }

    /// Copies what is in the pipe now, and ends.
    pub fn finish(self) {
        self.drain();
        self.task.abort();
        self.pipe.sink.end(self.pipe.stream);
    }
}

impl Pipe {
    /// Copies one chunk.
    ///
    /// # Errors
    /// `WouldBlock` when the pipe is empty now, `UnexpectedEof` when nobody writes to it any more.
    fn step(&self) -> io::Result<()> {
        let mut chunk = [0; CHUNK];
        match ready::read_now(self.fd.get_ref(), &mut chunk)? {
            0 => {
                self.sink.end(self.stream);
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            length => {
                self.sink.write(self.stream, &chunk[..length]);
                Ok(())
            }
        }
    }
}

async fn copy(pipe: Arc<Pipe>) {
    loop {
        let Ok(mut ready) = pipe.fd.readable().await else {
            return;
        };
        // One chunk at a time, so that a process that never stops writing doesn't hold up others.
        if let Ok(Err(_ended)) = ready.try_io(|_| pipe.step()) {
            return;
        }
        tokio::task::yield_now().await;
    }
}
