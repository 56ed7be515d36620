//! Containers' logs as files: what the shim writes itself, and what a logging program writes for other shims.

mod crilog;
mod file;

pub use crilog::CriLog;
pub use file::LogFile;

/// Which of a process' outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// As Kubernetes' log format has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// When a log file is rotated, and how many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest size of one file, in bytes.
    pub max_size: u64,
    /// How many files there are at most, the current one included.
    pub max_files: u32,
}

impl Default for Limits {
    /// The kubelet's defaults: `containerLogMaxSize` 10Mi, `containerLogMaxFiles` 5.
    fn default() -> Self {
        Self {
            max_size: 10 << 20,
            max_files: 5,
        }
    }
}
