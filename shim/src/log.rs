//! Where log lines go: the bundle's `log` FIFO in containerd's own format, standard error, nowhere,
//! or, in a worker, the pipe to the shim.
//!
//! A subscriber of our own, because a shim is paid for as often as there are Pods: the usual one
//! costs more memory than everything it would log. It allocates only while it writes a line, and it
//! never blocks: a line that a full FIFO doesn't take is dropped.

use std::fmt::{self, Write as _};
use std::fs::OpenOptions;
use std::os::fd::{BorrowedFd, IntoRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// The longest line in bytes: what a pipe takes as a whole (PIPE_BUF).
const LONGEST: usize = 4096;

const NOWHERE: u8 = 0;
const LOGFMT: u8 = 1;
const DIAGNOSTICS: u8 = 2;

static MODE: AtomicU8 = AtomicU8::new(NOWHERE);
static OUTPUT: AtomicI32 = AtomicI32::new(-1);
static DEBUG: AtomicU8 = AtomicU8::new(0);

/// The first byte of a packet with a diagnostic line.
pub const DIAGNOSTIC_PACKET: u8 = b'D';

/// Sends log lines to the bundle's `log` FIFO when a reader has it open, as containerd does before
/// it runs `start`; otherwise nowhere.
pub fn to_bundle(bundle: &Path, debug: bool) {
    let fifo = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
        .open(bundle.join("log"));
    DEBUG.store(u8::from(debug), Ordering::Relaxed);
    if let Ok(fifo) = fifo {
        OUTPUT.store(fifo.into_raw_fd(), Ordering::Relaxed);
        MODE.store(LOGFMT, Ordering::Relaxed);
    }
    install();
}

/// Sends log lines to standard error.
pub fn to_stderr(debug: bool) {
    DEBUG.store(u8::from(debug), Ordering::Relaxed);
    OUTPUT.store(2, Ordering::Relaxed);
    MODE.store(LOGFMT, Ordering::Relaxed);
    install();
}

/// In a worker: sends errors as packets to `socket`, where the shim takes the cause of a failure
/// from, since libcontainer's own errors lose it.
pub fn to_packets(socket: RawFd) {
    OUTPUT.store(socket, Ordering::Relaxed);
    MODE.store(DIAGNOSTICS, Ordering::Relaxed);
}

fn install() {
    // A second call in one process (only tests do that) leaves the first's subscriber.
    let _ = tracing::subscriber::set_global_default(Lines);
}

struct Lines;

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        match MODE.load(Ordering::Relaxed) {
            DIAGNOSTICS => *metadata.level() == Level::ERROR,
            LOGFMT if DEBUG.load(Ordering::Relaxed) != 0 => *metadata.level() <= Level::DEBUG,
            LOGFMT => *metadata.level() <= Level::INFO,
            _ => false,
        }
    }

    fn register_callsite(&self, _: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        // The answer changes when a worker is forked.
        tracing::subscriber::Interest::sometimes()
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line {
            message: String::new(),
            fields: String::new(),
        };
        event.record(&mut line);
        let text = match MODE.load(Ordering::Relaxed) {
            DIAGNOSTICS => format!(
                "{}{}{}",
                DIAGNOSTIC_PACKET as char, line.message, line.fields
            ),
            _ => format!(
                "time=\"{}\" level={} msg={:?}{}\n",
                jiff::Timestamp::now(),
                level(*event.metadata().level()),
                line.message,
                line.fields
            ),
        };
        write(text.as_bytes());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// logrus' names, which containerd's log uses.
fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        _ => "debug",
    }
}

fn write(text: &[u8]) {
    let output = OUTPUT.load(Ordering::Relaxed);
    if output < 0 {
        return;
    }
    // SAFETY: the descriptor was opened by this module, or is standard error or the worker's
    // socket, and none of these is closed while it is the output.
    let output = unsafe { BorrowedFd::borrow_raw(output) };
    // There is nowhere to report that a log line was lost.
    let _ = nix::unistd::write(output, &text[..text.len().min(LONGEST)]);
}

struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a string doesn't fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
