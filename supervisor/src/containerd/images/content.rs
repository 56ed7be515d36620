//! containerd's content store: documents and blobs by digest, read, written and labelled.

use std::collections::HashMap;

use carob_bundles::image::digest::Digest;
use carob_bundles::image::document::Blob;
use carob_bundles::image::error::{ImageError, Result};
use containerd_client::services::v1::content_client::ContentClient;
use containerd_client::services::v1::leases_client::LeasesClient;
use containerd_client::services::v1::{
    AddResourceRequest, Info, InfoRequest, ReadContentRequest, Resource, UpdateRequest,
};
use containerd_client::tonic::metadata::MetadataMap;
use containerd_client::tonic::transport::Channel;
use containerd_client::tonic::{Code, Request};
use prost_types::FieldMask;

use super::refused;

/// Documents are small; more than this is none (as our own store has it).
const MAX_DOCUMENT: u64 = 4 << 20;

/// Labels of containerd's: names and values.
pub type Labels = HashMap<String, String>;

/// The content store of one namespace. Unlike a [`Client`](crate::containerd::Client) it can go to other threads,
/// and what it does fails while containerd is away: what was written stays, and the next try goes on.
#[derive(Clone)]
pub struct Content {
    channel: Channel,
    metadata: MetadataMap,
    /// Keeps what is written.
    lease: Option<String>,
}

impl Content {
    /// `metadata` names the namespace, and the lease too.
    pub fn new(channel: Channel, metadata: MetadataMap, lease: Option<String>) -> Self {
        Self {
            channel,
            metadata,
            lease,
        }
    }

    pub(super) fn service(&self) -> ContentClient<Channel> {
        ContentClient::new(self.channel.clone())
    }

    pub(super) fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        request
    }

    /// What is known of a blob; `None` when it is not here.
    pub async fn info(&self, digest: &Digest) -> Result<Option<Info>> {
        let message = InfoRequest {
            digest: digest.to_string(),
        };
        match self.service().info(self.request(message)).await {
            Ok(answer) => Ok(answer.into_inner().info),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(refused(format!("find {digest}"), &status)),
        }
    }

    /// A document's bytes; `None` when it is not here.
    pub async fn document(&self, blob: &Blob) -> Result<Option<Vec<u8>>> {
        let digest = &blob.digest;
        if blob.size > MAX_DOCUMENT {
            let reason = format!("it is larger than {MAX_DOCUMENT} bytes");
            return Err(ImageError::Refused {
                what: digest.to_string(),
                reason,
            });
        }
        let message = ReadContentRequest {
            digest: digest.to_string(),
            offset: 0,
            size: 0,
        };
        let mut pieces = match self.service().read(self.request(message)).await {
            Ok(pieces) => pieces.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(refused(format!("read {digest}"), &status)),
        };
        let mut bytes = Vec::new();
        loop {
            match pieces.message().await {
                Ok(Some(piece)) => bytes.extend(piece.data),
                Ok(None) => return Ok(Some(bytes)),
                Err(status) if status.code() == Code::NotFound => return Ok(None),
                Err(status) => return Err(refused(format!("read {digest}"), &status)),
            }
        }
    }

    /// Has the lease keep a blob that was here before; false when it is gone.
    pub async fn keep(&self, digest: &Digest) -> Result<bool> {
        let Some(lease) = &self.lease else {
            return Ok(true);
        };
        let message = AddResourceRequest {
            id: lease.clone(),
            resource: Some(Resource {
                id: digest.to_string(),
                r#type: "content".to_owned(),
            }),
        };
        let mut leases = LeasesClient::new(self.channel.clone());
        match leases.add_resource(self.request(message)).await {
            Ok(_) => {}
            Err(status) if status.code() == Code::AlreadyExists => {}
            Err(status) => return Err(refused(format!("keep {digest}"), &status)),
        }
        Ok(self.info(digest).await?.is_some())
    }

    /// Adds labels to a blob that is here.
    pub async fn label(&self, digest: &Digest, labels: &Labels) -> Result<()> {
        if labels.is_empty() {
            return Ok(());
        }
        let info = Info {
            digest: digest.to_string(),
            labels: labels.clone(),
            ..Info::default()
        };
        let message = UpdateRequest {
            info: Some(info),
            update_mask: Some(FieldMask {
                paths: labels.keys().map(|key| format!("labels.{key}")).collect(),
            }),
        };
        self.service()
            .update(self.request(message))
            .await
            .map(drop)
            .map_err(|status| refused(format!("label {digest}"), &status))
    }
}
