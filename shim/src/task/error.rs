//! What an operation answers when it isn't done, in containerd's kinds.

use super::state::Refused;
use crate::sentence::sentence;

/// containerd's kinds of errors (its `errdefs` package).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is no such container or process, or it has ended.
    NotFound,
    /// There is one with this id.
    AlreadyExists,
    /// Not in this state.
    FailedPrecondition,
    /// The request itself is wrong.
    InvalidArgument,
    /// Never.
    Unimplemented,
    /// The machine didn't let us.
    Unknown,
}

/// An operation's error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The kind.
    pub kind: Kind,
    /// One sentence.
    pub message: String,
}

impl Error {
    /// An error of any kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// There is no such container, or exec in it.
    pub fn not_found(id: &str, exec_id: &str) -> Self {
        let message = match exec_id {
            "" => format!("container {id:?} does not exist"),
            exec_id => format!("exec {exec_id:?} of container {id:?} does not exist"),
        };
        Self::new(Kind::NotFound, message)
    }

    /// The request is wrong.
    pub fn invalid(error: impl std::error::Error) -> Self {
        Self::new(Kind::InvalidArgument, sentence(&error))
    }

    /// Something below failed.
    pub fn internal(error: impl std::error::Error) -> Self {
        Self::new(Kind::Unknown, sentence(&error))
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::new(Kind::FailedPrecondition, refused.to_string())
    }
}
