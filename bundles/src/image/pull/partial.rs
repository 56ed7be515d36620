//! A blob on its way into a file, with the digest of what is there. The next pull goes on where this one ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Sink, blocking, joined};
use crate::image::digest::{Digest, Hasher};
use crate::image::document::Blob;
use crate::image::error::{ImageError, IoContext, Result};

/// Pieces on their way to the disk. Each is at most what one read from the network gives.
const QUEUE: usize = 16;

/// A blob that may not be whole yet.
pub(super) struct Partial {
    path: PathBuf,
    state: State,
    /// Bytes, those included that are on their way to the disk.
    length: u64,
}

enum State {
    Idle(Content),
    /// Hashing and writing block; the network need not wait for them.
    Writing(mpsc::Sender<Vec<u8>>, JoinHandle<Result<Content>>),
    /// An error was told, or the task was interrupted while it waited.
    Lost,
}

struct Content {
    file: File,
    hasher: Hasher,
    length: u64,
}

impl Partial {
    /// Waits for other processes that receive the same blob, then reads what is there.
    pub(super) fn open(path: &Path, size: u64) -> Result<Self> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let mut file = options.open(path).at("open", path)?;
        file.lock().at("lock", path)?;
        let mut hasher = Hasher::new();
        let mut length = io::copy(&mut (&file).take(size), &mut hasher).at("read", path)?;
        if file.metadata().at("read", path)?.len() > size {
            file.set_len(0).at("write", path)?;
            file.rewind().at("write", path)?;
            (hasher, length) = (Hasher::new(), 0);
        }
        Ok(Self {
            path: path.to_owned(),
            state: State::Idle(Content {
                file,
                hasher,
                length,
            }),
            length,
        })
    }

    /// The whole blob, at its start.
    pub(super) fn into_file(self) -> Result<File> {
        let mut content = self.state.idle(&self.path)?;
        content.file.rewind().at("read", &self.path)?;
        Ok(content.file)
    }

    /// Does something that blocks with what is there, when all of it is on the disk.
    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Content, &Path) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.flush().await?;
        let mut content = std::mem::replace(&mut self.state, State::Lost).idle(&self.path)?;
        let path = self.path.clone();
        let (content, result) = blocking(move || {
            let result = work(&mut content, &path)?;
            Ok((content, result))
        })
        .await?;
        self.length = content.length;
        self.state = State::Idle(content);
        Ok(result)
    }
}

impl State {
    fn idle(self, path: &Path) -> Result<Content> {
        match self {
            Self::Idle(content) => Ok(content),
            Self::Writing(..) | Self::Lost => {
                Err(io::Error::other("it was interrupted")).at("write", path)
            }
        }
    }
}

impl Sink for Partial {
    fn length(&self) -> u64 {
        self.length
    }

    async fn restart(&mut self) -> Result<()> {
        self.with(|content, path| {
            content
                .file
                .set_len(0)
                .and_then(|()| content.file.rewind())
                .at("write", path)?;
            (content.hasher, content.length) = (Hasher::new(), 0);
            Ok(())
        })
        .await
    }

    async fn write(&mut self, bytes: Vec<u8>) -> Result<()> {
        if !matches!(self.state, State::Writing(..)) {
            let content = std::mem::replace(&mut self.state, State::Lost).idle(&self.path)?;
            let (sender, receiver) = mpsc::channel(QUEUE);
            let path = self.path.clone();
            let task = tokio::task::spawn_blocking(move || content.write_all(receiver, &path));
            self.state = State::Writing(sender, task);
        }
        let length = bytes.len() as u64;
        if let State::Writing(sender, _) = &self.state
            && sender.send(bytes).await.is_err()
        {
            // Closed when writing failed.
            return self.flush().await;
        }
        self.length += length;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Writing(sender, task) => {
                drop(sender);
                let content = joined(task.await)?;
                self.length = content.length;
                self.state = State::Idle(content);
            }
            other => self.state = other,
        }
        Ok(())
    }

    async fn finish(&mut self, blob: &Blob) -> Result<Option<String>> {
        self.flush().await?;
        let State::Idle(content) = &self.state else {
            return Err(ImageError::refused(
                blob.digest.to_string(),
                "it was interrupted",
            ));
        };
        let found: Digest = content.hasher.clone().finish();
        Ok((found != blob.digest).then(|| found.to_string()))
    }

    async fn discard(&mut self) -> Result<()> {
        self.with(|content, path| {
            content
                .file
                .set_len(0)
                .and_then(|()| std::fs::remove_file(path))
                .at("remove", path)
        })
        .await
    }
}

impl Content {
    fn write_all(mut self, mut pieces: mpsc::Receiver<Vec<u8>>, path: &Path) -> Result<Self> {
        while let Some(bytes) = pieces.blocking_recv() {
            self.file.write_all(&bytes).at("write", path)?;
            self.hasher.update(&bytes);
            self.length += bytes.len() as u64;
        }
        Ok(self)
    }
}
