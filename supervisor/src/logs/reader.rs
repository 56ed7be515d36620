//! Reads what is new in a container's log, across rotation.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use super::{LogLine, Stream};

/// Longest line that is put together from partial ones. Bytes.
const LINE_MAX: usize = 1 << 20;

/// Follows one log file by its name: rotation renames it away and a new one appears.
pub struct LogReader {
    path: PathBuf,
    file: Option<File>,
    /// Bytes of the file after its last line feed.
    rest: Vec<u8>,
    /// Partial lines by stream, until their end comes.
    pending: [Vec<u8>; 2],
}

impl LogReader {
    /// A reader at the start of the log at `path`, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            rest: Vec::new(),
            pending: Default::default(),
        }
    }

    /// Gives each complete line that has not been given before to `sink`.
    ///
    /// # Errors
    /// When the file can't be read or is no regular file.
    pub fn read(&mut self, sink: &mut dyn FnMut(Stream, &[u8])) -> io::Result<()> {
        loop {
            if self.file.is_none() {
                self.file = self.open()?;
            }
            let Some(file) = &mut self.file else {
                return Ok(());
            };
            let mut chunk = [0; 16384];
            let n = file.read(&mut chunk)?;
            if n > 0 {
                self.rest.extend_from_slice(&chunk[..n]);
                self.take_lines(sink);
            } else if self.rotated()? {
                self.file = None;
            } else {
                return Ok(());
            }
        }
    }

    /// Gives what is left, as if each unfinished line had ended.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn finish(&mut self, sink: &mut dyn FnMut(Stream, &[u8])) -> io::Result<()> {
        self.read(sink)?;
        for stream in [Stream::Stdout, Stream::Stderr] {
            let pending = std::mem::take(&mut self.pending[stream as usize]);
            if !pending.is_empty() {
                sink(stream, &pending);
            }
        }
        Ok(())
    }

    fn open(&self) -> io::Result<Option<File>> {
        let opened = File::options()
            .read(true)
            // A log that was replaced by a link, FIFO or device is not ours to read.
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
            .open(&self.path);
        match opened {
            Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
            Ok(_) => Err(io::Error::other(format!(
                "{:?} is no regular file",
                self.path
            ))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// True when the name leads to another file than the open one.
    fn rotated(&self) -> io::Result<bool> {
        let (Some(file), Ok(named)) = (&self.file, std::fs::symlink_metadata(&self.path)) else {
            return Ok(false);
        };
        Ok(file.metadata()?.ino() != named.ino())
    }

    fn take_lines(&mut self, sink: &mut dyn FnMut(Stream, &[u8])) {
        let mut start = 0;
        while let Some(length) = self.rest[start..].iter().position(|&b| b == b'\n') {
            let line = &self.rest[start..start + length];
            start += length + 1;
            let Ok(line) = LogLine::parse(line) else {
                tracing::debug!(path = ?self.path, "a line is not of the Kubernetes log format");
                continue;
            };
            let pending = &mut self.pending[line.stream as usize];
            pending.extend_from_slice(line.text);
            if !line.partial || pending.len() > LINE_MAX {
                sink(line.stream, pending);
                pending.clear();
            }
        }
        self.rest.drain(..start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    fn all(reader: &mut LogReader) -> Vec<String> {
        let mut lines = Vec::new();
        reader
            .read(&mut |_, text| lines.push(String::from_utf8_lossy(text).into_owned()))
            .unwrap();
        lines
    }

    fn append(path: &std::path::Path, text: &str) {
        File::options()
            .create(true)
            .append(true)
            .open(path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    const AT: &str = "2026-01-02T03:04:05.000000006Z stdout";

    #[test]
    fn partial_lines_are_joined_and_halves_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut reader = LogReader::new(path.clone());
        assert!(all(&mut reader).is_empty());
        append(&path, &format!("{AT} P one \n{AT} F two\n{AT} F th"));
        assert_eq!(all(&mut reader), ["one two"]);
        append(&path, "ree\n");
        assert_eq!(all(&mut reader), ["three"]);
    }

    #[test]
    fn rotation_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut reader = LogReader::new(path.clone());
        append(&path, &format!("{AT} F one\n"));
        assert_eq!(all(&mut reader), ["one"]);
        append(&path, &format!("{AT} F two\n"));
        fs::rename(&path, dir.path().join("0.log.20260102-030405")).unwrap();
        append(&path, &format!("{AT} F three\n"));
        assert_eq!(all(&mut reader), ["two", "three"]);
    }

    #[test]
    fn c12_a_link_in_the_place_of_a_log_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(LogReader::new(path).read(&mut |_, _| ()).is_err());
    }
}
