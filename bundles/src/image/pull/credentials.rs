//! User names and passwords for registries, from Docker's `config.json` or given outright.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::image::error::{ImageError, IoContext, Result};
use crate::image::reference::Reference;

/// A user name and password. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub username: String,
    /// The password, or a token in its place.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// What is known of logins, by registry and path.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// For every registry; wins over all others.
    everywhere: Option<Login>,
    /// By `host[:port][/path]`.
    by_place: BTreeMap<String, Login>,
}

/// Docker's `config.json`, as far as it holds secrets itself.
#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    /// `user:password` in Base64.
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// Docker's key for Docker Hub, from the time of its first protocol.
const HUB_KEYS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

impl Credentials {
    /// One login for whatever registry is asked.
    #[must_use]
    pub fn login(username: &str, password: &str) -> Self {
        let login = Login {
            username: username.to_owned(),
            password: password.to_owned(),
        };
        Self {
            everywhere: Some(login),
            by_place: BTreeMap::new(),
        }
    }

    /// Reads `config.json` where `docker login` and `podman login` put it: `$DOCKER_CONFIG`, `~/.docker`,
    /// `$REGISTRY_AUTH_FILE`, `$XDG_RUNTIME_DIR/containers/auth.json`. Missing files are no error.
    ///
    /// # Errors
    /// [`ImageError::Io`] for files that cannot be read, [`ImageError::Refused`] for malformed ones.
    pub fn from_environment() -> Result<Self> {
        let path = |variable: &str, rest: &str| {
            std::env::var_os(variable)
                .filter(|value| !value.is_empty())
                .map(|value| Path::new(&value).join(rest))
        };
        let docker =
            path("DOCKER_CONFIG", "config.json").or_else(|| path("HOME", ".docker/config.json"));
        let podman = std::env::var_os("REGISTRY_AUTH_FILE")
            .map(PathBuf::from)
            .or_else(|| path("XDG_RUNTIME_DIR", "containers/auth.json"));
        let mut credentials = Self::default();
        for path in docker.into_iter().chain(podman) {
            match std::fs::read(&path) {
                Ok(text) => credentials.add_docker_config(&path.display().to_string(), &text)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).at("read", &path),
            }
        }
        Ok(credentials)
    }

    /// Adds the logins of a `config.json`, such as that in a Secret of type `kubernetes.io/dockerconfigjson`.
    /// Earlier ones stay. Entries that only a credential helper could complete are left out.
    ///
    /// # Errors
    /// [`ImageError::Refused`], which names `what`, when it is malformed.
    pub fn add_docker_config(&mut self, what: &str, text: &[u8]) -> Result<()> {
        // serde's messages quote the text, which is secret.
        let config: DockerConfig = serde_json::from_slice(text).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            ImageError::refused(what, format!("it is not Docker's config.json ({place})"))
        })?;
        for (key, entry) in config.auths {
            let login = entry
                .login()
                .map_err(|reason| ImageError::refused(what, format!("entry {key:?}: {reason}")))?;
            match login {
                Some(login) => {
                    self.by_place.entry(place(&key)).or_insert(login);
                }
                None => {
                    tracing::debug!(%key, "no password in config.json; credential helpers are not asked")
                }
            }
        }
        Ok(())
    }

    /// Adds others' logins; earlier ones stay.
    pub fn add(&mut self, others: Self) {
        self.everywhere = self.everywhere.take().or(others.everywhere);
        for (place, login) in others.by_place {
            self.by_place.entry(place).or_insert(login);
        }
    }

    /// The login for an image: that of the longest path which leads to it, as Kubernetes does.
    pub(super) fn find(&self, reference: &Reference) -> Option<&Login> {
        let registry = reference.registry();
        let hosts: &[&str] = if registry == "docker.io" {
            &HUB_KEYS
        } else {
            &[registry]
        };
        self.everywhere
            .as_ref()
            .or_else(|| self.longest(hosts, reference.repository()))
    }

    /// The login for a mirror of a repository. One that was given for the registry itself is nothing to its mirrors.
    pub(super) fn find_for(&self, host: &str, repository: &str) -> Option<&Login> {
        self.longest(&[host], repository)
    }

    fn longest(&self, hosts: &[&str], repository: &str) -> Option<&Login> {
        let fits = |place: &str| {
            hosts
                .iter()
                .any(|host| format!("{host}/{repository}/").starts_with(&format!("{place}/")))
        };
        self.by_place
            .iter()
            .filter(|(place, _)| fits(place))
            .max_by_key(|(place, _)| place.len())
            .map(|(_, login)| login)
    }
}

