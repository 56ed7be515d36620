//! From bytes to text: what is no plain UTF-8 is refused before any parser sees it.

use super::tree::{Position, Problem};

/// More than an API server takes for one object (1.5 MiB), less than would hurt.
const MAX_TEXT: usize = 3 << 20;

/// The text, without a byte order mark.
pub(super) fn decode(bytes: &[u8]) -> Result<&str, Problem> {
    if bytes.len() > MAX_TEXT {
        let message = format!(
            "the text has {} bytes, a manifest may have {MAX_TEXT}; split it",
            bytes.len()
        );
        return Err(problem(&[], message));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(problem(&[], "the text is UTF-16; save it as UTF-8"));
    }
    let bytes = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    if let Some(nul) = bytes.iter().position(|b| *b == 0) {
        return Err(problem(
            &bytes[..nul],
            "the text has a NUL byte; save it as UTF-8",
        ));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        problem(
            &bytes[..error.valid_up_to()],
            "the text is not valid UTF-8; save it as UTF-8",
        )
    })
}

/// A problem after `before`.
fn problem(before: &[u8], message: impl Into<String>) -> Problem {
    let mut lines = before.split(|b| *b == b'\n');
    let line = lines.clone().count();
    let column = lines
        .next_back()
        .map_or(0, |line| String::from_utf8_lossy(line).chars().count())
        + 1;
    Problem {
        document: 1,
        at: Position { line, column },
        path: String::new(),
        message: message.into(),
    }
}
