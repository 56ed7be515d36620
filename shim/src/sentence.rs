//! An error and its causes as one sentence.

use std::error::Error;

/// The error's text followed by its causes, each only once: many errors repeat theirs.
pub fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Outer(&'static str, #[source] std::io::Error);

    #[test]
    fn each_cause_is_said_once() {
        let io = || std::io::Error::other("disk on fire");
        assert_eq!(
            sentence(&Outer("can't write", io())),
            "can't write: disk on fire"
        );
        assert_eq!(
            sentence(&Outer("oh: disk on fire", io())),
            "oh: disk on fire"
        );
    }
}
