//! How a container ended: exit code, signal and last words.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use carob_core::event::Event;
use carob_core::pod::TerminationMessagePolicy;
use jiff::Timestamp;

use super::{Executor, Instance};
use crate::logs::LogLine;

/// Longest message from the file (Kubernetes: `MaxContainerTerminationMessageLength`). Bytes.
const FILE_MAX: u64 = 4096;
/// What the messages of all containers of a Pod may be together (`MaxPodTerminationMessageLogLength`). Bytes.
const POD_MAX: usize = 12 << 10;
/// Longest message from the log, and the most lines of it
/// (`MaxContainerTerminationMessageLogLength`, `…LogLines`).
const LOG_MAX: u64 = 2048;
const LOG_LINES: usize = 80;

impl Executor {
    /// Tells that an instance ended, with its termination message.
    pub(super) fn exited(&self, instance: Instance, status: u32, at: Timestamp) {
        let exit_code = i32::try_from(status).unwrap_or(255);
        let message = self
            .last_words(&instance, exit_code)
            .unwrap_or_else(|error| {
                Some(format!("the termination message cannot be read: {error}"))
            })
            .map(|message| shortened(message, self.message_max()));
        self.tell(Event::ContainerExited {
            container: instance.name,
            attempt: instance.attempt,
            exit_code,
            signal: (exit_code > 128 && exit_code <= 128 + 64).then_some(exit_code - 128),
            at,
            message,
        });
    }

    /// The rule is kubelet's `getTerminationMessage` (`kuberuntime_container.go`).
    fn last_words(&self, instance: &Instance, exit_code: i32) -> io::Result<Option<String>> {
        let Some(container) = self.container(&instance.name) else {
            return Ok(None);
        };
        let from_file = tail(&self.termination_log(instance), FILE_MAX)?;
        if !from_file.is_empty() {
            // What is no text becomes longer when it is made one.
            let text = String::from_utf8_lossy(&from_file).into_owned();
            return Ok(Some(shortened(text, FILE_MAX as usize)));
        }
        let falls_back =
            container.termination_message_policy == TerminationMessagePolicy::FallbackToLogsOnError;
        if exit_code == 0 || !falls_back {
            return Ok(None);
        }
        Ok(Some(last_lines(&tail(&self.log(instance), 4 * LOG_MAX)?))
            .filter(|text| !text.is_empty()))
    }

    /// What each container's message may be (`normalizeStatus`, `pkg/kubelet/status/status_manager.go`). Bytes.
    fn message_max(&self) -> usize {
        POD_MAX / self.pod.spec.all_containers().count().max(1)
    }
}

/// The beginning of a text, at most so many bytes of it.
fn shortened(mut text: String, max: usize) -> String {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// The text of the last lines of a log in the Kubernetes format.
fn last_lines(log: &[u8]) -> String {
    let mut text: Vec<u8> = Vec::new();
    let lines: Vec<_> = log
        .split(|&b| b == b'\n')
        .filter_map(|line| LogLine::parse(line).ok())
        .collect();
    for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
        text.extend_from_slice(line.text);
        if !line.partial {
            text.push(b'\n');
        }
    }
    let start = text.len().saturating_sub(LOG_MAX as usize);
    String::from_utf8_lossy(&text[start..]).into_owned()
}

/// The end of a file, which the container may have replaced by anything: only a regular file is read.
fn tail(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let opened = File::options()
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(path);
    let mut file = match opened {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Ok(Vec::new());
    }
    file.seek(SeekFrom::Start(meta.len().saturating_sub(max)))?;
    let mut text = Vec::new();
    file.take(max).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b31_a_large_message_keeps_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, [vec![b'a'; 10_000], b"end".to_vec()].concat()).unwrap();
        let text = tail(&path, FILE_MAX).unwrap();
        assert_eq!(text.len(), 4096);
        assert!(text.ends_with(b"aend"));
    }

    #[test]
    fn b31_what_is_no_text_is_no_longer_for_it() {
        let text = String::from_utf8_lossy(&[0xff; 4096]).into_owned();
        assert_eq!(shortened(text, 4096).len(), 4095);
        assert_eq!(shortened("short".to_owned(), 4096), "short");
        assert_eq!(shortened("é".to_owned(), 1), "");
    }

    #[test]
    fn b31_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(tail(&path, FILE_MAX).is_err());
    }

    #[test]
    fn only_the_last_lines_of_the_log_count() {
        let log: String = (0..100)
            .map(|n| format!("2026-01-02T03:04:05.000000006Z stdout F {n}\n"))
            .collect();
        let text = last_lines(log.as_bytes());
        assert_eq!(text.lines().count(), 80);
        assert!(text.ends_with("99\n"));
    }
}
