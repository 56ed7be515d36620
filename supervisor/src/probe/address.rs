//! Where a handler's sockets are opened, and what they connect to.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream as StdStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::socket::{SockaddrStorage, connect};
use tokio::net::{TcpStream, lookup_host};

use super::socket::Sockets;
use super::words::{dial_error, lookup_error};

/// A Pod as its probes and hooks see it.
#[derive(Clone)]
pub struct Place {
    /// Its address: what a handler without `host` asks. None before the network is there.
    pub ip: Option<IpAddr>,
    /// Its network namespace; none for the machine's own.
    pub namespace: Option<Rc<OwnedFd>>,
    /// Who makes sockets there.
    pub sockets: Rc<Sockets>,
}

impl Place {
    /// The host that a handler asks, without brackets.
    ///
    /// # Errors
    /// When it is the Pod, which has no address.
    pub fn host(&self, given: Option<&str>) -> Result<String, String> {
        match (given, self.ip) {
            (Some(host), _) => Ok(host.to_owned()),
            (None, Some(ip)) => Ok(ip.to_string()),
            (None, None) => {
                Err("failed to find networking container: the Pod has no address".to_owned())
            }
        }
    }

    /// Connects to the first of the host's addresses that answers.
    ///
    /// # Errors
    /// Why not, in Go's words.
    pub async fn dial(&self, host: &str, port: u16) -> Result<Dialed, String> {
        let mut why = lookup_error(host);
        for address in addresses(host, port)
            .await
            .map_err(|_| lookup_error(host))?
        {
            match self.connect(address).await {
                Ok(stream) => return Ok(Dialed { stream, address }),
                Err(error) => why = dial_error(address, &error),
            }
        }
        Err(why)
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<StdStream> {
        let socket = self
            .sockets
            .tcp(self.namespace.as_deref(), address.is_ipv6())?;
        match connect(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(errno) => return Err(errno.into()),
        }
        let stream = StdStream::from(socket);
        // Within one namespace both ends have agreed before connect(2) returns: nobody has to be woken for it.
        if stream.peer_addr().is_ok() {
            return Ok(stream);
        }
        let stream = TcpStream::from_std(stream)?;
        stream.writable().await?;
        match stream.take_error()? {
            None => stream.into_std(),
            Some(error) => Err(error),
        }
    }
}

/// A connection that was made.
pub struct Dialed {
    stream: StdStream,
    address: SocketAddr,
}

impl Dialed {
    /// To be spoken on.
    ///
    /// # Errors
    /// Why not, in Go's words.
    pub fn open(self) -> Result<TcpStream, String> {
        TcpStream::from_std(self.stream).map_err(|error| dial_error(self.address, &error))
    }
}

async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    Ok(lookup_host((host, port)).await?.collect())
}

/// `host:port`, with brackets around an IPv6 address (Go's `net.JoinHostPort`).
pub fn join_host_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}
