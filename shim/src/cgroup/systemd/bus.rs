//! As much of D-Bus as asking systemd takes: a call, and its answer.
//!
//! No client library: the shim calls two methods of one shape each, from a process that lives for one operation. The format
//! is that of <https://dbus.freedesktop.org/doc/dbus-specification.html>.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// systemd's own socket, for root: it needs no bus. systemctl and runc use it too.
const DIRECT: &str = "/run/systemd/private";
/// The bus, where systemd's own socket is out of reach, as in a container that is given only the bus.
const BUS: &str = "/run/dbus/system_bus_socket";

/// How long systemd may take to answer: it may have a whole machine to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer that is read, in bytes: those to our calls are some dozen.
const LONGEST: usize = 1 << 20;

const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
/// The error's name when there is a unit of that name.
const EXISTS: &str = "org.freedesktop.systemd1.UnitExists";

/// A value of a unit's property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Flag(bool),
    Number(u64),
    Text(String),
    Pids(Vec<u32>),
    Bytes(Vec<u8>),
}

/// A connection to systemd.
pub struct Connection {
    stream: BufReader<UnixStream>,
    serial: u32,
}

/// Whom a call is for.
struct Target {
    destination: &'static str,
    path: &'static str,
    interface: &'static str,
}

const MANAGER: Target = Target {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};
const BUS_ITSELF: Target = Target {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

impl Connection {
    /// Connects to the machine's systemd.
    ///
    /// # Errors
    /// When neither of its sockets can be used.
    pub fn open() -> io::Result<Self> {
        Self::to(Path::new(DIRECT)).or_else(|direct| {
            let mut connection = Self::to(Path::new(BUS)).map_err(|_| direct)?;
            connection.call(&BUS_ITSELF, "Hello", "", &[])?;
            Ok(connection)
        })
    }

    fn to(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut stream = BufReader::new(stream);
        // The user ID in decimal, each digit as the hexadecimal number of its character.
        let user: String = rustix::process::geteuid()
            .as_raw()
            .to_string()
            .bytes()
            .map(|digit| format!("{digit:02x}"))
            .collect();
        let hello = format!("\0AUTH EXTERNAL {user}\r\n");
        stream.get_mut().write_all(hello.as_bytes())?;
        let mut answer = String::new();
        Read::by_ref(&mut stream).take(512).read_line(&mut answer)?;
        if !answer.starts_with("OK ") {
            return Err(io::Error::other(format!(
                "it answers {:?} to our user",
                answer.trim_end()
            )));
        }
        stream.get_mut().write_all(b"BEGIN\r\n")?;
        Ok(Self { stream, serial: 0 })
    }

    /// `StartTransientUnit`: a unit that is gone when it ends.
    ///
    /// # Errors
    /// What systemd says; `AlreadyExists` when it has a unit of the name.
    pub fn start_transient_unit(
        &mut self,
        unit: &str,
        properties: &[(&str, Value)],
    ) -> io::Result<()> {
        let mut body = Writer::default();
        body.text(unit);
        body.text("fail");
        body.properties(properties);
        // No other units with it.
        body.array(8, |_| {});
        self.call(&MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", &body.0)
    }

    /// `SetUnitProperties`, until the unit ends.
    ///
    /// # Errors
    /// What systemd says.
    pub fn set_unit_properties(
        &mut self,
        unit: &str,
        properties: &[(&str, Value)],
    ) -> io::Result<()> {
        let mut body = Writer::default();
        body.text(unit);
        body.number32(1);
        body.properties(properties);
        self.call(&MANAGER, "SetUnitProperties", "sba(sv)", &body.0)
    }

    fn call(
        &mut self,
        target: &Target,
        member: &str,
        signature: &str,
        body: &[u8],
    ) -> io::Result<()> {
        self.serial += 1;
        let message = message(self.serial, target, member, signature, body);
        self.stream.get_mut().write_all(&message)?;
        // Ours is the only call, so the next answer is to it; signals may come before.
        loop {
            let (kind, fields, body) = self.read()?;
            if kind == RETURN {
                return Ok(());
            }
            if kind == ERROR {
                let exists = String::from_utf8_lossy(&fields).contains(EXISTS);
                let kind = match exists {
                    true => io::ErrorKind::AlreadyExists,
                    false => io::ErrorKind::Other,
                };
                return Err(io::Error::new(kind, first_text(&body)));
            }
        }
    }

    /// The next message: its kind, its fields and its body.
    fn read(&mut self) -> io::Result<(u8, Vec<u8>, Vec<u8>)> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head)?;
        let number = |at: usize| {
            let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
            usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
        };
        let (body, fields) = (number(4), number(12));
        if head[0] != b'l' || body > LONGEST || fields > LONGEST {
            return Err(io::Error::other("its answer can't be read"));
        }
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        self.stream.read_exact(&mut rest)?;
        let body = rest.split_off(fields.next_multiple_of(8));
        Ok((head[1], rest, body))
    }
}

