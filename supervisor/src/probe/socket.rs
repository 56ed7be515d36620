//! Sockets of another network namespace, made by one thread that goes there and back for each.
//!
//! A socket stays in the namespace that its maker was in, so the runtime's own threads never have to leave theirs.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use tokio::sync::oneshot;

/// Makes sockets in the namespaces of Pods. Its thread is started when it is first needed.
#[derive(Default)]
pub struct Sockets {
    asks: RefCell<Option<mpsc::Sender<Ask>>>,
}

/// A TCP socket that somebody wants.
struct Ask {
    namespace: Arc<OwnedFd>,
    family: AddressFamily,
    answer: oneshot::Sender<io::Result<OwnedFd>>,
}

impl Sockets {
    /// A TCP socket in a network namespace, non-blocking and closed on exec.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn tcp(&self, namespace: Arc<OwnedFd>, ipv6: bool) -> io::Result<OwnedFd> {
        let family = match ipv6 {
            true => AddressFamily::Inet6,
            false => AddressFamily::Inet,
        };
        let (answer, made) = oneshot::channel();
        self.ask(Ask {
            namespace,
            family,
            answer,
        })?;
        made.await
            .map_err(|_| io::Error::other("the thread that makes sockets has ended"))?
    }

    fn ask(&self, ask: Ask) -> io::Result<()> {
        let mut asks = self.asks.borrow_mut();
        let ask = match asks.as_ref() {
            None => ask,
            Some(asks) => match asks.send(ask) {
                Ok(()) => return Ok(()),
                // It could not come back from where it was: a new one begins at home.
                Err(mpsc::SendError(ask)) => ask,
            },
        };
        begin(&mut asks, ask)
    }
}

/// Starts the thread, with something to do.
fn begin(asks: &mut Option<mpsc::Sender<Ask>>, first: Ask) -> io::Result<()> {
    let home = File::open("/proc/thread-self/ns/net")?;
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .name("carob-sockets".to_owned())
        .spawn(move || serve(&home, &receiver))?;
    let ended = |_| io::Error::other("the thread that makes sockets has ended");
    sender.send(first).map_err(ended)?;
    *asks = Some(sender);
    Ok(())
}

/// Ends when nobody can ask any more, or when the thread is not at home any more.
fn serve(home: &File, asks: &mpsc::Receiver<Ask>) {
    for Ask {
        namespace,
        family,
        answer,
    } in asks
    {
        let made = make(&namespace, family);
        // Else the namespace would live for as long as the thread stays in it.
        let back = setns(home, CloneFlags::CLONE_NEWNET);
        // Who asked may have given up.
        let _ = answer.send(made);
        if back.is_err() {
            return;
        }
    }
}

fn make(namespace: &OwnedFd, family: AddressFamily) -> io::Result<OwnedFd> {
    setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    Ok(socket(family, SockType::Stream, flags, None)?)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::os::fd::AsRawFd;

    use super::*;

    /// A namespace with its loopback up, and a server in it that accepts for ever.
    fn elsewhere() -> (Arc<OwnedFd>, u16) {
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
            (Arc::new(namespace.into()), port)
        })
        .join()
        .unwrap()
    }

    #[tokio::test]
    async fn a_socket_is_where_it_was_asked_for_and_the_thread_at_home() {
        let sockets = Sockets::default();
        let (namespace, port) = elsewhere();
        for _ in 0..100 {
            let socket = sockets.tcp(namespace.clone(), false).await.unwrap();
            let socket = std::net::TcpStream::from(socket);
            let socket = tokio::net::TcpSocket::from_std_stream(socket);
            let connected = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await;
            assert!(connected.is_ok(), "{connected:?}");
        }
        let home: Arc<OwnedFd> = Arc::new(File::open("/proc/thread-self/ns/net").unwrap().into());
        let here = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let socket = sockets.tcp(home, false).await.unwrap();
        let socket = tokio::net::TcpSocket::from_std_stream(socket.into());
        assert!(socket.connect(here.local_addr().unwrap()).await.is_ok());
    }

    #[tokio::test]
    async fn what_is_no_namespace_is_an_error_and_harms_nobody() {
        let sockets = Sockets::default();
        let file: Arc<OwnedFd> = Arc::new(File::open("/dev/null").unwrap().into());
        assert!(sockets.tcp(file, false).await.is_err());
        let (namespace, _) = elsewhere();
        let socket = sockets.tcp(namespace, true).await.unwrap();
        assert!(socket.as_raw_fd() > 2);
    }
}
