//! Requests to one server for one image, with everything bounded that it can send.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderName, HeaderValue, RANGE, RETRY_AFTER};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, Identity, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::credentials::Login;
use super::hosts::{HostConfig, Tls, is_loopback};
use super::options::PullOptions;
use crate::image::error::{ImageError, IoContext, Result};
use crate::image::reference::Reference;

/// A registry or a mirror of it, as far as one image is concerned.
pub(super) struct Host {
    pub(super) http: Client,
    /// `https://HOST/v2/REPOSITORY/`.
    base: Url,
    /// What errors call it: the registry's own name, or the mirror's.
    pub(super) name: String,
    /// The registry that a mirror is to stand for.
    namespace: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) image: Reference,
    pub(super) login: Option<Login>,
    pub(super) resolve: bool,
    pub(super) pull: bool,
    /// It could not be reached, so this image is not asked for there again.
    away: AtomicBool,
    /// What it wanted last.
    authorization: Mutex<Option<HeaderValue>>,
}

/// The largest explanation of an error that is read.
const MAX_ERROR: u64 = 64 << 10;
const MAX_REDIRECTS: usize = 10;

impl Host {
    /// Nothing is sent yet.
    pub(super) fn new(
        image: &Reference,
        config: HostConfig,
        options: &PullOptions,
    ) -> Result<Arc<Self>> {
        let authority = config.url.authority().to_owned();
        let name = match config.own {
            true => image.registry().to_owned(),
            false => authority.clone(),
        };
        let mut base = config.url;
        base.set_path(&format!("{}/{}/", base.path(), image.repository()));
        let mut builder = Client::builder()
            .user_agent(concat!("carob/", env!("CARGO_PKG_VERSION")))
            .referer(false)
            .redirect(Policy::custom(redirect))
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.stall_timeout);
        if is_loopback(&authority) {
            builder = builder.no_proxy();
        }
        let Tls {
            authorities,
            client,
            skip_verify,
        } = config.tls;
        let mut certificates = Vec::new();
        for path in &authorities {
            let pem = std::fs::read(path).at("read", path)?;
            let parsed = Certificate::from_pem_bundle(&pem)
                .ok()
                .filter(|bundle| !bundle.is_empty());
            let refuse =
                || ImageError::refused(path.display().to_string(), "it holds no PEM certificate");
            certificates.extend(parsed.ok_or_else(refuse)?);
        }
        for (certificate, key) in client {
            let mut pem = Vec::new();
            for path in [Some(&certificate), key.as_ref()].into_iter().flatten() {
                pem.extend(std::fs::read(path).at("read", path)?);
                pem.push(b'\n');
            }
            let identity = Identity::from_pem(&pem).map_err(|_| {
                let reason = "it and its key are no PEM certificate and private key";
                ImageError::refused(certificate.display().to_string(), reason)
            })?;
            builder = builder.identity(identity);
        }
        let unusable = |error: reqwest::Error| ImageError::Unavailable {
            image: image.to_string(),
            registry: name.clone(),
            reason: cause(&error),
        };
        let http = builder
            .tls_certs_merge(certificates)
            .tls_danger_accept_invalid_certs(skip_verify)
            .build()
            .map_err(unusable)?;
        let is_itself = authority == image.registry() || authority == "registry-1.docker.io";
        let namespace = (!is_itself).then(|| image.registry().to_owned());
        Ok(Arc::new(Self {
            http,
            login: match config.own {
                true => options.credentials.find(image),
                false => options.credentials.find_for(&authority, image.repository()),
            }
            .cloned(),
            base,
            name,
            namespace,
            headers: config.headers,
            image: image.clone(),
            resolve: config.resolve,
            pull: config.pull,
            away: AtomicBool::new(false),
            authorization: Mutex::new(None),
        }))
    }

    pub(super) fn is_secure(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// True once it could not be reached.
    pub(super) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Remembers that it can't be reached, if this error says so.
    pub(super) fn note(&self, error: &ImageError) {
        if matches!(error, ImageError::Unavailable { .. }) {
            self.away.store(true, Ordering::Relaxed);
        }
    }

    /// A document in memory.
    pub(super) async fn document(
        &self,
        path: &str,
        accept: &str,
        limit: u64,
    ) -> Result<(Vec<u8>, Response)> {
        let mut response = self.get(path, accept, 0).await?;
        let body = read(&mut response, limit)
            .await
            .map_err(|error| self.broken_body(error))?;
        Ok((body, response))
    }

    /// One request, with a login if the registry asks for it. The status is 200, or 206 when `from` is not 0.
    pub(super) async fn get(&self, path: &str, accept: &str, from: u64) -> Result<Response> {
        let mut url = self
            .base
            .join(path)
            .map_err(|error| self.unavailable(error.to_string()))?;
        if let Some(namespace) = &self.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        let mut authorization = self.authorization.lock().await.clone();
        let mut asked = false;
        loop {
            let mut request = self.http.get(url.clone()).header(ACCEPT, accept);
            if from > 0 {
                request = request.header(RANGE, format!("bytes={from}-"));
            }
            for (name, value) in &self.headers {
                request = request.header(name, value.clone());
            }
            if let Some(value) = &authorization {
                request = request.header(AUTHORIZATION, value.clone());
            }
            let response = request
                .send()
                .await
                .map_err(|error| self.transport(error))?;
            match response.status() {
                StatusCode::OK => return Ok(response),
                StatusCode::PARTIAL_CONTENT if from > 0 => return Ok(response),
                StatusCode::UNAUTHORIZED if !asked => {
                    asked = true;
                    // Other layers wait here, and then use what the first one got.
                    let mut current = self.authorization.lock().await;
                    if *current == authorization {
                        *current = Some(self.authorize(response.headers()).await?);
                    }
                    authorization.clone_from(&current);
                }
                _ => return Err(self.failed(response).await),
            }
        }
    }

    /// The error for any other status.
    async fn failed(&self, response: Response) -> ImageError {
        let status = response.status();
        let (image, registry) = (self.image.to_string(), self.name.clone());
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        let retry_after = retry_after
            .and_then(|text| text.trim().parse().ok())
            .map(Duration::from_secs);
        let body = bounded(response, MAX_ERROR).await.unwrap_or_default();
        let detail = match text(&body) {
            text if text.is_empty() => status.to_string(),
            text => text,
        };
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ImageError::Unauthorized {
                image,
                registry,
                detail,
            },
            StatusCode::NOT_FOUND => ImageError::NotFound { image, detail },
            StatusCode::TOO_MANY_REQUESTS => ImageError::RateLimited {
                registry,
                retry_after,
            },
            status if status.is_client_error() => ImageError::refused(
                format!("the request for {image}"),
                format!("the registry answers {status}: {detail}"),
            ),
            status => self.unavailable(format!("it answers {status}: {detail}")),
        }
    }

    pub(super) fn unavailable(&self, reason: String) -> ImageError {
        let registry = self.name.clone();
        ImageError::Unavailable {
            image: self.image.to_string(),
            registry,
            reason,
        }
    }

    /// A connection that was not made or broke. What a redirect may not do is no use to try again.
    pub(super) fn transport(&self, error: reqwest::Error) -> ImageError {
        if error.is_redirect() {
            return ImageError::refused(format!("the request for {}", self.image), cause(&error));
        }
        self.unavailable(cause(&error))
    }

    pub(super) fn broken_body(&self, error: BodyError) -> ImageError {
        match error {
            BodyError::Transport(error) => self.transport(error),
            BodyError::TooLarge(limit) => ImageError::refused(
                format!("the registry's answer for {}", self.image),
                format!("it is longer than {limit} bytes"),
            ),
        }
    }
}

