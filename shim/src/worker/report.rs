//! What a worker tells the shim: packets on a socket, the last of them with descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::log::DIAGNOSTIC_PACKET;

/// The longest packet in bytes; longer text is cut.
const LONGEST: usize = 8192;

const FAILED: u8 = b'F';
const DONE: u8 = b'P';

/// One packet.
#[derive(Debug)]
pub enum Packet {
    /// An error that libcontainer logged: a cause, perhaps, if the operation fails.
    Diagnostic(String),
    /// The operation failed, for this reason.
    Failed(String),
    /// The operation is done.
    Done {
        /// The process that was made, or 0.
        pid: i32,
        /// The descriptors that the shim shall have.
        fds: Vec<OwnedFd>,
    },
}

/// The worker's end.
pub struct Reporter {
    socket: OwnedFd,
}

impl Reporter {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// The same reporter on another descriptor number, as `up` duplicates it.
    pub fn moved(self, up: impl Fn(BorrowedFd<'_>) -> nix::Result<i32>) -> nix::Result<Self> {
        let fd = up(self.socket.as_fd())?;
        // SAFETY: the duplicate was just made and is owned by nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { socket })
    }

    /// Says why the operation failed. The first reason counts.
    pub fn failed(&self, why: &str) {
        self.send(FAILED, &why.as_bytes()[..why.len().min(LONGEST - 1)], &[]);
    }

    /// Tells what may be the cause of a failure, as the log does in a worker.
    #[cfg(test)]
    pub fn diagnostic(&self, text: &str) {
        self.send(DIAGNOSTIC_PACKET, text.as_bytes(), &[]);
    }

    /// Says that the operation is done.
    pub fn done(&self, pid: i32, fds: &[BorrowedFd<'_>]) {
        self.send(DONE, &pid.to_le_bytes(), fds);
    }

    fn send(&self, kind: u8, text: &[u8], fds: &[BorrowedFd<'_>]) {
        let kind = [kind];
        let parts = [IoSlice::new(&kind), IoSlice::new(text)];
        let raw: Vec<i32> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let rights = if raw.is_empty() {
            &rights[..0]
        } else {
            &rights[..]
        };
        // A shim that is gone needs no report; the worker ends in any case.
        let _ = sendmsg::<UnixAddr>(
            self.socket.as_raw_fd(),
            &parts,
            rights,
            MsgFlags::MSG_NOSIGNAL,
            None,
        );
    }
}

/// The shim's end.
pub(super) struct Receiver {
    socket: AsyncFd<OwnedFd>,
}

impl Receiver {
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            socket: crate::ready::watch(socket, Interest::READABLE)?,
        })
    }

    pub(super) fn receive_now(&self) -> io::Result<Option<Packet>> {
        read(self.socket.get_ref())
    }

    pub(super) async fn receive(&self) -> io::Result<Option<Packet>> {
        loop {
            let mut ready = self.socket.readable().await?;
            match ready.try_io(|socket| read(socket.get_ref())) {
                Ok(packet) => return packet,
                Err(_would_block) => {}
            }
        }
    }
}

fn read(socket: &OwnedFd) -> io::Result<Option<Packet>> {
    let mut text = [0; LONGEST];
    let mut space = nix::cmsg_space!([i32; 4]);
    let mut parts = [IoSliceMut::new(&mut text)];
    let message = recvmsg::<UnixAddr>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            // SAFETY: the kernel just made these descriptors for this process.
            fds.extend(
                received
                    .into_iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            );
        }
    }
    let length = message.bytes;
    let Some((kind, rest)) = text[..length].split_first() else {
        return Ok(None);
    };
    let string = || String::from_utf8_lossy(rest).into_owned();
    Ok(Some(match *kind {
        DIAGNOSTIC_PACKET => Packet::Diagnostic(string()),
        FAILED => Packet::Failed(string()),
        DONE => match rest.try_into() {
            Ok(pid) => Packet::Done {
                pid: i32::from_le_bytes(pid),
                fds,
            },
            Err(_) => return Err(io::Error::other("a worker's report is garbled")),
        },
        _ => return Err(io::Error::other("a worker's report is of no known kind")),
    }))
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    use super::*;

    fn pair() -> (Reporter, OwnedFd) {
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .expect("a socket pair");
        (Reporter::new(theirs), ours)
    }

    #[test]
    fn packets_arrive_as_they_were_sent() {
        let (reporter, socket) = pair();
        reporter.failed("no such file");
        reporter.done(42, &[]);
        drop(reporter);
        let next = || read(&socket).expect("readable");
        assert!(matches!(next(), Some(Packet::Failed(why)) if why == "no such file"));
        assert!(matches!(next(), Some(Packet::Done { pid: 42, .. })));
        assert!(next().is_none());
    }

    #[test]
    fn descriptors_come_along() {
        let (reporter, socket) = pair();
        let (reader, writer) = crate::worker::pipe().expect("a pipe");
        use std::os::fd::AsFd;
        reporter.done(1, &[writer.as_fd()]);
        drop(writer);
        let Ok(Some(Packet::Done { fds, .. })) = read(&socket) else {
            panic!("a report")
        };
        assert_eq!(fds.len(), 1);
        nix::unistd::write(&fds[0], b"x").expect("the pipe is open");
        drop(fds);
        let mut text = [0; 2];
        assert_eq!(nix::unistd::read(&reader, &mut text), Ok(1));
        assert_eq!(nix::unistd::read(&reader, &mut text), Ok(0));
    }

    #[test]
    fn a_garbled_report_is_an_error() {
        let (reporter, socket) = pair();
        reporter.send(DONE, b"xy", &[]);
        reporter.send(b'?', b"", &[]);
        assert!(read(&socket).is_err());
        assert!(read(&socket).is_err());
    }
}
