//! One line of the Kubernetes log format: `TIMESTAMP stdout|stderr F|P TEXT`.
//!
//! Source: the CRI log format, `kubernetes/design-proposals-archive/node/kubelet-cri-logging.md`.

/// Where a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A parsed line; borrows from the file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// RFC 3339 with nanoseconds.
    pub timestamp: &'a str,
    /// Which stream.
    pub stream: Stream,
    /// The line goes on in the stream's next one.
    pub partial: bool,
    /// What the container wrote, without the line feed; any bytes.
    pub text: &'a [u8],
}

/// Why a line is not of this format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a line of the Kubernetes log format: {0}")]
pub struct ParseLineError(&'static str);

impl<'a> LogLine<'a> {
    /// Parses one line, given without its line feed.
    ///
    /// # Errors
    /// When a field is missing or unknown.
    pub fn parse(line: &'a [u8]) -> Result<Self, ParseLineError> {
        let mut fields = line.splitn(4, |&b| b == b' ');
        let mut field = || fields.next().ok_or(ParseLineError("a field is missing"));
        let timestamp =
            std::str::from_utf8(field()?).map_err(|_| ParseLineError("the time is not text"))?;
        if timestamp.len() < 20
            || !timestamp.is_char_boundary(10)
            || timestamp.as_bytes()[10] != b'T'
        {
            return Err(ParseLineError("the time is not RFC 3339"));
        }
        let stream = match field()? {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return Err(ParseLineError("the stream is neither stdout nor stderr")),
        };
        // Tags are separated by colons; the first one says whether the line is whole.
        let partial = match field()?.split(|&b| b == b':').next() {
            Some(b"F") => false,
            Some(b"P") => true,
            _ => return Err(ParseLineError("the tag is neither F nor P")),
        };
        Ok(Self {
            timestamp,
            stream,
            partial,
            text: field()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_has_four_fields() {
        let line = LogLine::parse(b"2026-01-02T03:04:05.000000006Z stderr P two words ").unwrap();
        assert_eq!(line.stream, Stream::Stderr);
        assert!(line.partial);
        assert_eq!(line.text, b"two words ");
        assert_eq!(
            LogLine::parse(b"2026-01-02T03:04:05.000000006Z stdout F ")
                .unwrap()
                .text,
            b""
        );
    }

    #[test]
    fn other_lines_are_refused() {
        for bad in [
            "",
            "x",
            "2026-01-02T03:04:05Z stdout",
            "2026-01-02T03:04:05Z stdin F x",
            "2026-01-02T03:04:05Z stdout X x",
            "yesterday stdout F x",
        ] {
            assert!(LogLine::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = LogLine::parse(&bytes);
        }

        #[test]
        fn text_round_trips(text in proptest::collection::vec(any::<u8>().prop_filter("line feed", |b| *b != b'\n'), 0..64)) {
            let mut line = b"2026-01-02T03:04:05.000000006Z stdout F ".to_vec();
            line.extend(&text);
            prop_assert_eq!(LogLine::parse(&line).unwrap().text, &text[..]);
        }
    }
}
