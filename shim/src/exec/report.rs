//! How the new process tells the shim what became of it: a socket that closes at `execve`.

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::process::{StartError, StartErrorKind};

/// The longest message that is received, in bytes.
const TEXT_MAX: usize = 4096;

/// What came from the process.
#[derive(Debug)]
pub enum Message {
    /// The master of its terminal.
    Console(OwnedFd),
    /// It could not become its program, and ends.
    Failed(StartError),
    /// It is its program now (or was killed before, which its exit status tells).
    End,
}

// The first byte of a message.
const CONSOLE: u8 = b'c';
const NOT_FOUND: u8 = b'n';
const NOT_EXECUTABLE: u8 = b'x';
const OTHER: u8 = b'o';

/// Room for one descriptor.
const CONTROL: usize = {
    // SAFETY: computes a size.
    unsafe { libc::CMSG_SPACE(size_of::<i32>() as u32) as usize }
};

/// Control messages are aligned like their header.
#[repr(C)]
union Control {
    bytes: [u8; CONTROL],
    _align: libc::cmsghdr,
}

/// The shim's end, which doesn't block, and the process's.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `fds` is a valid place for the two descriptors.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us both.
    let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) };
    // SAFETY: plain numbers; only our end's own flags change.
    if unsafe { libc::fcntl(ours.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((ours, theirs))
}

/// Tells why the process ends. If that fails there is nobody to tell.
pub fn fail(socket: BorrowedFd<'_>, error: &StartError) {
    let kind = match error.kind() {
        StartErrorKind::NotFound => NOT_FOUND,
        StartErrorKind::NotExecutable => NOT_EXECUTABLE,
        StartErrorKind::Other => OTHER,
    };
    let mut message = vec![kind];
    message.extend(error.to_string().bytes().take(TEXT_MAX - 1));
    // write(2) rather than send(2): the filter that is loaded by now more likely allows it.
    // SAFETY: pointer and length are of one vector.
    unsafe { libc::write(socket.as_raw_fd(), message.as_ptr().cast(), message.len()) };
}

/// Hands the master of the terminal to the shim.
pub fn send_console(socket: BorrowedFd<'_>, master: BorrowedFd<'_>) -> io::Result<()> {
    let mut byte = [CONSOLE];
    let mut part = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let mut control = Control {
        bytes: [0; CONTROL],
    };
    // SAFETY: `header` points to live buffers of the sizes given; the one control message fits by
    // the definition of CONTROL.
    let sent = unsafe {
        let mut header: libc::msghdr = zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut control).cast();
        header.msg_controllen = CONTROL as _;
        let message = libc::CMSG_FIRSTHDR(&raw const header);
        (*message).cmsg_level = libc::SOL_SOCKET;
        (*message).cmsg_type = libc::SCM_RIGHTS;
        (*message).cmsg_len = libc::CMSG_LEN(size_of::<i32>() as u32) as _;
        libc::CMSG_DATA(message)
            .cast::<i32>()
            .write_unaligned(master.as_raw_fd());
        libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL)
    };
    if sent == 1 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Receives one message without blocking.
pub fn receive(socket: &OwnedFd) -> io::Result<Message> {
    let mut text = [0u8; TEXT_MAX];
    let mut part = libc::iovec {
        iov_base: text.as_mut_ptr().cast(),
        iov_len: text.len(),
    };
    let mut control = MaybeUninit::<Control>::uninit();
    let mut descriptor = None;
    // SAFETY: `header` points to live buffers of the sizes given; control messages are read as the
    // kernel wrote them.
    let received = unsafe {
        let mut header: libc::msghdr = zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = CONTROL as _;
        let received = libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC);
        if received >= 0 {
            let message = libc::CMSG_FIRSTHDR(&raw const header);
            if !message.is_null()
                && (*message).cmsg_level == libc::SOL_SOCKET
                && (*message).cmsg_type == libc::SCM_RIGHTS
            {
                let fd = libc::CMSG_DATA(message).cast::<i32>().read_unaligned();
                descriptor = Some(OwnedFd::from_raw_fd(fd));
            }
        }
        received
    };
    let length = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    let Some((&kind, rest)) = text[..length].split_first() else {
        return Ok(Message::End);
    };
    let kind = match (kind, descriptor) {
        (CONSOLE, Some(master)) => return Ok(Message::Console(master)),
        (NOT_FOUND, _) => StartErrorKind::NotFound,
        (NOT_EXECUTABLE, _) => StartErrorKind::NotExecutable,
        (OTHER, _) => StartErrorKind::Other,
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    Ok(Message::Failed(StartError::new(
        kind,
        String::from_utf8_lossy(rest),
    )))
}

/// Waits for the next message, for `timeout` at most.
pub fn wait_readable(socket: &OwnedFd, timeout: Duration) -> io::Result<()> {
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // Rounded up, lest the last fraction of a millisecond be spent spinning.
    let milliseconds = i32::try_from(timeout.as_millis() + 1).unwrap_or(i32::MAX);
    // SAFETY: one valid structure.
    if unsafe { libc::poll(&raw mut poll, 1, milliseconds) } < 0 {
        let cause = io::Error::last_os_error();
        if cause.kind() != io::ErrorKind::Interrupted {
            return Err(cause);
        }
    }
    Ok(())
}
