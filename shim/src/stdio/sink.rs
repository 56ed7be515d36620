//! Where the shim itself writes a process' output: a raw file, or a log in Kubernetes' format.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use carob_log::{CriLog, Limits, LogFile, Stream};

/// Something that takes output and never fails or blocks for long: what can't be written is counted.
pub enum Sink {
    /// Raw bytes.
    File(LogFile),
    /// Kubernetes' log format.
    Cri(CriLog),
}

/// A sink that both streams may share.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Sink>>);

impl Sink {
    /// Appends raw bytes to the file at `path`.
    pub fn file(path: &Path) -> io::Result<Self> {
        Ok(Self::File(LogFile::open(path)?))
    }

    /// Appends log lines to the file at `path`.
    pub fn cri(path: &Path, limits: Limits) -> io::Result<Self> {
        Ok(Self::Cri(CriLog::open(path, limits)?))
    }

    /// Makes it usable for both streams.
    pub fn shared(self) -> Shared {
        Shared(Arc::new(Mutex::new(self)))
    }
}

impl Shared {
    /// Takes what was read from `stream`.
    pub fn write(&self, stream: Stream, bytes: &[u8]) {
        match &mut *self.lock() {
            Sink::File(file) => file.write(bytes),
            Sink::Cri(log) => log.write(stream, bytes),
        }
    }

    /// Nothing more comes from `stream`.
    pub fn end(&self, stream: Stream) {
        match &mut *self.lock() {
            Sink::File(_) => {}
            Sink::Cri(log) => log.end(stream),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sink> {
        self.0
            .lock()
            .expect("no code panics while it holds the sink")
    }
}
