//! Image references, read as Kubernetes and containerd read them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::error::ImageError;

/// A normalised image reference: `registry/repository[:tag][@digest]`.
///
/// The grammar and the defaults are those of `distribution/reference`: no registry means `docker.io`,
/// a single path component there means `library/…`, neither tag nor digest means `:latest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// The longest `registry/repository` that `distribution/reference` accepts.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;
const DEFAULT_REGISTRY: &str = "docker.io";

impl Reference {
    /// Host and optional port, `docker.io` when none was written.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag. `None` only when a digest was given without one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, which wins over the tag when both are given.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// `registry/repository`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The key under which the store finds the image: `name@digest` when there is a digest, else `name:tag`.
    #[must_use]
    pub fn key(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => format!("{}@{digest}", self.name()),
            (None, Some(tag)) => format!("{}:{tag}", self.name()),
            (None, None) => self.name(),
        }
    }

    /// The same name with this digest and no tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("it is empty".into());
        }
        if text.contains("://") {
            return Err("it must have no scheme such as docker://".into());
        }
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err("64 hexadecimal digits would be mistaken for an image ID".into());
        }
        let (text, digest) = match text.split_once('@') {
            Some((rest, digest)) => (
                rest,
                Some(digest.parse::<Digest>().map_err(|e| e.to_string())?),
            ),
            None => (text, None),
        };
        // A colon after the last slash starts the tag; one before it belongs to the port.
        let last = text.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match text[last..].split_once(':') {
            Some((end, tag)) => (&text[..last + end.len()], Some(tag)),
            None => (text, None),
        };
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        let (registry, path) = split_registry(name);
        let path = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        check_registry(registry)?;
        check_path(name, &path)?;
        if registry.len() + 1 + path.len() > MAX_NAME {
            return Err(format!("the name is longer than {MAX_NAME} characters"));
        }
        let tag = match (tag, &digest) {
            (None, None) => Some("latest".to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self {
            registry: registry.to_owned(),
            repository: path,
            tag,
            digest,
        })
    }
}

/// The first component is a registry when it cannot be part of a Docker Hub path.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(|c| c.is_ascii_uppercase()) =>
        {
            // The old name of Docker Hub, still written by old tools.
            (
                if first == "index.docker.io" {
                    DEFAULT_REGISTRY
                } else {
                    first
                },
                rest,
            )
        }
        _ => (DEFAULT_REGISTRY, name),
    }
}

fn check_tag(tag: &str) -> Result<(), String> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let valid = tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
    if valid {
        Ok(())
    } else {
        Err(format!(
            "a tag is 1 to {MAX_TAG} letters, digits, '_', '.' and '-'"
        ))
    }
}

fn check_registry(registry: &str) -> Result<(), String> {
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest
                .split_once(']')
                .ok_or("the IPv6 address of the registry has no ']'")?;
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("the registry is not an IPv6 address".into());
            }
            (
                None,
                port.strip_prefix(':').or((!port.is_empty()).then_some("")),
            )
        }
        None => match registry.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(registry), None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if host.is_some_and(|host| !host.split('.').all(label)) {
        return Err("the registry is not a host name".into());
    }
    match port {
        Some(port) if !port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().is_err() => {
            Err("the registry's port is not a number up to 65535".into())
        }
        _ => Ok(()),
    }
}

fn check_path(name: &str, path: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("it has a tag or digest but no name".into());
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("the repository must be lower case".into());
    }
    if path.split('/').all(valid_component) {
        Ok(())
    } else {
        Err(
            "each part of the repository is lower-case letters and digits, \
             separated by one '.', one or two '_', or any number of '-'"
                .into(),
        )
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn valid_component(component: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let mut at = 0;
    loop {
        let run = bytes[at..].iter().take_while(|b| alphanumeric(b)).count();
        if run == 0 {
            return false;
        }
        at += run;
        if at == bytes.len() {
            return true;
        }
        let separator = bytes[at..].iter().take_while(|b| !alphanumeric(b)).count();
        match &component[at..at + separator] {
            "." | "_" | "__" => {}
            dashes if dashes.bytes().all(|b| b == b'-') => {}
            _ => return false,
        }
        at += separator;
    }
}

impl FromStr for Reference {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        // Non-ASCII text can be in no valid reference, and slicing below counts bytes.
        let parsed = if text.is_ascii() {
            Self::parse(text)
        } else {
            Err("it has characters other than ASCII".into())
        };
        parsed.map_err(|reason| ImageError::InvalidName {
            name: shorten(text),
            reason,
        })
    }
}

fn shorten(text: &str) -> String {
    if text.chars().count() > 100 {
        text.chars().take(100).chain("…".chars()).collect()
    } else {
        text.to_owned()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Reference {
    type Error = ImageError;

    fn try_from(text: String) -> Result<Self, ImageError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn full(text: &str) -> String {
        text.parse::<Reference>().unwrap().to_string()
    }

    #[test]
    fn normalises_as_containerd_does() {
        for (text, expected) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36"),
            ("docker.io/busybox", "docker.io/library/busybox:latest"),
            (
                "index.docker.io/busybox",
                "docker.io/library/busybox:latest",
            ),
            ("me/app", "docker.io/me/app:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            (
                "127.0.0.1:5000/a/b_c/d--e:v1",
                "127.0.0.1:5000/a/b_c/d--e:v1",
            ),
            ("[::1]:5000/app", "[::1]:5000/app:latest"),
            ("[::1]/app", "[::1]/app:latest"),
            ("Registry/app", "Registry/app:latest"),
            ("gcr.io/a/b__c", "gcr.io/a/b__c:latest"),
            // A single component is never a registry.
            ("localhost:5000", "docker.io/library/localhost:5000"),
        ] {
            assert_eq!(full(text), expected, "{text}");
        }
        assert_eq!(
            full(&format!("busybox@{DIGEST}")),
            format!("docker.io/library/busybox@{DIGEST}")
        );
        let both: Reference = format!("busybox:1@{DIGEST}").parse().unwrap();
        assert_eq!(
            both.to_string(),
            format!("docker.io/library/busybox:1@{DIGEST}")
        );
        assert_eq!(both.key(), format!("docker.io/library/busybox@{DIGEST}"));
        assert_eq!(full(&both.to_string()), both.to_string());
    }

    #[test]
    fn b34_garbage_is_invalid_image_name() {
        let long = "a".repeat(10 * 1024);
        let long_tag = format!("a:{}", "t".repeat(129));
        for bad in [
            "",
            " ",
            "Busybox",
            "docker.io/Busybox",
            ":tag",
            "busybox:",
            "busybox:-x",
            "a//b",
            "/a",
            "a/",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a:b:c",
            "a b",
            "a\nb",
            "docker://busybox",
            "busybox@",
            "busybox@sha256:abc",
            "busybox@sha256:../../etc",
            "@sha256:../..",
            "host:99999/a",
            "host:x/a",
            "[::zz]/a",
            "[::1/a",
            "a.-b/c",
            "é",
            "a/é",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "..",
            "../../etc/passwd",
            "a/../b",
            &long,
            &long_tag,
            &format!("@{DIGEST}"),
            &format!("a@{DIGEST}@{DIGEST}"),
        ] {
            let error = bad.parse::<Reference>().expect_err(bad);
            assert_eq!(error.reason(), "InvalidImageName");
            let text = error.to_string();
            assert!(!text.contains('\n') && text.len() < 600, "{text}");
        }
    }
}