fn message(serial: u32, target: &Target, member: &str, signature: &str, body: &[u8]) -> Vec<u8> {
    let mut message = Writer(vec![b'l', CALL, 0, 1]);
    message.number32(body.len() as u32);
    message.number32(serial);
    message.array(8, |fields| {
        for (code, kind, value) in [
            (1, "o", target.path),
            (2, "s", target.interface),
            (3, "s", member),
            (6, "s", target.destination),
        ] {
            fields.pad(8);
            fields.0.push(code);
            fields.signature(kind);
            fields.text(value);
        }
        if !signature.is_empty() {
            fields.pad(8);
            fields.0.push(8);
            fields.signature("g");
            fields.signature(signature);
        }
    });
    message.pad(8);
    message.0.extend_from_slice(body);
    message.0
}

/// The sentence that an error has for people.
fn first_text(body: &[u8]) -> String {
    let length = body
        .first_chunk()
        .map_or(0, |&bytes| u32::from_le_bytes(bytes));
    let text = body.iter().skip(4).take(length as usize).copied().collect();
    String::from_utf8(text).unwrap_or_default()
}

/// A message in the making, with numbers as this side has them: little-endian.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn pad(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number32(&mut self, number: u32) {
        self.pad(4);
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number32(text.len() as u32);
        self.0.extend(text.bytes());
        self.0.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.0.push(signature.len() as u8);
        self.0.extend(signature.bytes());
        self.0.push(0);
    }

    /// The length of an array doesn't count the padding before its first element.
    fn array(&mut self, alignment: usize, elements: impl FnOnce(&mut Self)) {
        self.number32(0);
        let length = self.0.len() - 4..self.0.len();
        self.pad(alignment);
        let begin = self.0.len();
        elements(self);
        let bytes = (self.0.len() - begin) as u32;
        self.0[length].copy_from_slice(&bytes.to_le_bytes());
    }

    fn properties(&mut self, properties: &[(&str, Value)]) {
        self.array(8, |all| {
            for (name, value) in properties {
                all.pad(8);
                all.text(name);
                all.variant(value);
            }
        });
    }

    fn variant(&mut self, value: &Value) {
        match value {
            Value::Flag(flag) => {
                self.signature("b");
                self.number32(u32::from(*flag));
            }
            Value::Number(number) => {
                self.signature("t");
                self.pad(8);
                self.0.extend(number.to_le_bytes());
            }
            Value::Text(text) => {
                self.signature("s");
                self.text(text);
            }
            Value::Pids(pids) => {
                self.signature("au");
                self.array(4, |all| pids.iter().for_each(|&pid| all.number32(pid)));
            }
            Value::Bytes(bytes) => {
                self.signature("ay");
                self.array(1, |all| all.0.extend(bytes));
            }
        }
    }
}
