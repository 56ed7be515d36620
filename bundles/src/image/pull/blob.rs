//! Receives a blob until it is whole and right, from whichever server has it, continuing what an earlier try left.

use std::future::Future;

use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode};

use super::Reporter;
use super::host::Host;
use super::registry::{Asked, Registry};
use crate::image::document::Blob;
use crate::image::error::{ImageError, Result};
use crate::image::unpack::LayerError;

/// Where a blob goes. Its errors are this machine's, not the registry's.
pub trait Sink: Send {
    /// Bytes that are there.
    fn length(&self) -> u64;
    /// Forgets all of them.
    fn restart(&mut self) -> impl Future<Output = Result<()>> + Send;
    /// Adds to them.
    fn write(&mut self, bytes: Vec<u8>) -> impl Future<Output = Result<()>> + Send;
    /// Returns when [`length`](Self::length) is what is truly there.
    fn flush(&mut self) -> impl Future<Output = Result<()>> + Send;
    /// Called when as many bytes are there as the blob has: `None` when they are the blob, else what they are.
    fn finish(&mut self, blob: &Blob) -> impl Future<Output = Result<Option<String>>> + Send;
    /// What is there is wrong, and nobody shall go on with it.
    fn discard(&mut self) -> impl Future<Output = Result<()>> + Send;
}

impl Registry {
    /// Receives a blob until its size and digest are right. What has the wrong digest is removed.
    pub(super) async fn receive(
        &self,
        blob: &Blob,
        sink: &mut impl Sink,
        reporter: &Reporter,
    ) -> Result<()> {
        let mut turn = self.hosts(Asked::Pull)?;
        // What was there already may have been damaged by a crash.
        let mut resumed = sink.length() > 0;
        loop {
            while sink.length() < blob.size {
                let before = sink.length();
                let mut transfer = Transfer {
                    host: turn.host(),
                    blob,
                    reporter,
                    resumed: &mut resumed,
                };
                let result = transfer.run(sink).await?;
                sink.flush().await?;
                if let Err(error) = result {
                    if sink.length() > before {
                        turn.progressed();
                    }
                    turn.next(error).await?;
                }
            }
            let Some(found) = sink.finish(blob).await? else {
                return Ok(());
            };
            if resumed {
                sink.restart().await?;
                resumed = false;
                continue;
            }
            let error = blob.mismatch(format!("{found} of {} bytes", blob.size));
            if !turn.has_others() {
                sink.discard().await?;
                return Err(error);
            }
            sink.restart().await?;
            turn.next(error).await?;
        }
    }
}

/// One request's worth of a blob.
struct Transfer<'a> {
    host: &'a Host,
    blob: &'a Blob,
    reporter: &'a Reporter,
    resumed: &'a mut bool,
}

impl Transfer<'_> {
    /// The inner error is the registry's, and what came before it counts.
    async fn run(&mut self, sink: &mut impl Sink) -> Result<Result<()>> {
        let (host, blob) = (self.host, self.blob);
        let path = format!("blobs/{}", blob.digest);
        let mut response = match host.get(&path, "*/*", sink.length()).await {
            Ok(response) => response,
            Err(error) => return Ok(Err(error)),
        };
        if sink.length() > 0 && !continues(&response, sink.length()) {
            sink.restart().await?;
            *self.resumed = false;
            if response.status() == StatusCode::PARTIAL_CONTENT {
                // Another part than was asked for: ask for all.
                return Ok(Ok(()));
            }
        }
        let wrong_length = |length: u64| blob.mismatch(format!("of {length} bytes"));
        let mut received = sink.length();
        if let Some(length) = response.content_length()
            && received + length != blob.size
        {
            return Ok(Err(wrong_length(received + length)));
        }
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    received += chunk.len() as u64;
                    if received > blob.size {
                        return Ok(Err(wrong_length(received)));
                    }
                    self.reporter.receiving(&blob.digest, received, blob.size);
                    sink.write(chunk.into()).await?;
                }
                Ok(None) if received < blob.size => {
                    let short = format!("it sent {received} of {} bytes", blob.size);
                    return Ok(Err(host.unavailable(short)));
                }
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(host.transport(error))),
            }
        }
    }
}

impl Blob {
    /// The error for a layer that is something else.
    pub(super) fn mismatch(&self, found: String) -> ImageError {
        ImageError::Layer {
            layer: self.digest.clone(),
            source: LayerError::Mismatch {
                expected: format!("{} of {} bytes", self.digest, self.size),
                found,
            },
        }
    }
}

/// Whether the answer goes on where the content ends.
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
