//! Sockets of another network namespace. A socket stays in the namespace that its maker was in, so the calling thread
//! goes there and back for each, without a pause in which anything else could run on it.

use std::cell::OnceCell;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// How often the way back is tried: the kernel may be short of memory for a moment.
const TRIES: u32 = 1_000;

/// Makes sockets in the namespaces of Pods, on the one thread that it was first used on.
#[derive(Default)]
pub struct Sockets {
    /// That thread's namespace.
    home: OnceCell<File>,
}

impl Sockets {
    /// A TCP socket in a network namespace (the thread's own when there is none), non-blocking and closed on exec.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn tcp(&self, namespace: Option<&OwnedFd>, ipv6: bool) -> io::Result<OwnedFd> {
        let Some(namespace) = namespace else {
            return Ok(make(ipv6)?);
        };
        let home = self.home()?;
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
        let made = make(ipv6);
        come_home(home);
        Ok(made?)
    }

    fn home(&self) -> io::Result<&File> {
        if let Some(home) = self.home.get() {
            return Ok(home);
        }
        let home = File::open("/proc/thread-self/ns/net")?;
        Ok(self.home.get_or_init(|| home))
    }
}

fn make(ipv6: bool) -> nix::Result<OwnedFd> {
    let family = match ipv6 {
        true => AddressFamily::Inet6,
        false => AddressFamily::Inet,
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    socket(family, SockType::Stream, flags, None)
}

/// Whatever ran in a Pod's namespace from now on would be wrong: without a way back the supervisor ends, as if it had
/// been killed. Its Pods run on, and the next one takes them over.
fn come_home(home: &File) {
    let mut tried = setns(home, CloneFlags::CLONE_NEWNET);
    for _ in 1..TRIES {
        if tried.is_ok() {
            return;
        }
        tried = setns(home, CloneFlags::CLONE_NEWNET);
    }
    if let Err(error) = tried {
        tracing::error!(
            %error,
            "the kernel does not let the supervisor leave a Pod's network namespace; it ends, and its Pods run on"
        );
        process::abort();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::os::fd::AsRawFd;
    use std::thread;

    use super::*;

    /// A namespace with its loopback up, and a server in it that accepts for ever.
    fn elsewhere() -> (OwnedFd, u16) {
        thread::spawn(|| {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET).expect("root can");
            let up = std::process::Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status();
            assert!(up.is_ok_and(|status| status.success()));
            let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = server.local_addr().unwrap().port();
            thread::spawn(move || while server.accept().is_ok() {});
            let namespace = File::open("/proc/thread-self/ns/net").unwrap();
            (namespace.into(), port)
        })
        .join()
        .unwrap()
    }

    #[tokio::test]
    async fn a_socket_is_where_it_was_asked_for_and_its_maker_at_home() {
        let sockets = Sockets::default();
        let (namespace, port) = elsewhere();
        for _ in 0..100 {
            let socket = sockets.tcp(Some(&namespace), false).unwrap();
            let socket = std::net::TcpStream::from(socket);
            let socket = tokio::net::TcpSocket::from_std_stream(socket);
            let connected = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await;
            assert!(connected.is_ok(), "{connected:?}");
        }
        let home: OwnedFd = File::open("/proc/thread-self/ns/net").unwrap().into();
        let here = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let socket = sockets.tcp(Some(&home), false).unwrap();
        let socket = tokio::net::TcpSocket::from_std_stream(socket.into());
        assert!(socket.connect(here.local_addr().unwrap()).await.is_ok());
    }

    #[test]
    fn what_is_no_namespace_is_an_error_and_harms_nobody() {
        let sockets = Sockets::default();
        let file: OwnedFd = File::open("/dev/null").unwrap().into();
        assert!(sockets.tcp(Some(&file), false).is_err());
        let (namespace, _) = elsewhere();
        let socket = sockets.tcp(Some(&namespace), true).unwrap();
        assert!(socket.as_raw_fd() > 2);
    }
}
