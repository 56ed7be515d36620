//! A log in Kubernetes' format, rotated.
//!
//! One line is `RFC3339Nano stdout|stderr P|F text`. A line of the container that is longer than
//! 16384 bytes, and the rest of one that never ended, is marked `P` (partial), as containerd's CRI
//! does. A full file is renamed to `PATH.YYYYMMDD-HHMMSS` as the kubelet does, and the oldest go.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Limits, LogFile, Stream};

/// The longest text of one line in bytes (containerd's `max_container_log_line_size`).
const LONGEST: usize = 16384;

/// An open log.
pub struct CriLog {
    path: PathBuf,
    limits: Limits,
    file: LogFile,
    /// What has come of a line that hasn't ended, of standard output and standard error.
    pending: [Vec<u8>; 2],
    /// Lines, and bytes of their text, that a full disk didn't take.
    lost: (u64, u64),
    /// One record, kept for its memory.
    record: Vec<u8>,
}

impl CriLog {
    /// Opens or makes the log at `path`.
    ///
    /// # Errors
    /// As [`LogFile::open`].
    pub fn open(path: &Path, limits: Limits) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            limits,
            file: LogFile::open(path)?,
            pending: [Vec::new(), Vec::new()],
            lost: (0, 0),
            record: Vec::new(),
        })
    }

    /// Takes what came from `stream`.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = LONGEST - self.pending[stream as usize].len();
            let end = rest.iter().take(room + 1).position(|byte| *byte == b'\n');
            match end {
                Some(end) => {
                    self.emit(stream, &rest[..end], b'F');
                    rest = &rest[end + 1..];
                }
                None if rest.len() > room => {
                    self.emit(stream, &rest[..room], b'P');
                    rest = &rest[room..];
                }
                None => {
                    self.pending[stream as usize].extend_from_slice(rest);
                    rest = &[];
                }
            }
        }
    }

    /// Writes what is left of a line that never ended.
    pub fn end(&mut self, stream: Stream) {
        if !self.pending[stream as usize].is_empty() {
            self.emit(stream, b"", b'P');
        }
        self.pending[stream as usize] = Vec::new();
    }

    /// Writes one record of what was pending and `text`.
    fn emit(&mut self, stream: Stream, text: &[u8], tag: u8) {
        if self.lost.0 > 0 {
            self.tell_loss();
        }
        let mut record = std::mem::take(&mut self.record);
        head(&mut record, stream, tag);
        let pending = &mut self.pending[stream as usize];
        let length = pending.len() + text.len();
        record.extend_from_slice(pending);
        pending.clear();
        record.extend_from_slice(text);
        record.push(b'\n');
        self.rotate_for(record.len());
        if self.file.append(&record).is_err() {
            self.lost.0 += 1;
            self.lost.1 += length as u64;
        }
        // Between bursts nothing is kept of a long line.
        if record.capacity() <= 1024 {
            record.clear();
            self.record = record;
        }
    }

    /// Says in the log itself how much of it is missing.
    fn tell_loss(&mut self) {
        let mut record = Vec::new();
        head(&mut record, Stream::Stderr, b'F');
        let text = format!(
            "carob: {} log lines ({} bytes) could not be written and are lost\n",
            self.lost.0, self.lost.1
        );
        record.extend_from_slice(text.as_bytes());
        if self.file.append(&record).is_ok() {
            self.lost = (0, 0);
        }
    }

    /// Rotates when `more` bytes would make the file too large.
    fn rotate_for(&mut self, more: usize) {
        if self.file.size() == 0 || self.file.size() + more as u64 <= self.limits.max_size {
            return;
        }
        if let Err(error) = self.rotate() {
            tracing::error!("{} can't be rotated: {error}", self.path.display());
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let mut at = Timestamp::now();
        // Two rotations in one second: the later one takes the next name that is free.
        let name = loop {
            let name = rotated_name(&self.path, at);
            if !name.exists() {
                break name;
            }
            at += jiff::SignedDuration::from_secs(1);
        };
        std::fs::rename(&self.path, &name)?;
        self.file = match LogFile::open(&self.path) {
            Ok(file) => file,
            Err(error) => {
                // The old one goes on; its name is put back for whoever reads the log.
                std::fs::rename(&name, &self.path)?;
                return Err(error);
            }
        };
        self.prune()
    }

    /// Removes the oldest rotated files above the limit.
    fn prune(&self) -> io::Result<()> {
        let (Some(directory), Some(base)) = (self.path.parent(), self.path.file_name()) else {
            return Ok(());
        };
        let base = base.to_string_lossy();
        let mut rotated = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let name = entry?.file_name();
            if name.to_str().is_some_and(|name| is_rotated(name, &base)) {
                rotated.push(name);
            }
        }
        // The names sort by time.
        rotated.sort();
        let keep = (self.limits.max_files - 1) as usize;
        for name in rotated.iter().take(rotated.len().saturating_sub(keep)) {
            std::fs::remove_file(directory.join(name))?;
        }
        Ok(())
    }
}

