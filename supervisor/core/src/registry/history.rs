//! What changed, in order and bounded, for those who watch: Kubernetes' resource versions.

use std::collections::VecDeque;

/// Changes with their versions. A version is never used twice.
#[derive(Debug)]
pub struct History<T> {
    /// Oldest first.
    changes: VecDeque<(u64, T)>,
    /// The version of the last change, or the one at which the history began.
    latest: u64,
    /// All changes after this one are here.
    complete_after: u64,
    max: usize,
}

/// What was asked for is not known any more, or was never: whoever watches has to list again (Kubernetes'
/// `410 Gone`, reason `Expired`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub struct TooOld {
    /// After which version.
    pub asked: u64,
    /// The oldest that is known.
    pub oldest: u64,
}

impl<T> History<T> {
    /// A history that begins after version `start` and remembers `max` changes.
    pub fn new(start: u64, max: usize) -> Self {
        Self {
            changes: VecDeque::new(),
            latest: start,
            complete_after: start,
            max,
        }
    }

    /// The version of the last change.
    pub fn latest(&self) -> u64 {
        self.latest
    }

    /// Notes a change, which is made of its version; gives the version.
    pub fn push(&mut self, change: impl FnOnce(u64) -> T) -> u64 {
        self.latest += 1;
        if self.changes.len() >= self.max
            && let Some((forgotten, _)) = self.changes.pop_front()
        {
            self.complete_after = forgotten;
        }
        self.changes.push_back((self.latest, change(self.latest)));
        self.latest
    }

    /// The first change after a version, with its own version; none when nothing has changed since.
    ///
    /// # Errors
    /// [`TooOld`], also of a version that has not been yet: it is of another history.
    pub fn after(&self, version: u64) -> Result<Option<(u64, &T)>, TooOld> {
        if version < self.complete_after || version > self.latest {
            return Err(TooOld {
                asked: version,
                oldest: self.complete_after,
            });
        }
        let first = self.changes.partition_point(|(v, _)| *v <= version);
        Ok(self.changes.get(first).map(|(v, change)| (*v, change)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_in_order_and_once() {
        let mut history = History::new(100, 3);
        assert_eq!(history.after(100), Ok(None));
        for text in ["a", "b", "c"] {
            history.push(|_| text);
        }
        let mut seen = Vec::new();
        let mut version = 100;
        while let Some((next, text)) = history.after(version).unwrap() {
            seen.push(*text);
            version = next;
        }
        assert_eq!((seen, version), (vec!["a", "b", "c"], 103));
    }

    #[test]
    fn what_is_forgotten_is_told() {
        let mut history = History::new(100, 2);
        for text in ["a", "b", "c"] {
            history.push(|_| text);
        }
        let too_old = |asked| Err(TooOld { asked, oldest: 101 });
        assert_eq!(history.after(100), too_old(100));
        assert_eq!(history.after(101), Ok(Some((102, &"b"))));
        assert_eq!(history.after(103), Ok(None));
        // Of a clock that was set back since, or someone's invention.
        assert_eq!(history.after(104), too_old(104));
        assert_eq!(
            history.after(7).unwrap_err().to_string(),
            "too old resource version: 7 (101)"
        );
    }
}
