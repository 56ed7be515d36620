//! Receives a layer's blob into a file, continuing what an earlier try left.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode};
use tokio::sync::mpsc;

use super::registry::Registry;
use super::retry::Tries;
use super::{Reporter, blocking};
use crate::image::digest::Hasher;
use crate::image::document::Blob;
use crate::image::error::{ImageError, IoContext, Result};
use crate::image::import::mismatch;

/// A blob that may not be whole yet, with the digest of what is there.
pub(super) struct Partial {
    file: File,
    path: PathBuf,
    hasher: Hasher,
    length: u64,
    /// Some of it is from an earlier process.
    resumed: bool,
}

/// Pieces on their way to the disk. Each is at most what one read from the network gives.
const QUEUE: usize = 16;

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
            file,
            path: path.to_owned(),
            hasher,
            length,
            resumed: length > 0,
        })
    }

    fn restart(&mut self) -> Result<()> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .at("write", &self.path)?;
        (self.hasher, self.length, self.resumed) = (Hasher::new(), 0, false);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).at("write", &self.path)?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// The whole blob, at its start.
    pub(super) fn into_file(mut self) -> Result<File> {
        self.file.rewind().at("read", &self.path)?;
        Ok(self.file)
    }
}

impl Registry {
    /// Receives a blob until its size and digest are right. What has the wrong digest is removed.
    pub(super) async fn receive(
        &self,
        blob: &Blob,
        mut partial: Partial,
        reporter: &Reporter,
    ) -> Result<Partial> {
        let mut tries = Tries::new();
        loop {
            while partial.length < blob.size {
                let before = partial.length;
                let result;
                (partial, result) = self.receive_some(blob, partial, reporter).await?;
                if let Err(error) = result {
                    if partial.length > before {
                        tries = Tries::new();
                    }
                    tries.again(error).await?;
                }
            }
            let actual = partial.hasher.clone().finish();
            if actual == blob.digest {
                return Ok(partial);
            }
            // What was there already may have been damaged by a crash.
            if !partial.resumed {
                let path = partial.path.clone();
                blocking(move || {
                    partial
                        .file
                        .set_len(0)
                        .and_then(|()| std::fs::remove_file(&path))
                        .at("remove", &path)
                })
                .await?;
                return Err(mismatch(
                    &blob.digest,
                    &blob.digest,
                    blob.size,
                    &actual,
                    blob.size,
                ));
            }
            partial = blocking(move || partial.restart().map(|()| partial)).await?;
        }
    }

    /// One request's worth. The inner error is the registry's, and what came before it counts.
    async fn receive_some(
        &self,
        blob: &Blob,
        mut partial: Partial,
        reporter: &Reporter,
    ) -> Result<(Partial, Result<()>)> {
        let path = format!("blobs/{}", blob.digest);
        let mut response = match self.get(&path, "*/*", partial.length).await {
            Ok(response) => response,
            Err(error) => return Ok((partial, Err(error))),
        };
        if partial.length > 0 && !continues(&response, partial.length) {
            partial = blocking(move || partial.restart().map(|()| partial)).await?;
            if response.status() == StatusCode::PARTIAL_CONTENT {
                // Another part than was asked for: ask for all.
                return Ok((partial, Ok(())));
            }
        }
        let wrong_length = |length: u64| {
            let actual = format!("of {length} bytes");
            let source = crate::image::unpack::LayerError::Mismatch {
                expected: format!("of {} bytes", blob.size),
                found: actual,
            };
            ImageError::Layer {
                layer: blob.digest.clone(),
                source,
            }
        };
        if let Some(length) = response.content_length()
            && partial.length + length != blob.size
        {
            return Err(wrong_length(partial.length + length));
        }
        let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(QUEUE);
        let mut received = partial.length;
        // Hashing and writing block; the network need not wait for them.
        let writer = tokio::task::spawn_blocking(move || {
            while let Some(bytes) = receiver.blocking_recv() {
                partial.write(&bytes)?;
            }
            Ok::<_, ImageError>(partial)
        });
        let result = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    received += chunk.len() as u64;
                    if received > blob.size {
                        break Err(wrong_length(received));
                    }
                    reporter.receiving(&blob.digest, received, blob.size);
                    // Closed when writing failed, which is told below.
                    if sender.send(chunk.into()).await.is_err() {
                        break Ok(());
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(self.transport(error)),
            }
        };
        drop(sender);
        let partial = super::joined(writer.await)?;
        let result = result.and_then(|()| match partial.length < blob.size {
            true => {
                Err(self.unavailable(format!("it sent {} of {} bytes", partial.length, blob.size)))
            }
            false => Ok(()),
        });
        Ok((partial, result))
    }
}

/// Whether the answer goes on where the file ends.
fn continues(response: &Response, length: u64) -> bool {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return false;
    }
    let range = response
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.trim().starts_with(&format!("bytes {length}-")))
}
