//! What can go wrong between an OCI process and a running program.

use std::io;

/// A process of the spec that can't be set up; known before anything is started.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A field has a wrong value.
    #[error("{field} can't be used: {why}")]
    Invalid {
        /// The field, as OCI calls it.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A field that we don't implement.
    #[error("{field} is set, but {way_out}")]
    Unsupported {
        /// The field, as OCI calls it.
        field: &'static str,
        /// What to do.
        way_out: &'static str,
    },
    /// A profile on a machine without AppArmor.
    #[error(
        "process.apparmorProfile is {profile:?}, but AppArmor is not enabled on this machine: \
         remove the profile or boot with AppArmor"
    )]
    NoAppArmor {
        /// The profile.
        profile: String,
    },
}

/// Why a process could not start, by what to tell about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartErrorKind {
    /// The program doesn't exist (a shell would exit with 127).
    NotFound,
    /// The program exists and can't be executed (126).
    NotExecutable,
    /// Anything else.
    Other,
}

/// Why a process could not start. The texts about the program are runc's, which other tools look
/// for.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StartError {
    kind: StartErrorKind,
    message: String,
}

impl StartError {
    /// An error with its text.
    pub fn new(kind: StartErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self::new(StartErrorKind::Other, message)
    }

    /// The error of the system call that was just made.
    pub(crate) fn last(action: &str) -> Self {
        Self::other(format!(
            "can't {action}: {}",
            text(&io::Error::last_os_error())
        ))
    }

    /// What kind of error it is.
    pub fn kind(&self) -> StartErrorKind {
        self.kind
    }
}

/// The text of an error number as Go has it: without Rust's "(os error N)", in lower case.
pub fn text(cause: &io::Error) -> String {
    let text = cause.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if letters.clone().next().is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_gos() {
        let text = |code| text(&io::Error::from_raw_os_error(code));
        assert_eq!(text(libc::EACCES), "permission denied");
        assert_eq!(text(libc::ENOEXEC), "exec format error");
        assert_eq!(text(libc::ENOENT), "no such file or directory");
        assert_eq!(text(libc::EISDIR), "is a directory");
    }
}
