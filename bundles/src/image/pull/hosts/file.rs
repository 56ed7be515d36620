//! Reads one `hosts.toml`. What containerd ignores there is ignored here too.

use std::path::{Path, PathBuf};

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use toml_edit::{Document, Item, TableLike, Value};

use super::{HostConfig, Tls, itself};

/// The servers that a file names, in its order; then the registry itself.
pub(super) fn parse(
    text: &str,
    registry: &str,
    directory: &Path,
) -> Result<Vec<HostConfig>, String> {
    let document = Document::parse(text).map_err(|error| {
        let message = error.message().trim().replace('\n', ", ");
        let line = error
            .span()
            .map_or(1, |span| text[..span.start].lines().count().max(1));
        format!("line {line} is not TOML: {message}")
    })?;
    let top = document.as_table();
    let mut hosts = Vec::new();
    if let Some(named) = top.get("host") {
        let named = named
            .as_table_like()
            .ok_or("host must be a table: write [host.\"https://mirror.example\"]")?;
        for (name, settings) in named.iter() {
            let table = settings
                .as_table_like()
                .ok_or_else(|| format!("host.{name:?} must be a table"))?;
            let mut host = settings_of(table, directory)
                .and_then(|settings| settings.at(name))
                .map_err(|reason| format!("host.{name:?}: {reason}"))?;
            host.own = false;
            hosts.push(host);
        }
    }
    let settings = settings_of(top, directory)?;
    let server = match top.get("server") {
        Some(server) => {
            let server = server.as_str().ok_or("server must be a string")?;
            settings
                .at(server)
                .map_err(|reason| format!("server: {reason}"))?
        }
        None => {
            let itself = itself(registry, settings.tls.clone()).map_err(|e| e.to_string())?;
            settings.with(itself.url)
        }
    };
    hosts.push(server);
    Ok(hosts)
}

/// What a table says of a server, but where it is.
struct Settings {
    resolve: bool,
    pull: bool,
    tls: Tls,
    headers: Vec<(HeaderName, HeaderValue)>,
    override_path: bool,
}

fn settings_of(table: &dyn TableLike, directory: &Path) -> Result<Settings, String> {
    let flag = |name: &str| match table.get(name) {
        None => Ok(false),
        Some(item) => item
            .as_bool()
            .ok_or_else(|| format!("{name} must be true or false")),
    };
    let capabilities = match table.get("capabilities") {
        None => Vec::new(),
        Some(item) => strings("capabilities", item)?,
    };
    let capable = |what: &str| capabilities.is_empty() || capabilities.iter().any(|c| c == what);
    let authorities = match table.get("ca") {
        None => Vec::new(),
        Some(item) => strings("ca", item)?,
    };
    Ok(Settings {
        resolve: capable("resolve"),
        pull: capable("pull"),
        tls: Tls {
            authorities: authorities
                .iter()
                .map(|path| directory.join(path))
                .collect(),
            client: client(table, directory)?,
            skip_verify: flag("skip_verify")?,
        },
        headers: headers(table)?,
        override_path: flag("override_path")?,
    })
}

impl Settings {
    /// Of the server that a text names: a host, or a URL.
    fn at(self, text: &str) -> Result<HostConfig, String> {
        let full = match text.contains("://") {
            true => text.to_owned(),
            false => format!("https://{text}"),
        };
        let mut url = Url::parse(&full).map_err(|error| format!("{text:?} is no URL: {error}"))?;
        if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
            return Err(format!("{text:?} is no URL of http or https"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err("a login or query is not possible in the URL of a registry".to_owned());
        }
        let path = url.path().trim_end_matches('/').to_owned();
        match self.override_path || path.ends_with("/v2") {
            true => url.set_path(&path),
            false => url.set_path(&format!("{path}/v2")),
        }
        Ok(self.with(url))
    }

    fn with(self, url: Url) -> HostConfig {
        HostConfig {
            url,
            resolve: self.resolve,
            pull: self.pull,
            tls: self.tls,
            headers: self.headers,
            own: true,
        }
    }
}

/// `"cert.pem"`, `["cert.pem", …]` or `[["cert.pem", "key.pem"], …]`.
fn client(
    table: &dyn TableLike,
    directory: &Path,
) -> Result<Vec<(PathBuf, Option<PathBuf>)>, String> {
    let Some(item) = table.get("client") else {
        return Ok(Vec::new());
    };
    let wrong = || "client must be a file, a list of files or of pairs of files".to_owned();
    let file = |value: &Value| value.as_str().map(|path| directory.join(path));
    match item.as_value().ok_or_else(wrong)? {
        Value::Array(array) => array
            .iter()
            .map(|entry| match entry {
                Value::Array(pair) => {
                    let files: Option<Vec<_>> = pair.iter().map(file).collect();
                    let mut files = files.ok_or_else(wrong)?.into_iter();
                    match (files.next(), files.next(), files.next()) {
                        (Some(certificate), key, None) => Ok((certificate, key)),
                        _ => Err(wrong()),
                    }
                }
                single => Ok((file(single).ok_or_else(wrong)?, None)),
            })
            .collect(),
        single => Ok(vec![(file(single).ok_or_else(wrong)?, None)]),
    }
}

fn headers(table: &dyn TableLike) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let Some(item) = table.get("header") else {
        return Ok(Vec::new());
    };
    let named = item.as_table_like().ok_or("header must be a table")?;
    let mut headers = Vec::new();
    for (name, item) in named.iter() {
        let field = HeaderName::try_from(name).map_err(|_| format!("{name:?} is no header"))?;
        for text in strings(name, item)? {
            // Not told: it may be secret.
            let mut value = HeaderValue::try_from(text)
                .map_err(|_| format!("the value of the header {name} has forbidden characters"))?;
            value.set_sensitive(true);
            headers.push((field.clone(), value));
        }
    }
    Ok(headers)
}

/// A string, or several.
fn strings(name: &str, item: &Item) -> Result<Vec<String>, String> {
    let wrong = || format!("{name} must be a string or a list of strings");
    match item.as_value() {
        Some(Value::String(text)) => Ok(vec![text.value().clone()]),
        Some(Value::Array(array)) => array
            .iter()
            .map(|entry| entry.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect(),
        _ => Err(wrong()),
    }
}
