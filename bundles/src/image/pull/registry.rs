//! The servers of one image: the mirrors of its registry in turn, then the registry itself.

use std::sync::Arc;

use reqwest::Response;

use super::host::Host;
use super::hosts;
use super::options::PullOptions;
use super::retry::Tries;
use crate::image::digest::Digest;
use crate::image::error::{ImageError, Result};
use crate::image::reference::Reference;

/// A registry, as far as one image is concerned.
pub(super) struct Registry {
    pub(super) image: Reference,
    /// Never empty; the last one is the registry itself.
    hosts: Vec<Arc<Host>>,
}

/// What is asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// What a tag stands for.
    Resolve,
    /// Content by its digest.
    Pull,
}

impl Registry {
    /// Nothing is sent yet.
    pub(super) fn new(image: &Reference, options: &PullOptions) -> Result<Self> {
        // An error means that the program has chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let configured = hosts::of(image.registry(), options.hosts_directory.as_deref())?;
        let hosts = configured
            .into_iter()
            .map(|config| Host::new(image, config, options));
        Ok(Self {
            image: image.clone(),
            hosts: hosts.collect::<Result<_>>()?,
        })
    }

    /// Who may be asked this, in turn.
    pub(super) fn hosts(&self, asked: Asked) -> Result<Turn<'_>> {
        let able = |host: &&Arc<Host>| match asked {
            Asked::Resolve => host.resolve,
            Asked::Pull => host.pull,
        };
        let mut hosts: Vec<_> = self.hosts.iter().filter(able).collect();
        let Some(last) = hosts.pop() else {
            let reason = "hosts.toml names no server with the capabilities to resolve and to pull";
            return Err(ImageError::refused(self.image.to_string(), reason));
        };
        hosts.retain(|host| !host.is_away());
        hosts.push(last);
        Ok(Turn {
            hosts,
            at: 0,
            passed: Vec::new(),
            tries: Tries::new(),
        })
    }

    /// A document in memory, from whoever has it.
    pub(super) async fn document(
        &self,
        asked: Asked,
        path: &str,
        accept: &str,
        limit: u64,
    ) -> Result<(Vec<u8>, Response)> {
        let mut turn = self.hosts(asked)?;
        loop {
            match turn.host().document(path, accept, limit).await {
                Ok(document) => return Ok(document),
                Err(error) => turn.next(error).await?,
            }
        }
    }

    /// A blob in memory, verified.
    pub(super) async fn blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>> {
        let mut turn = self.hosts(Asked::Pull)?;
        let path = format!("blobs/{digest}");
        loop {
            let error = match turn.host().document(&path, "*/*", size).await {
                Ok((bytes, _)) if bytes.len() as u64 == size && Digest::of(&bytes) == *digest => {
                    return Ok(bytes);
                }
                Ok(_) => {
                    let reason =
                        format!("the registry sends other content than {digest} of {size} bytes");
                    ImageError::refused("image configuration", reason)
                }
                Err(error) => error,
            };
            turn.next(error).await?;
        }
    }
}

/// One request's way from server to server.
pub(super) struct Turn<'a> {
    hosts: Vec<&'a Arc<Host>>,
    at: usize,
    /// What those said that were asked before.
    passed: Vec<String>,
    tries: Tries,
}

impl Turn<'_> {
    /// Whose turn it is.
    pub(super) fn host(&self) -> &Host {
        self.hosts[self.at]
    }

    /// There was progress: the tries count from new.
    pub(super) fn progressed(&mut self) {
        self.tries = Tries::new();
    }

    /// Another one may do better than the one that made this error; the last one is tried again after a while if
    /// its error may pass.
    ///
    /// # Errors
    /// The last one's, with what the others said.
    pub(super) async fn next(&mut self, error: ImageError) -> Result<()> {
        if self.has_others() {
            let host = self.host();
            tracing::warn!(%error, mirror = host.name, "the next server is asked instead");
            host.note(&error);
            self.passed.push(format!("{}: {error}", host.name));
            self.at += 1;
            return Ok(());
        }
        let passed = std::mem::take(&mut self.passed);
        self.tries
            .again(error)
            .await
            .map_err(|error| error.after(&passed))?;
        self.passed = passed;
        Ok(())
    }

    /// True when the registry itself has not been asked yet.
    pub(super) fn has_others(&self) -> bool {
        self.at + 1 < self.hosts.len()
    }
}
