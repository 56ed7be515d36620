//! Listens in on a connection: what a server spoke that did not speak what it was spoken to, and whether it spoke.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The first bytes that came, at most [`REMEMBERED`].
pub type Heard = Rc<RefCell<Vec<u8>>>;

/// A connection whose first bytes are written down.
pub struct Tap {
    stream: TcpStream,
    heard: Heard,
}

impl Tap {
    /// Listens in on a connection.
    pub fn new(stream: TcpStream, heard: Heard) -> Self {
        Self { stream, heard }
    }
}

/// As long as `HTTP/`.
const REMEMBERED: usize = 5;

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let mut heard = self.heard.borrow_mut();
        let wanted = REMEMBERED - heard.len();
        let came = &buffer.filled()[before..];
        heard.extend(&came[..wanted.min(came.len())]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
