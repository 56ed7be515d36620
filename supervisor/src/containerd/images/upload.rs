//! A blob on its way into containerd's content store. What was written stays there when it breaks off, and the next
//! upload of the blob, by whichever client, goes on from there.

use std::time::Duration;

use carob_bundles::image::document::Blob;
use carob_bundles::image::error::Result;
use carob_bundles::image::pull::Sink;
use containerd_client::services::v1::{
    AbortRequest, WriteAction, WriteContentRequest, WriteContentResponse,
};
use containerd_client::tonic::{Code, Status, Streaming};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;

use super::content::{Content, Labels};
use super::refused;

/// Each message is answered before the next one, so they are large. containerd takes 16 MiB.
const PIECE: usize = 1 << 20;
/// Between two looks whether somebody else has finished the same blob.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// A blob on its way.
pub struct Upload {
    content: Content,
    /// The name of the unfinished blob, as containerd's own clients choose it.
    reference: String,
    blob: Blob,
    labels: Labels,
    /// `None` once it broke, or the blob is whole.
    stream: Option<Stream>,
    /// Bytes that containerd has.
    written: u64,
    buffer: Vec<u8>,
}

struct Stream {
    messages: mpsc::Sender<WriteContentRequest>,
    answers: Streaming<WriteContentResponse>,
}

impl Upload {
    /// Begins, or goes on; `None` when the blob is here already. Waits while somebody else writes it.
    ///
    /// `kind` is `layer`, `config`, `manifest` or `index`: it is a part of the name that clients share.
    pub async fn open(
        content: &Content,
        kind: &str,
        blob: &Blob,
        labels: Labels,
    ) -> Result<Option<Self>> {
        let mut upload = Self {
            content: content.clone(),
            reference: format!("{kind}-{}", blob.digest),
            blob: blob.clone(),
            labels,
            stream: None,
            written: 0,
            buffer: Vec::new(),
        };
        Ok(upload.connect().await?.then_some(upload))
    }

    /// Writes a document that is in memory, if it is not here.
    pub async fn whole(
        content: &Content,
        kind: &str,
        blob: &Blob,
        bytes: &[u8],
        labels: Labels,
    ) -> Result<()> {
        let Some(mut upload) = Self::open(content, kind, blob, labels.clone()).await? else {
            // Of another image or client, which may have needed other labels.
            return content.label(&blob.digest, &labels).await;
        };
        if upload.length() > 0 {
            upload.restart().await?;
        }
        upload.write(bytes.to_vec()).await?;
        match upload.finish(blob).await? {
            None => Ok(()),
            Some(found) => {
                upload.discard().await?;
                let status = Status::data_loss(format!("it was changed to {found} on its way"));
                Err(upload.refused(&status))
            }
        }
    }

