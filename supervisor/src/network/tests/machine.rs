//! A machine for a test: a network namespace that plays the host, and others that play Pods.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use super::super::*;

/// How long a packet that must arrive may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A namespace that lives as long as this value.
pub(super) struct Space {
    file: File,
}

impl Space {
    pub(super) fn new() -> Space {
        let file = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        Space {
            file: file.join().unwrap(),
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    /// Runs something in the namespace, on a thread of its own.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&self.file, CloneFlags::CLONE_NEWNET).unwrap();
                    work()
                })
                .join()
                .unwrap()
        })
    }

    /// Listens in the namespace and answers each connection with a greeting and the address it came from.
    pub(super) fn serve(&self, address: &str) -> SocketAddr {
        let listener = self.run(|| TcpListener::bind((address, 0)).unwrap());
        let bound = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, from)) = listener.accept() {
                if stream
                    .write_all(format!("hello {}", from.ip()).as_bytes())
                    .is_err()
                {
                    break;
                }
            }
        });
        bound
    }

    /// What the server says to a client in this namespace.
    pub(super) fn ask(&self, server: SocketAddr) -> std::io::Result<String> {
        self.run(|| ask(server))
    }

    /// Sends an ICMP echo request from the namespace and waits for the reply.
    pub(super) fn ping(&self, to: IpAddr) -> nix::Result<()> {
        self.run(|| ping(to))
    }
}

pub(super) fn ask(server: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn ping(to: IpAddr) -> nix::Result<()> {
    let IpAddr::V4(to) = to else {
        panic!("only IPv4 is pinged here")
    };
    std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0").unwrap();
    let socket: OwnedFd = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Icmp,
    )?;
    let patience = TimeVal::new(PATIENCE.as_secs() as i64, 0);
    setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
    let to = SockaddrIn::from(std::net::SocketAddrV4::new(to, 0));
    // An echo request; the kernel fills in identifier and checksum.
    let request = [8, 0, 0, 0, 0, 0, 0, 1, b'c', b'a', b'r', b'o', b'b'];
    sendto(socket.as_raw_fd(), &request, &to, MsgFlags::empty())?;
    let mut reply = [0; 64];
    let length = recv(socket.as_raw_fd(), &mut reply, MsgFlags::empty())?;
    assert_eq!((reply[0], &reply[8..length]), (0, &b"carob"[..]));
    Ok(())
}

/// The host of a test.
pub(super) struct Machine {
    pub(super) state: tempfile::TempDir,
}

/// Runs a test on a machine of its own.
pub(super) fn on_machine(test: impl FnOnce(&Machine) + Send) {
    Space::new().run(|| {
        let machine = Machine {
            state: tempfile::tempdir().unwrap(),
        };
        // A machine's loopback is up.
        command("ip", &["link", "set", "lo", "up"]);
        test(&machine);
    });
}

impl Machine {
    pub(super) fn network(&self, config: NetworkConfig) -> Network {
        Network::open(self.state.path(), config).unwrap()
    }

    /// The names of the interfaces of the namespace, sorted.
    pub(super) fn links(&self) -> Vec<String> {
        let text = command("ip", &["-br", "link"]);
        let mut names: Vec<String> = text
            .lines()
            .filter_map(|line| line.split([' ', '@']).next())
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    }

    /// The files below the state directory.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let list = |dir: &std::path::Path| -> Vec<PathBuf> {
            std::fs::read_dir(dir)
                .map(|entries| entries.map(|e| e.unwrap().path()).collect())
                .unwrap_or_default()
        };
        let mut files = list(self.state.path());
        files.extend(list(&self.state.path().join("ipam")));
        files.sort();
        files
    }
}

/// Runs a program in the thread's namespace and returns its output.
pub(super) fn command(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Waits for a future on this thread, so that everything stays in the thread's namespace.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

pub(super) fn none() -> HashSet<String> {
    HashSet::new()
}

pub(super) fn attach(network: &Network, uid: &str, space: &Space) -> Attachment {
    wait(network.attach(uid, &space.path(), None)).unwrap()
}
