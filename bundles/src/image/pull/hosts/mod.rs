//! Which servers to ask for the images of a registry, by containerd's convention
//! (containerd documentation, "Registry Configuration": `certs.d/HOST/hosts.toml`).

mod certificates;
mod file;

#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use crate::image::error::{ImageError, IoContext, Result};

/// Where containerd and nerdctl look.
pub const DEFAULT_DIRECTORY: &str = "/etc/containerd/certs.d";

/// For registries that have no directory of their own.
const DEFAULT: &str = "_default";

/// A server of a registry's images, and how to speak to it.
#[derive(Debug, Clone)]
pub(super) struct HostConfig {
    /// `https://HOST/v2`, without a slash at the end.
    pub url: Url,
    /// It answers which digest a tag has.
    pub resolve: bool,
    /// It gives content by digest.
    pub pull: bool,
    pub tls: Tls,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The registry itself, not a mirror: the user's login for the image is for it.
    pub own: bool,
}

/// How to know a server, and to be known by it.
#[derive(Debug, Clone, Default)]
pub(super) struct Tls {
    /// PEM files of authorities besides the system's.
    pub authorities: Vec<PathBuf>,
    /// PEM files of certificates, and of their keys unless those are in the same file.
    pub client: Vec<(PathBuf, Option<PathBuf>)>,
    /// Whoever answers is believed.
    pub skip_verify: bool,
}

impl Tls {
    fn is_given(&self) -> bool {
        self.skip_verify || !self.authorities.is_empty() || !self.client.is_empty()
    }
}

/// The servers to ask for the images of `registry` in turn, the registry itself as the last. It alone when
/// nothing is configured for it.
pub(super) fn of(registry: &str, directory: Option<&Path>) -> Result<Vec<HostConfig>> {
    for directory in directory.into_iter().flat_map(|d| places(d, registry)) {
        if !directory.is_dir() {
            continue;
        }
        let path = directory.join("hosts.toml");
        return match std::fs::read_to_string(&path) {
            Ok(text) => file::parse(&text, registry, &directory).map_err(|reason| {
                ImageError::refused(format!("the configuration {}", path.display()), reason)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Docker's way, which containerd knows too: certificates alone.
                let tls = certificates::of(&directory)?;
                Ok(vec![itself(registry, tls)?])
            }
            Err(error) => Err(error).at("read", &path),
        };
    }
    Ok(vec![itself(registry, Tls::default())?])
}

/// Directories in which a registry may be configured; the first that exists counts.
fn places(directory: &Path, registry: &str) -> Vec<PathBuf> {
    let mut names = Vec::new();
    // For file systems that know no colons.
    if let Some((host, port)) = registry.rsplit_once(':')
        && !port.contains(']')
    {
        names.push(format!("{host}_{port}_"));
    }
    names.extend([registry.to_owned(), DEFAULT.to_owned()]);
    names.iter().map(|name| directory.join(name)).collect()
}

/// The registry itself, where nobody says how to reach it.
fn itself(registry: &str, tls: Tls) -> Result<HostConfig> {
    let host = match registry {
        "docker.io" => "registry-1.docker.io",
        other => other,
    };
    let url = |scheme: &str| {
        let text = format!("{scheme}://{host}/v2");
        Url::parse(&text).map_err(|error| ImageError::InvalidName {
            name: registry.to_owned(),
            reason: error.to_string(),
        })
    };
    let secure = url("https")?;
    // Nobody has a certificate for loopback, unless something says so.
    let plain = is_loopback(host) && !tls.is_given() && secure.port_or_known_default() != Some(443);
    Ok(HostConfig {
        url: if plain { url("http")? } else { secure },
        resolve: true,
        pull: true,
        tls,
        headers: Vec::new(),
        own: true,
    })
}

/// `localhost` and addresses of this machine alone.
pub(super) fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => registry.split(':').next().unwrap_or(registry),
    };
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