    /// False when the blob is here.
    async fn connect(&mut self) -> Result<bool> {
        let [mut pause, longest] = PAUSES;
        loop {
            let digest = &self.blob.digest;
            // Looked at again once it is kept: the garbage collector may have been faster.
            if self.content.info(digest).await?.is_some() && self.content.keep(digest).await? {
                return Ok(false);
            }
            match self.try_connect().await {
                Ok(()) => return Ok(true),
                Err(status) if status.code() == Code::AlreadyExists => {}
                // The name is locked: somebody is at it.
                Err(status)
                    if status.code() == Code::Unavailable
                        && status.message().contains("locked") => {}
                Err(status) => return Err(self.refused(&status)),
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    async fn try_connect(&mut self) -> std::result::Result<(), Status> {
        let (messages, receiver) = mpsc::channel(1);
        // containerd answers at all only once it has the first message.
        let _ = messages.try_send(self.message(WriteAction::Stat));
        let request = self.content.request(ReceiverStream::new(receiver));
        let answers = self.content.service().write(request).await?.into_inner();
        let mut stream = Stream { messages, answers };
        let answer = stream.answer().await?;
        self.written = u64::try_from(answer.offset).unwrap_or_default();
        self.stream = Some(stream);
        Ok(())
    }

    fn message(&self, action: WriteAction) -> WriteContentRequest {
        WriteContentRequest {
            action: action.into(),
            r#ref: self.reference.clone(),
            total: i64::try_from(self.blob.size).unwrap_or(i64::MAX),
            expected: self.blob.digest.to_string(),
            offset: i64::try_from(self.written).unwrap_or(i64::MAX),
            ..WriteContentRequest::default()
        }
    }

    /// Sends one message and returns the answer; after an error there is no stream any more.
    async fn send(
        &mut self,
        message: WriteContentRequest,
    ) -> std::result::Result<WriteContentResponse, Status> {
        let Some(mut stream) = self.stream.take() else {
            return Err(Status::unavailable("the transfer to it was interrupted"));
        };
        // Closed when containerd has ended the stream, and then it has said why.
        let _ = stream.messages.send(message).await;
        let answer = stream.answer().await?;
        self.stream = Some(stream);
        Ok(answer)
    }

    fn refused(&self, status: &Status) -> carob_bundles::image::error::ImageError {
        refused(format!("store {}", self.blob.digest), status)
    }

    async fn abort(&mut self) -> Result<()> {
        // It holds the lock on the name.
        self.stream = None;
        let message = AbortRequest {
            r#ref: self.reference.clone(),
        };
        let [mut pause, longest] = PAUSES;
        loop {
            let request = self.content.request(message.clone());
            match self.content.service().abort(request).await {
                Ok(_) => return Ok(()),
                Err(status) if status.code() == Code::NotFound => return Ok(()),
                Err(status)
                    if status.code() == Code::Unavailable
                        && status.message().contains("locked") => {}
                Err(status) => return Err(self.refused(&status)),
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }
}

impl Stream {
    async fn answer(&mut self) -> std::result::Result<WriteContentResponse, Status> {
        let answer = self.answers.message().await?;
        answer.ok_or_else(|| Status::unavailable("it ended the transfer"))
    }
}

impl Sink for Upload {
    fn length(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    async fn restart(&mut self) -> Result<()> {
        self.buffer.clear();
        self.abort().await?;
        self.written = 0;
        if !self.connect().await? {
            // Somebody else has stored it meanwhile: then there is nothing left to do.
            self.written = self.blob.size;
        }
        Ok(())
    }

    async fn write(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.buffer.extend(bytes);
        if self.buffer.len() < PIECE {
            return Ok(());
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        for piece in buffer.chunks(PIECE) {
            let message = WriteContentRequest {
                data: piece.to_vec(),
                ..self.message(WriteAction::Write)
            };
            self.send(message)
                .await
                .map_err(|status| self.refused(&status))?;
            self.written += piece.len() as u64;
        }
        Ok(())
    }

    async fn finish(&mut self, _blob: &Blob) -> Result<Option<String>> {
        self.flush().await?;
        if self.stream.is_none() {
            // Somebody else has stored it: the digest is its name.
            return match self.content.info(&self.blob.digest).await? {
                Some(_) => Ok(None),
                None => {
                    Err(self.refused(&Status::unavailable("the transfer to it was interrupted")))
                }
            };
        }
        let message = WriteContentRequest {
            labels: self.labels.clone(),
            ..self.message(WriteAction::Commit)
        };
        match self.send(message).await {
            Ok(_) => Ok(None),
            Err(status) if status.code() == Code::AlreadyExists => Ok(None),
            // "unexpected commit digest sha256:…, expected sha256:…"
            Err(status) if status.code() == Code::FailedPrecondition => {
                let words = status.message().split([' ', ',', ':']);
                let found = words.skip_while(|word| *word != "sha256").nth(1);
                Ok(Some(found.map_or_else(
                    || status.message().to_owned(),
                    |hex| format!("sha256:{hex}"),
                )))
            }
            Err(status) => Err(self.refused(&status)),
        }
    }

    async fn discard(&mut self) -> Result<()> {
        self.buffer.clear();
        self.abort().await
    }
}
