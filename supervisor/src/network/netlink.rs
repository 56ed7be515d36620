//! A blocking rtnetlink socket: requests sent in batches, each acknowledged, and dumps.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use super::error::NetworkError;

/// The kernel fills a dump's datagrams with up to 32 KiB; twice that is never too small.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// A reply comes within the system call that asked for it. Waiting longer than this many seconds is a fault, not load.
const REPLY_TIMEOUT_SECONDS: i64 = 10;

/// How often a dump that the kernel calls inconsistent is asked for again.
const DUMP_ATTEMPTS: usize = 8;

/// One change asked of the kernel, with the words that its failure is told in ("create the bridge carob0").
pub(super) struct Request {
    pub(super) what: String,
    pub(super) flags: u16,
    pub(super) message: RouteNetlinkMessage,
}

/// A socket of the network namespace in which it was opened, wherever the thread that uses it is.
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    pub(super) fn open() -> Result<Netlink, NetworkError> {
        let open = || -> nix::Result<OwnedFd> {
            let socket = socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::NetlinkRoute,
            )?;
            setsockopt(
                &socket,
                sockopt::ReceiveTimeout,
                &TimeVal::new(REPLY_TIMEOUT_SECONDS, 0),
            )?;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
            Ok(socket)
        };
        Ok(Netlink {
            socket: open().map_err(|e| NetworkError::kernel("open a netlink socket", e.into()))?,
            sequence: 0,
            buffer: vec![0; RECEIVE_BUFFER],
        })
    }

    /// Sends all requests in one datagram. The kernel does them in order and goes on after one that failed;
    /// the answers are in the order of the requests.
    pub(super) fn batch(&mut self, requests: &[Request]) -> io::Result<Vec<io::Result<()>>> {
        let first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::new();
        for request in requests {
            self.push(
                &mut datagram,
                request.message.clone(),
                request.flags | NLM_F_ACK,
            );
        }
        send(self.socket.as_raw_fd(), &datagram, MsgFlags::empty())?;

        let mut answers: Vec<Option<io::Result<()>>> = requests.iter().map(|_| None).collect();
        while answers.iter().any(Option::is_none) {
            for reply in self.receive()? {
                let reply = reply?;
                let place = reply.header.sequence_number.wrapping_sub(first) as usize;
                if let (Some(answer), NetlinkPayload::Error(error)) =
                    (answers.get_mut(place), reply.payload)
                {
                    *answer = Some(match error.code {
                        None => Ok(()),
                        Some(_) => Err(error.to_io()),
                    });
                }
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Sends all requests in one datagram and reports the first that failed.
    pub(super) fn change(&mut self, requests: &[Request]) -> Result<(), NetworkError> {
        let answers = self
            .batch(requests)
            .map_err(|e| NetworkError::kernel("speak netlink", e))?;
        for (request, answer) in requests.iter().zip(answers) {
            answer.map_err(|e| NetworkError::kernel(&request.what, e))?;
        }
        Ok(())
    }

    /// Asks for one object; `None` when the kernel says that there is no such device or object.
    pub(super) fn get(
        &mut self,
        message: RouteNetlinkMessage,
    ) -> io::Result<Option<RouteNetlinkMessage>> {
        let mut datagram = Vec::new();
        let sequence = self.push(&mut datagram, message, 0);
        send(self.socket.as_raw_fd(), &datagram, MsgFlags::empty())?;
        loop {
            for reply in self.receive()? {
                let reply = reply?;
                if reply.header.sequence_number != sequence {
                    continue;
                }
                match reply.payload {
                    NetlinkPayload::InnerMessage(message) => return Ok(Some(message)),
                    NetlinkPayload::Error(error) => {
                        let error = error.to_io();
                        return match error.raw_os_error() {
                            Some(nix::libc::ENODEV | nix::libc::ENOENT) => Ok(None),
                            _ => Err(error),
                        };
                    }
                    _ => {}
                }
            }
        }
    }

    /// Asks for all objects of the message's kind, again when they changed meanwhile. An object that cannot be
    /// decoded (a newer kernel's) is left out.
    pub(super) fn dump(
        &mut self,
        message: RouteNetlinkMessage,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(found) = self.dump_once(message.clone())? {
                return Ok(found);
            }
        }
        Err(io::Error::other(
            "the kernel's tables kept changing while they were read",
        ))
    }

    fn dump_once(
        &mut self,
        message: RouteNetlinkMessage,
    ) -> io::Result<Option<Vec<RouteNetlinkMessage>>> {
        let mut datagram = Vec::new();
        let sequence = self.push(&mut datagram, message, NLM_F_DUMP);
        send(self.socket.as_raw_fd(), &datagram, MsgFlags::empty())?;
        let mut found = Vec::new();
        let mut consistent = true;
        loop {
            for reply in self.receive()? {
                let reply = match reply {
                    Ok(reply) => reply,
                    Err(error) => {
                        tracing::debug!(%error, "skipped a netlink object that could not be decoded");
                        continue;
                    }
                };
                if reply.header.sequence_number != sequence {
                    continue;
                }
                consistent &= reply.header.flags & NLM_F_DUMP_INTR == 0;
                match reply.payload {
                    NetlinkPayload::InnerMessage(message) => found.push(message),
                    NetlinkPayload::Done(_) => return Ok(consistent.then_some(found)),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }

    /// Appends one message to a datagram and returns its sequence number.
    fn push(&mut self, datagram: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags | NLM_F_REQUEST;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let start = datagram.len();
        datagram.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut datagram[start..]);
        self.sequence
    }

    /// Receives one datagram and takes it apart. The outer error is the socket's, an inner one that message's.
    #[allow(clippy::type_complexity)]
    fn receive(&mut self) -> io::Result<Vec<io::Result<NetlinkMessage<RouteNetlinkMessage>>>> {
        let length = loop {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(length) => break length,
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "the kernel did not answer a netlink request",
                    ));
                }
                Err(error) => return Err(error.into()),
            }
        };
        let mut messages = Vec::new();
        let mut rest = &self.buffer[..length];
        while !rest.is_empty() {
            let size = NetlinkBuffer::new_checked(rest)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?
                .length() as usize;
            let message = rest.get(..size).ok_or(io::ErrorKind::InvalidData)?;
            messages.push(
                NetlinkMessage::deserialize(message)
                    .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string())),
            );
            rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(messages)
    }
}
