//! How far the logs of a Pod were shown, for who shows them after this supervisor.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::reader::{LogReader, Position};
use crate::private;

/// The positions of one Pod's logs, kept in a file.
pub struct Shown {
    file: PathBuf,
    /// By log file, as last written.
    positions: BTreeMap<PathBuf, Position>,
}

impl Shown {
    /// What the file says; nothing when there is none.
    pub fn open(file: PathBuf) -> Self {
        let text = fs::read(&file).unwrap_or_default();
        Self {
            positions: serde_json::from_slice(&text).unwrap_or_default(),
            file,
        }
    }

    /// A reader of a log, after what was shown of it.
    pub fn reader(&self, log: PathBuf) -> LogReader {
        match self.positions.get(&log) {
            Some(&position) => LogReader::resume(log, position),
            None => LogReader::new(log),
        }
    }

    /// These logs were shown as far as they were read.
    pub fn note<'a>(&mut self, readers: impl Iterator<Item = &'a LogReader>) {
        let position = |log: &'a LogReader| Some((log.path().to_owned(), log.position()?));
        let positions = readers.filter_map(position).collect();
        if self.positions == positions {
            return;
        }
        self.positions = positions;
        let written = serde_json::to_vec(&self.positions)
            .map_err(Into::into)
            .and_then(|text| private::write(&self.file, &text));
        if let Err(error) = written {
            tracing::debug!(%error, file = ?self.file, "a later supervisor would show lines again");
        }
    }

    /// The Pod has ended.
    pub fn forget(&mut self) {
        if let Err(error) = private::remove(&self.file) {
            tracing::debug!(%error, file = ?self.file, "it stays until it is pruned");
        }
    }
}
