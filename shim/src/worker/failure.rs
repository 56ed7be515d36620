//! Why an operation failed, in one sentence that names the thing.

use std::io;
use std::path::{Path, PathBuf};

use crate::bundle::BundleError;
use crate::cgroup::CgroupError;
use crate::process::SetupError;
use crate::seccomp::SeccompError;

/// Why a worker's operation failed.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The bundle is not usable.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The container's cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The seccomp profile.
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
    /// The process.
    #[error(transparent)]
    Process(#[from] SetupError),
    /// A mount of the root file system or of the worker's own.
    #[error("{what} can't be mounted at {}: {cause}", target.display())]
    Mount {
        /// What was to be mounted.
        what: String,
        /// Where.
        target: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// A path of the image that can't be used for what it must be.
    #[error("the image's {} {why}", path.display())]
    Image {
        /// The path, as the container would see it.
        path: PathBuf,
        /// The rest of the sentence.
        why: String,
    },
    /// Some other step.
    #[error("{step}: {cause}")]
    Step {
        /// What was tried.
        step: String,
        /// What the kernel said.
        cause: io::Error,
    },
    /// libcontainer failed; the text has its cause.
    #[error("{0}")]
    Container(String),
    /// The worker took too long and was killed.
    #[error("making the container took more than {0} seconds and was given up")]
    TimedOut(u64),
    /// A client deleted the container meanwhile.
    #[error("the container was deleted before it was made")]
    Stopped,
    /// The worker died without a report.
    #[error(
        "the worker was ended by status {0} before it could report: is the machine short of memory?"
    )]
    Died(u32),
}

impl WorkerError {
    pub(super) fn step(step: impl Into<String>, cause: impl Into<io::Error>) -> Self {
        Self::Step {
            step: step.into(),
            cause: cause.into(),
        }
    }

    pub(super) fn mount(
        what: impl Into<String>,
        target: &Path,
        cause: impl Into<io::Error>,
    ) -> Self {
        Self::Mount {
            what: what.into(),
            target: target.to_owned(),
            cause: cause.into(),
        }
    }
}

/// The sentence for a failure of libcontainer: what it returned, and the innermost error that it
/// logged, which has the cause that the returned one lost.
pub fn explain(returned: &str, logged: &[String]) -> String {
    let Some(innermost) = logged.first() else {
        return returned.to_owned();
    };
    if returned.contains(innermost.as_str()) {
        return returned.to_owned();
    }
    format!("{returned}: {innermost}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_9_the_lost_cause_is_found_in_the_log() {
        let logged = [
            "failed to mount /data: ENOENT".to_owned(),
            "failed to prepare rootfs".into(),
        ];
        assert_eq!(
            explain("failed to prepare rootfs", &logged),
            "failed to prepare rootfs: failed to mount /data: ENOENT"
        );
        assert_eq!(
            explain("it has ENOENT", &["ENOENT".into()]),
            "it has ENOENT"
        );
        assert_eq!(explain("alone", &[]), "alone");
    }
}
