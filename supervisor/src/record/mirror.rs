//! The copy of a Pod's record that survives the machine: below `--root`, synced, and made in the background.
//!
//! What is done for a Pod waits for its record in the state directory, never for a disk: when the machine stops, all
//! that was done stops with it. So the copy may be a moment behind.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::{self, JoinHandle};
use tokio::time::sleep;

use crate::private;

/// How far the copy may be behind. Most changes come several at once, and many Pods don't live for longer.
const BEHIND: Duration = Duration::from_secs(1);

/// Keeps one copy up to date.
pub struct Mirror {
    record: PathBuf,
    copy: PathBuf,
    changed: Rc<Notify>,
    stop: oneshot::Sender<()>,
    worker: JoinHandle<()>,
}

impl Mirror {
    /// Keeps `copy` as `record` is, until dropped.
    pub fn start(record: PathBuf, copy: PathBuf) -> Self {
        let changed = Rc::new(Notify::new());
        let (stop, stopped) = oneshot::channel();
        let worker = follow(record.clone(), copy.clone(), changed.clone(), stopped);
        Self {
            record,
            copy,
            changed,
            stop,
            worker: task::spawn_local(worker),
        }
    }

    /// The record is another one now.
    pub fn changed(&self) {
        self.changed.notify_one();
    }

    /// Has the copy as the record is, now: the machine may not stay for long.
    pub async fn settle(self) -> Self {
        drop(self.stop);
        // One copy at a time.
        let _ = self.worker.await;
        let (record, copy) = (self.record, self.copy);
        let (from, to) = (record.clone(), copy.clone());
        if let Ok(Err(error)) = task::spawn_blocking(move || write(&from, &to)).await {
            tracing::warn!(%error, ?copy, "a Pod's record may not survive the machine");
        }
        Self::start(record, copy)
    }

    /// Removes the copy.
    ///
    /// # Errors
    /// The system's answer.
    pub async fn remove(self) -> io::Result<()> {
        drop(self.stop);
        // A copy that is being made is finished first.
        self.worker.await?;
        let copy = self.copy;
        task::spawn_blocking(move || remove(&copy)).await?
    }
}

async fn follow(
    record: PathBuf,
    copy: PathBuf,
    changed: Rc<Notify>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut told = false;
    loop {
        let due = async {
            changed.notified().await;
            sleep(BEHIND).await;
        };
        tokio::select! {
            () = due => {}
            _ = &mut stopped => return,
        }
        let (from, to) = (record.clone(), copy.clone());
        match task::spawn_blocking(move || write(&from, &to)).await {
            Ok(Err(error)) if !told => {
                tracing::warn!(%error, ?copy, "a Pod's record would not survive the machine");
                told = true;
            }
            _ => {}
        }
    }
}

/// Copies the record, whole or not at all, whenever the machine stops.
fn write(record: &Path, copy: &Path) -> io::Result<()> {
    let directory = parent(copy)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    private::write_synced(copy, &fs::read(record)?)?;
    File::open(directory)?.sync_data()
}

/// Removes a copy for good; none there is success.
///
/// # Errors
/// The system's answer.
pub fn remove(copy: &Path) -> io::Result<()> {
    if private::remove(copy)? {
        let directory = parent(copy)?;
        File::open(directory)?.sync_data()?;
        // Only an empty one goes: other Pods may have theirs in it.
        let _ = fs::remove_dir(directory);
    }
    Ok(())
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent()
        .ok_or_else(|| io::Error::other("it has no directory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_copy_follows_the_record_and_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let (record, copy) = (dir.path().join("a.json"), dir.path().join("copies/a.json"));
        let local = task::LocalSet::new();
        local
            .run_until(async {
                let mirror = Mirror::start(record.clone(), copy.clone());
                for text in ["one", "two"] {
                    fs::write(&record, text).unwrap();
                    mirror.changed();
                    while fs::read_to_string(&copy).unwrap_or_default() != text {
                        sleep(Duration::from_millis(5)).await;
                    }
                }
                mirror.changed();
                mirror.remove().await.unwrap();
            })
            .await;
        assert!(!dir.path().join("copies").exists());
        remove(&copy).unwrap();
    }
}