impl Entry {
    fn login(self) -> Result<Option<Login>, &'static str> {
        if let Some(auth) = self.auth.filter(|auth| !auth.is_empty()) {
            let malformed = "auth is not user:password in Base64";
            let bytes = STANDARD.decode(auth.trim()).map_err(|_| malformed)?;
            let text = String::from_utf8(bytes).map_err(|_| malformed)?;
            let (username, password) = text.split_once(':').ok_or(malformed)?;
            // Docker pads old entries with NULs.
            let password = password.trim_end_matches('\0');
            return Ok(Some(Login {
                username: username.to_owned(),
                password: password.to_owned(),
            }));
        }
        let both = self
            .username
            .zip(self.password)
            .filter(|(username, _)| !username.is_empty());
        Ok(both.map(|(username, password)| Login { username, password }))
    }
}

/// `https://host/v1/` and the like become `host`; a path stays.
fn place(key: &str) -> String {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key
        .strip_suffix("/v1")
        .or_else(|| key.strip_suffix("/v2"))
        .unwrap_or(key);
    key.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(credentials: &Credentials, image: &str) -> Option<String> {
        credentials
            .find(&image.parse().unwrap())
            .map(|login| format!("{}:{}", login.username, login.password))
    }

    #[test]
    fn the_longest_fitting_path_wins() {
        let mut credentials = Credentials::default();
        let hub = STANDARD.encode("hub:secret:with:colons");
        let config = format!(
            r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{hub}"}}, "example.org": {{"username": "a", "password": "1"}},
                "http://example.org:5000/v2/": {{"username": "b", "password": "2"}}, "example.org/team": {{"username": "c", "password": "3"}},
                "helper.example": {{}}}}, "credsStore": "desktop", "HttpHeaders": {{}}}}"#
        );
        credentials
            .add_docker_config("config.json", config.as_bytes())
            .unwrap();
        assert_eq!(
            user(&credentials, "busybox").as_deref(),
            Some("hub:secret:with:colons")
        );
        assert_eq!(
            user(&credentials, "example.org/app").as_deref(),
            Some("a:1")
        );
        assert_eq!(
            user(&credentials, "example.org:5000/app").as_deref(),
            Some("b:2")
        );
        assert_eq!(
            user(&credentials, "example.org/team/app").as_deref(),
            Some("c:3")
        );
        assert_eq!(
            user(&credentials, "example.org/teams/app").as_deref(),
            Some("a:1")
        );
        assert_eq!(user(&credentials, "helper.example/app"), None);
        assert_eq!(user(&credentials, "other.example/app"), None);
        assert_eq!(
            user(&Credentials::login("x", "y"), "other.example/app").as_deref(),
            Some("x:y")
        );
    }

    #[test]
    fn secrets_are_in_no_message() {
        let mut credentials = Credentials::default();
        for bad in [
            r#"{"auths": {"x": {"auth": "c2VjcmV0"}}}"#,
            r#"{"auths": {"x": {"auth": "!secret"}}}"#,
            r#"{"auths": {"x": "secret"}}"#,
            "secret",
        ] {
            let error = credentials
                .add_docker_config("the file", bad.as_bytes())
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("the file") && !error.contains("secret") && !error.contains("c2Vj"),
                "{error}"
            );
        }
        assert!(!format!("{:?}", Credentials::login("x", "secret")).contains("secret"));
    }
}
