//! The URL of a request, put together as a kubelet does it (`formatURL`, `pkg/probe/http/request.go`).

use carob_core::pod::Scheme;
use url::Url;

use super::address::join_host_port;

/// What is asked of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// HTTP or HTTPS.
    pub scheme: Scheme,
    /// Name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What the `Host` header says unless the manifest has another.
    pub authority: String,
    /// Path and query, as they are sent.
    pub path: String,
    /// The whole, as errors show it.
    pub url: String,
}

impl Target {
    /// The target of an `httpGet`, whose path may be any text: what can't stand in a URL is escaped, what is already
    /// escaped is left.
    pub fn new(scheme: Scheme, host: &str, port: u16, path: &str) -> Self {
        let authority = join_host_port(host, port);
        let path = path_and_query(path);
        Self {
            scheme,
            host: host.to_owned(),
            port,
            url: format!("{}://{authority}{path}", name(scheme)),
            authority,
            path,
        }
    }

    /// Where a `Location` leads. Nothing when it is no URL; an error when it leads to other than HTTP.
    pub fn redirected(&self, location: &str) -> Option<Result<Self, String>> {
        let url = Url::parse(&self.url).ok()?.join(location).ok()?;
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => return Some(Err(format!("unsupported protocol scheme \"{other}\""))),
        };
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default()?;
        let authority = match url.port() {
            Some(port) => join_host_port(&host, port),
            None if host.contains(':') => format!("[{host}]"),
            None => host.clone(),
        };
        let query = url.query().map(|query| format!("?{query}"));
        let path = format!("{}{}", url.path(), query.unwrap_or_default());
        Some(Ok(Self {
            scheme,
            host,
            port,
            authority,
            path,
            url: url.into(),
        }))
    }
}

fn name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    }
}

/// What is sent for a path as written: with a `/` before it, without authority and fragment.
fn path_and_query(written: &str) -> String {
    let whole = written.split('#').next().unwrap_or_default();
    let rest = without_authority(whole);
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let (path, query) = match unescape(path) {
        Some(_) if is_escaped(path) => (path.to_owned(), query),
        Some(plain) => (escape(&plain, is_plain), query),
        // No URL at all, so all of it is the path.
        None => (escape(written.as_bytes(), is_plain), None),
    };
    let slash = if path.starts_with('/') { "" } else { "/" };
    let query = query.map(|query| {
        let printable = |byte: u8| byte.is_ascii_graphic();
        format!("?{}", escape(query.as_bytes(), printable))
    });
    format!("{slash}{path}{}", query.unwrap_or_default())
}

/// Of `//HOST/PATH` and `SCHEME://HOST/PATH` only the path counts.
fn without_authority(whole: &str) -> &str {
    let after = match whole.split_once("://") {
        Some((scheme, after)) if !scheme.is_empty() && scheme.bytes().all(is_of_scheme) => {
            Some(after)
        }
        _ if whole.starts_with("///") => None,
        _ => whole.strip_prefix("//"),
    };
    match after {
        Some(after) => after.find(['/', '?']).map_or("", |at| &after[at..]),
        None => whole,
    }
}

fn is_of_scheme(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)
}

/// The bytes that an escaped text stands for; nothing when a `%` is not followed by two digits.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(bytes)
}

fn escape(bytes: &[u8], stays: impl Fn(u8) -> bool) -> String {
    let one = |&byte: &u8| match stays(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    bytes.iter().map(one).collect()
}

/// Bytes that Go never escapes in a path (`net/url`, `shouldEscape`).
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte)
}

/// True for a path that Go sends as it is (`net/url`, `validEncoded`).
fn is_escaped(path: &str) -> bool {
    path.bytes()
        .all(|byte| is_plain(byte) || b"!'()*[]%".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_sent_as_a_kubelet_sends_them() {
        for (written, sent) in [
            ("/", "/"),
            ("", "/"),
            ("healthz", "/healthz"),
            ("/a?b=c&d", "/a?b=c&d"),
            ("/a b?c d", "/a%20b?c%20d"),
            ("/a%20b", "/a%20b"),
            ("/a%zz?b", "/a%25zz%3Fb"),
            ("/é", "/%C3%A9"),
            ("/a#b", "/a"),
            ("//evil/x", "/x"),
            ("http://evil/x?y", "/x?y"),
            ("/a/../b", "/a/../b"),
            ("/(a)", "/(a)"),
            ("?a", "/?a"),
        ] {
            assert_eq!(
                Target::new(Scheme::Http, "h", 80, written).path,
                sent,
                "{written}"
            );
        }
    }

    #[test]
    fn the_whole_names_scheme_host_and_port() {
        let target = Target::new(Scheme::Https, "fd00::1", 443, "/x");
        assert_eq!(target.url, "https://[fd00::1]:443/x");
        assert_eq!(target.authority, "[fd00::1]:443");
        assert_eq!(target.host, "fd00::1");
    }

    #[test]
    fn redirects_are_resolved() {
        let target = Target::new(Scheme::Http, "10.0.0.2", 8080, "/a/b");
        let to = |location| target.redirected(location).unwrap();
        assert_eq!(to("c?d").unwrap().url, "http://10.0.0.2:8080/a/c?d");
        assert_eq!(to("/c").unwrap().authority, "10.0.0.2:8080");
        let tls = to("https://10.0.0.2/").unwrap();
        assert_eq!((tls.scheme, tls.port), (Scheme::Https, 443));
        assert_eq!(to("http://[::1]/").unwrap().host, "::1");
        assert_eq!(to("http://other:1/x").unwrap().host, "other");
        assert!(to("ftp://10.0.0.2/").is_err());
        assert!(target.redirected("http://[bad").is_none());
    }
}
