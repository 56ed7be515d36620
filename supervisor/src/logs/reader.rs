//! Reads what is new in a container's log, across rotation.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{LogLine, Stream};

/// Longest line that is put together from partial ones. Bytes.
const LINE_MAX: usize = 1 << 20;

/// How far a log was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The file's inode: its name changes with rotation.
    inode: u64,
    /// Bytes of it that were given away.
    bytes: u64,
}

/// Follows one log file by its name: rotation renames it away and a new one appears.
pub struct LogReader {
    path: PathBuf,
    /// Files that were rotated away since the log was last read.
    earlier: VecDeque<PathBuf>,
    file: Option<File>,
    /// Bytes of the file that were read.
    read: u64,
    position: Option<Position>,
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
            earlier: VecDeque::new(),
            file: None,
            read: 0,
            position: None,
            rest: Vec::new(),
            pending: Default::default(),
        }
    }

    /// A reader that goes on where another one was, across rotations since; at the start of what there is when that
    /// file is gone.
    pub fn resume(path: PathBuf, position: Position) -> Self {
        let mut reader = Self::new(path);
        reader.earlier = rotated(&reader.path).unwrap_or_default().into();
        let inode = |path: &Path| std::fs::symlink_metadata(path).ok().map(|meta| meta.ino());
        let found = |path: &PathBuf| inode(path) == Some(position.inode);
        if let Some(at) = reader.earlier.iter().position(found) {
            reader.earlier.drain(..at);
        } else if found(&reader.path) {
            reader.earlier.clear();
        } else {
            return reader;
        }
        reader.position = Some(position);
        reader
    }

    /// The log's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How far it has come: nothing before that is given again by [`resume`](Self::resume).
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// Gives each complete line that has not been given before to `sink`.
    ///
    /// # Errors
    /// When the file can't be read or is no regular file.
    pub fn read(&mut self, sink: &mut dyn FnMut(Stream, &[u8])) -> io::Result<()> {
        loop {
            if self.file.is_none() && !self.next()? {
                return Ok(());
            }
            let Some(file) = &mut self.file else {
                return Ok(());
            };
            let mut chunk = [0; 16384];
            let n = file.read(&mut chunk)?;
            if n > 0 {
                self.read += n as u64;
                self.rest.extend_from_slice(&chunk[..n]);
                self.take_lines(sink);
                self.note()?;
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

    /// Opens the next file; false when there is none yet.
    fn next(&mut self) -> io::Result<bool> {
        let mut opened = None;
        while opened.is_none()
            && let Some(earlier) = self.earlier.pop_front()
        {
            opened = open(&earlier)?;
        }
        if opened.is_none() {
            opened = open(&self.path)?;
        }
        let Some(mut file) = opened else {
            return Ok(false);
        };
        let inode = file.metadata()?.ino();
        self.read = match self.position {
            Some(position) if position.inode == inode => {
                file.seek(SeekFrom::Start(position.bytes))?
            }
            _ => 0,
        };
        self.file = Some(file);
        Ok(true)
    }

    /// Notes how far it has come, unless it is within a line.
    fn note(&mut self) -> io::Result<()> {
        if let Some(file) = &self.file
            && self.pending.iter().all(Vec::is_empty)
        {
            self.position = Some(Position {
                inode: file.metadata()?.ino(),
                bytes: self.read - self.rest.len() as u64,
            });
        }
        Ok(())
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

/// Opens a log; `None` when there is none.
fn open(path: &Path) -> io::Result<Option<File>> {
    let opened = File::options()
        .read(true)
        // A log that was replaced by a link, FIFO or device is not ours to read.
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(path);
    match opened {
        Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
        Ok(_) => Err(io::Error::other(format!("{path:?} is no regular file"))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The files that a log was renamed to, oldest first: their names end in their times.
fn rotated(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Vec::new());
    };
    let prefix = format!("{}.", name.to_string_lossy());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
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
    fn another_reader_goes_on_where_the_first_one_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut reader = LogReader::new(path.clone());
        append(&path, &format!("{AT} F one\n{AT} F two\n{AT} F thr"));
        assert_eq!(all(&mut reader), ["one", "two"]);
        let position = reader.position().unwrap();
        append(&path, &format!("ee\n{AT} P fo"));
        let mut second = LogReader::resume(path.clone(), position);
        assert_eq!(all(&mut second), ["three"]);
        // It was within a line.
        let position = second.position().unwrap();
        append(&path, &format!("u\n{AT} F r\n"));
        for (rotated, text) in [
            ("0.log.20260102-030405", "five"),
            ("0.log.20260102-030406", "six"),
        ] {
            fs::rename(&path, dir.path().join(rotated)).unwrap();
            append(&path, &format!("{AT} F {text}\n"));
        }
        let mut third = LogReader::resume(path.clone(), position);
        assert_eq!(all(&mut third), ["four", "five", "six"]);
        append(&path, &format!("{AT} F seven\n"));
        assert_eq!(all(&mut third), ["seven"]);
        let mut fourth = LogReader::resume(path.clone(), third.position().unwrap());
        assert!(all(&mut fourth).is_empty());
        // The file is gone: nobody knows what of the others was read.
        for rotated in ["0.log.20260102-030405", "0.log.20260102-030406"] {
            fs::remove_file(dir.path().join(rotated)).unwrap();
        }
        let mut fifth = LogReader::resume(path, position);
        assert_eq!(all(&mut fifth), ["six", "seven"]);
    }

    #[test]
    fn c12_a_link_in_the_place_of_a_log_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(LogReader::new(path).read(&mut |_, _| ()).is_err());
    }
}
