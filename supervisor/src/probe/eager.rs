//! A connection that is written to at once, without asking first whether it can be, and that is not shut down before it
//! is closed: with a request that fits into any socket's buffer, both would only cost time.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The connection.
pub struct Eager(TcpStream);

impl Eager {
    /// Of one that was just made.
    pub fn new(stream: TcpStream) -> Self {
        Self(stream)
    }
}

impl AsyncRead for Eager {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Eager {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match send(self.0.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
            // Its turn comes when the runtime has seen that there is room.
            Err(Errno::EAGAIN | Errno::EINTR) => Pin::new(&mut self.0).poll_write(context, bytes),
            sent => Poll::Ready(sent.map_err(io::Error::from)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
