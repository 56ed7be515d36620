//! What a client may name for a standard stream.

use std::path::PathBuf;

use carob_log::Limits;

/// The longest URI that is taken, in bytes.
const LONGEST: usize = 4096;

/// Where a stream comes from or goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Nowhere.
    Null,
    /// A FIFO that the client made (containerd's way).
    Fifo(PathBuf),
    /// A file to which raw bytes are appended.
    File(PathBuf),
    /// A logging program as containerd documents it (`docs/runtime-v2.md`, "Logging").
    Binary {
        /// The program.
        path: PathBuf,
        /// Its arguments: each key of the query, followed by its value.
        args: Vec<String>,
    },
    /// A file in Kubernetes' log format.
    CriLog {
        /// The file.
        path: PathBuf,
        /// When it is rotated.
        limits: Limits,
    },
}

/// Why a URI is not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TargetError {
    /// The scheme is none of ours.
    #[error(
        "the stream {0:?} is not supported: use a FIFO's path, file://, binary:// or cri-log://"
    )]
    Scheme(String),
    /// The path is not absolute, or has a zero byte.
    #[error("the stream {0:?} has no usable absolute path")]
    Path(String),
    /// A value in the query is not usable.
    #[error("the stream {uri:?} has an unusable {key}: {why}")]
    Query {
        /// The URI.
        uri: String,
        /// The key.
        key: &'static str,
        /// What is wrong.
        why: &'static str,
    },
}

impl Target {
    /// Parses what a request has for a stream. Empty is [`Target::Null`].
    ///
    /// # Errors
    /// [`TargetError`], with the URI.
    pub fn parse(uri: &str) -> Result<Self, TargetError> {
        if uri.is_empty() {
            return Ok(Self::Null);
        }
        let short = || uri.chars().take(128).collect::<String>();
        if uri.len() > LONGEST {
            return Err(TargetError::Path(short()));
        }
        let Some((scheme, rest)) = uri.split_once("://") else {
            return Ok(Self::Fifo(path(uri)?));
        };
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let pairs = || query.split('&').filter(|pair| !pair.is_empty());
        match scheme {
            "fifo" => Ok(Self::Fifo(path(&decode(before))?)),
            "file" => Ok(Self::File(path(&decode(before))?)),
            "binary" => {
                let mut args = Vec::new();
                for pair in pairs() {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    args.push(decode(key));
                    if !value.is_empty() {
                        args.push(decode(value));
                    }
                }
                Ok(Self::Binary {
                    path: path(&decode(before))?,
                    args,
                })
            }
            "cri-log" => {
                let mut limits = Limits::default();
                let bad = |key, why| TargetError::Query {
                    uri: short(),
                    key,
                    why,
                };
                for pair in pairs() {
                    match pair.split_once('=') {
                        Some(("max-size", value)) => {
                            limits.max_size =
                                value.parse().ok().filter(|size| *size > 0).ok_or_else(|| {
                                    bad("max-size", "it is not a number of bytes")
                                })?;
                        }
                        Some(("max-files", value)) => {
                            limits.max_files = value
                                .parse()
                                .ok()
                                .filter(|files| *files > 0)
                                .ok_or_else(|| bad("max-files", "it is not a number above 0"))?;
                        }
                        _ => return Err(bad("key", "only max-size and max-files are known")),
                    }
                }
                Ok(Self::CriLog {
                    path: path(&decode(before))?,
                    limits,
                })
            }
            _ => Err(TargetError::Scheme(short())),
        }
    }
}

fn path(text: &str) -> Result<PathBuf, TargetError> {
    if text.starts_with('/') && !text.contains('\0') {
        Ok(text.into())
    } else {
        Err(TargetError::Path(text.chars().take(128).collect()))
    }
}

/// Undoes percent-encoding (RFC 3986); what is not one stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_a_client_may_name() {
        for (uri, wanted) in [
            ("", Target::Null),
            ("/run/x/stdout", Target::Fifo("/run/x/stdout".into())),
            ("fifo:///run/x", Target::Fifo("/run/x".into())),
            ("file:///var/log/a%20b", Target::File("/var/log/a b".into())),
            (
                "binary:///bin/log?tag=x%26y&quiet",
                Target::Binary {
                    path: "/bin/log".into(),
                    args: vec!["tag".into(), "x&y".into(), "quiet".into()],
                },
            ),
            (
                "cri-log:///l/0.log",
                Target::CriLog {
                    path: "/l/0.log".into(),
                    limits: Limits::default(),
                },
            ),
            (
                "cri-log:///l/0.log?max-size=1024&max-files=2",
                Target::CriLog {
                    path: "/l/0.log".into(),
                    limits: Limits {
                        max_size: 1024,
                        max_files: 2,
                    },
                },
            ),
        ] {
            assert_eq!(Target::parse(uri), Ok(wanted), "{uri}");
        }
    }

    #[test]
    fn b50_unusable_streams_are_named() {
        for uri in [
            "relative",
            "http://x/y",
            "file://",
            "file://x",
            "file:///a%00b",
            "cri-log:///x?max-size=0",
            "cri-log:///x?max-size=-1",
            "cri-log:///x?max-files=0",
            "cri-log:///x?colour=red",
        ] {
            let error = Target::parse(uri).expect_err(uri).to_string();
            assert!(!error.is_empty());
        }
        assert!(Target::parse(&format!("/{}", "x".repeat(5000))).is_err());
    }
}