/// Redirects lead to storage servers. They may not leave HTTPS, nor go round in circles.
fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_secure = attempt.previous().iter().any(|url| url.scheme() == "https");
    match attempt.url().scheme() {
        "https" => {}
        "http" if !was_secure => {}
        "http" => return attempt.error("the registry redirects from https to http"),
        _ => return attempt.error("the registry redirects to something that is not http"),
    }
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("the registry redirects too often");
    }
    attempt.follow()
}

/// Why a body could not be read.
#[derive(Debug)]
pub(super) enum BodyError {
    Transport(reqwest::Error),
    TooLarge(u64),
}

/// A body of at most `limit` bytes.
pub(super) async fn bounded(mut response: Response, limit: u64) -> Result<Vec<u8>, BodyError> {
    read(&mut response, limit).await
}

async fn read(response: &mut Response, limit: u64) -> Result<Vec<u8>, BodyError> {
    if response
        .content_length()
        .is_some_and(|length| length > limit)
    {
        return Err(BodyError::TooLarge(limit));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(BodyError::Transport)? {
        if body.len() as u64 + chunk.len() as u64 > limit {
            return Err(BodyError::TooLarge(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The first message of an error document (OCI distribution specification, "Error Codes"), fit for a terminal.
pub(super) fn text(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Error>,
    }
    #[derive(Deserialize)]
    struct Error {
        code: Option<String>,
        message: Option<String>,
    }
    let parsed: Option<Errors> = serde_json::from_slice(body).ok();
    let first = parsed.and_then(|errors| errors.errors.into_iter().next());
    let text = match first {
        Some(Error {
            message: Some(message),
            ..
        }) if !message.is_empty() => message,
        Some(Error {
            code: Some(code), ..
        }) => code,
        _ => String::new(),
    };
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// The innermost cause: the outer ones repeat the URL.
fn cause(error: &reqwest::Error) -> String {
    let mut source: &dyn std::error::Error = error;
    while let Some(inner) = source.source() {
        source = inner;
    }
    source
        .to_string()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(300)
        .collect()
}
