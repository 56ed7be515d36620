//! From a reference to the manifest for this machine.

use reqwest::header::CONTENT_TYPE;

use super::registry::{Asked, Registry};
use crate::image::digest::Digest;
use crate::image::document::{
    self, Blob, DOCKER_INDEX, DOCKER_MANIFEST, MAX_DEPTH, MAX_DOCUMENT, Manifest, Step,
};
use crate::image::error::{ImageError, Result};

/// What a reference stands for.
pub(super) struct Resolved {
    /// What the reference itself names first, the manifest last.
    pub documents: Vec<(Blob, Vec<u8>)>,
    pub manifest: Manifest,
}

impl Registry {
    /// Asks for the manifest, through indexes.
    pub(super) async fn resolve(&self) -> Result<Resolved> {
        let mut wanted = self.image.digest().cloned();
        let mut size = None;
        let mut documents = Vec::new();
        for _ in 0..MAX_DEPTH {
            let (asked, name) = match (&wanted, self.image.tag()) {
                (Some(digest), _) => (Asked::Pull, digest.to_string()),
                (None, tag) => (Asked::Resolve, tag.unwrap_or("latest").to_owned()),
            };
            let (bytes, media_type) = self.manifest(asked, &name).await?;
            let digest = Digest::of(&bytes);
            let what = format!("manifest {digest} of {}", self.image);
            if wanted.as_ref().is_some_and(|wanted| *wanted != digest)
                || size.is_some_and(|size| size != bytes.len() as u64)
            {
                let reason = format!(
                    "the registry sends it, of {} bytes, in the place of {name}",
                    bytes.len()
                );
                return Err(ImageError::refused(what, reason));
            }
            let (blob, step) = document::follow(&what, &bytes, media_type.as_deref())?;
            documents.push((blob, bytes));
            match step {
                Step::Image(manifest) => {
                    return Ok(Resolved {
                        documents,
                        manifest,
                    });
                }
                Step::Document(blob) => (wanted, size) = (Some(blob.digest), Some(blob.size)),
            }
        }
        Err(ImageError::refused(
            format!("index of {}", self.image),
            "it is nested too deeply",
        ))
    }

    async fn manifest(&self, asked: Asked, name: &str) -> Result<(Vec<u8>, Option<String>)> {
        let accept = format!(
            "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
             {DOCKER_INDEX}, {DOCKER_MANIFEST}"
        );
        let (bytes, response) = self
            .document(asked, &format!("manifests/{name}"), &accept, MAX_DOCUMENT)
            .await?;
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        // Parameters such as a character set say nothing.
        let media_type = header(CONTENT_TYPE.as_str())
            .and_then(|value| value.split(';').next())
            .map(|value| value.trim().to_owned());
        if let Some(claimed) = header("docker-content-digest")
            && claimed
                .parse::<Digest>()
                .is_ok_and(|claimed| claimed != Digest::of(&bytes))
        {
            let reason = format!("its content is not {claimed}, as the registry says");
            return Err(ImageError::refused(
                format!("manifest {name} of {}", self.image),
                reason,
            ));
        }
        Ok((bytes, media_type))
    }
}
