//! Answers to `401 Unauthorized`: a login, or a token from the server that the registry names
//! (distribution documentation, "Token Authentication Specification").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_auth::ChallengeRef;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::host::{Host, bounded, text};
use crate::image::error::{ImageError, Result};

/// Tokens are some kilobytes.
const MAX_TOKEN: u64 = 1 << 20;

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    /// OAuth 2's name.
    access_token: Option<String>,
}

impl Host {
    /// The `Authorization` header that the registry's challenge asks for.
    pub(super) async fn authorize(&self, headers: &HeaderMap) -> Result<HeaderValue> {
        let challenges: Vec<&str> = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let joined = challenges.join(", ");
        let parsed: Vec<_> = http_auth::ChallengeParser::new(&joined)
            .map_while(Result::ok)
            .collect();
        let named = |scheme: &str| {
            parsed
                .iter()
                .find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme))
        };
        if let Some(challenge) = named("Bearer") {
            return self.bearer(challenge).await;
        }
        match (named("Basic"), &self.login) {
            (Some(_), Some(login)) => self.header(&basic(&login.username, &login.password)),
            (Some(_), None) => Err(self.unauthorized("it asks for a user name and password")),
            (None, _) => {
                Err(self.unauthorized("it asks for a kind of login that Carob does not have"))
            }
        }
    }

    async fn bearer(&self, challenge: &ChallengeRef<'_>) -> Result<HeaderValue> {
        let parameter = |name: &str| {
            let found = challenge
                .params
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        let realm = parameter("realm").and_then(|realm| Url::parse(&realm).ok());
        let Some(mut url) = realm.filter(|url| url.scheme() == "https" || url.scheme() == "http")
        else {
            return Err(self.unauthorized("it names no server for tokens"));
        };
        if url.scheme() == "http" && self.is_secure() {
            return Err(self.unauthorized("it names a server for tokens that is not encrypted"));
        }
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = parameter("service") {
                query.append_pair("service", &service);
            }
            let scope = parameter("scope")
                .unwrap_or_else(|| format!("repository:{}:pull", self.image.repository()));
            query.append_pair("scope", &scope);
            if let Some(login) = &self.login {
                query.append_pair("account", &login.username);
            }
        }
        let mut request = self.http.get(url);
        if let Some(login) = &self.login {
            request = request.header(
                AUTHORIZATION,
                self.header(&basic(&login.username, &login.password))?,
            );
        }
        let response = request
            .send()
            .await
            .map_err(|error| self.transport(error))?;
        let status = response.status();
        let body = bounded(response, MAX_TOKEN)
            .await
            .map_err(|error| self.broken_body(error))?;
        match status {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(self.unauthorized(&format!("no token was given: {}", text(&body))));
            }
            status => {
                return Err(self.unavailable(format!("the server for tokens answers {status}")));
            }
        }
        // Not in the message: what the server sent may be a secret.
        let token: Token = serde_json::from_slice(&body)
            .map_err(|_| self.unavailable("the server for tokens sends something else".into()))?;
        match token.token.or(token.access_token) {
            Some(token) if !token.is_empty() => self.header(&format!("Bearer {token}")),
            _ => Err(self.unavailable("the server for tokens sends none".into())),
        }
    }

    fn header(&self, value: &str) -> Result<HeaderValue> {
        let mut header = HeaderValue::from_str(value).map_err(|_| {
            self.unauthorized("the login or token has characters that no header can have")
        })?;
        header.set_sensitive(true);
        Ok(header)
    }

    fn unauthorized(&self, detail: &str) -> ImageError {
        ImageError::Unauthorized {
            image: self.image.to_string(),
            registry: self.name.clone(),
            detail: detail.to_owned(),
        }
    }
}

fn basic(username: &str, password: &str) -> String {
    format!(
        "Basic {}",
        STANDARD.encode(format!("{username}:{password}"))
    )
}