fn head(record: &mut Vec<u8>, stream: Stream, tag: u8) {
    use std::io::Write;
    record.clear();
    // Writing into memory doesn't fail.
    let _ = write!(
        record,
        "{:.9} {} {} ",
        Timestamp::now(),
        stream.name(),
        tag as char
    );
}

fn rotated_name(path: &Path, at: Timestamp) -> PathBuf {
    let time = at
        .to_zoned(TimeZone::UTC)
        .strftime("%Y%m%d-%H%M%S")
        .to_string();
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(time);
    name.into()
}

/// Whether `name` is `base` with the suffix of a rotation.
fn is_rotated(name: &str, base: &str) -> bool {
    let suffix = name
        .strip_prefix(base)
        .and_then(|rest| rest.strip_prefix('.'));
    suffix.is_some_and(|suffix| {
        suffix.len() == 15
            && suffix.bytes().enumerate().all(|(at, byte)| match at {
                8 => byte == b'-',
                _ => byte.is_ascii_digit(),
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(limits: Limits) -> (tempfile::TempDir, CriLog) {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let log = CriLog::open(&temp.path().join("0.log"), limits).expect("opened");
        (temp, log)
    }

    /// The records of all files, oldest first: (stream, tag, text).
    fn records(temp: &tempfile::TempDir) -> Vec<(String, String, String)> {
        let mut names: Vec<_> = std::fs::read_dir(temp.path())
            .expect("listed")
            .map(|entry| entry.expect("listed").path())
            .collect();
        // `0.log` itself is the newest.
        names.sort_by_key(|name| (name.ends_with("0.log"), name.clone()));
        names
            .iter()
            .flat_map(|name| {
                let text = std::fs::read_to_string(name).expect("read");
                text.lines().map(str::to_owned).collect::<Vec<_>>()
            })
            .map(|line| {
                let mut parts = line.splitn(4, ' ');
                let mut next = || parts.next().expect("four parts").to_owned();
                let time = next();
                assert!(
                    time.parse::<Timestamp>().is_ok() && time.ends_with('Z'),
                    "{time}"
                );
                (next(), next(), next())
            })
            .collect()
    }

    fn record(stream: &str, tag: &str, text: &str) -> (String, String, String) {
        (stream.into(), tag.into(), text.into())
    }

    #[test]
    fn lines_of_both_streams() {
        let (temp, mut log) = log(Limits::default());
        log.write(Stream::Stdout, b"one\ntw");
        log.write(Stream::Stderr, b"oops\n\n");
        log.write(Stream::Stdout, b"o\nrest");
        log.end(Stream::Stdout);
        log.end(Stream::Stderr);
        assert_eq!(
            records(&temp),
            [
                record("stdout", "F", "one"),
                record("stderr", "F", "oops"),
                record("stderr", "F", ""),
                record("stdout", "F", "two"),
                record("stdout", "P", "rest"),
            ]
        );
    }

    #[test]
    fn long_lines_are_cut_at_16384_bytes() {
        let (temp, mut log) = log(Limits::default());
        let line = "x".repeat(LONGEST);
        // Exactly as long is one record; the chunks that it comes in don't matter.
        for chunk in format!("{line}\n{line}y\n").as_bytes().chunks(1000) {
            log.write(Stream::Stdout, chunk);
        }
        assert_eq!(
            records(&temp),
            [
                record("stdout", "F", &line),
                record("stdout", "P", &line),
                record("stdout", "F", "y"),
            ]
        );
    }

    #[test]
    fn f26_rotation_loses_nothing_and_keeps_the_newest() {
        let limits = Limits {
            max_size: 400,
            max_files: 1000,
        };
        let (temp, mut log) = log(limits);
        for number in 0..200 {
            log.write(Stream::Stdout, format!("line {number}\n").as_bytes());
        }
        let numbers: Vec<String> = records(&temp).into_iter().map(|record| record.2).collect();
        assert_eq!(
            numbers,
            (0..200)
                .map(|number| format!("line {number}"))
                .collect::<Vec<_>>()
        );

        log.limits.max_files = 3;
        log.write(Stream::Stdout, &[b'x'; 500]);
        log.write(Stream::Stdout, b"\n");
        let count = std::fs::read_dir(temp.path()).expect("listed").count();
        assert_eq!(count, 3);
        assert_eq!(
            records(&temp).last().map(|record| record.2.len()),
            Some(500)
        );
    }

    #[test]
    fn other_files_are_not_pruned() {
        for (name, wanted) in [
            ("0.log.20261101-120000", true),
            ("0.log.20261101-120000.gz", false),
            ("0.log", false),
            ("10.log.20261101-120000", false),
            ("0.log.20261101x120000", false),
        ] {
            assert_eq!(is_rotated(name, "0.log"), wanted, "{name}");
        }
    }

    #[test]
    fn f9_a_full_disk_is_told_in_the_log() {
        let (temp, mut log) = log(Limits::default());
        log.lost = (3, 99);
        log.write(Stream::Stdout, b"again\n");
        let told = &records(&temp)[0];
        assert_eq!(told.0, "stderr");
        assert!(told.2.contains("3 log lines (99 bytes)"), "{}", told.2);
        assert_eq!(records(&temp)[1].2, "again");
    }
}
