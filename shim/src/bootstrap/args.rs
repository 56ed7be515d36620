//! Parses the command line, in the style of Go's `flag` package, which containerd's shims use.

use std::path::PathBuf;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start a server, or name the running one of the group, and print its address.
    Start,
    /// Clean up after a server that was killed, and print a `DeleteResponse`.
    Delete,
    /// Be the server. Only `start` runs it, with the listening socket as standard input.
    Serve,
    /// Print the version.
    Version,
    /// Print a `RuntimeInfo` message (containerd 2.0 and later).
    Info,
}

/// The parsed command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// What to do.
    pub action: Action,
    /// containerd's namespace.
    pub namespace: String,
    /// The container, or for `start` the one that the shim is started for.
    pub id: String,
    /// containerd's GRPC socket: only part of what tells groups apart.
    pub address: String,
    /// The bundle; the working directory when not given.
    pub bundle: Option<PathBuf>,
    /// Log more.
    pub debug: bool,
}

/// What is wrong with the command line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ArgsError {
    /// The flag is none of ours.
    #[error(
        "flag {0} is not known: the flags are -namespace, -id, -address, -publish-binary, -bundle, -debug, -v, -info"
    )]
    UnknownFlag(String),
    /// The flag has no value.
    #[error("flag {0} needs a value")]
    NoValue(String),
    /// A boolean flag has a value that is not a boolean.
    #[error("flag {0} takes true or false, not {1:?}")]
    NotBoolean(String, String),
    /// The action is none of ours.
    #[error("action {0:?} is not known: the actions are start and delete")]
    UnknownAction(String),
    /// More than one action.
    #[error("there is an argument too many: {0:?}")]
    TooMany(String),
    /// An action without a needed flag.
    #[error("flag {0} is needed")]
    Missing(&'static str),
}

impl Args {
    /// Parses the arguments after the program's name.
    ///
    /// # Errors
    /// [`ArgsError`], one sentence about the first thing that is wrong.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, ArgsError> {
        let mut parsed = Self {
            action: Action::Serve,
            namespace: String::new(),
            id: String::new(),
            address: String::new(),
            bundle: None,
            debug: false,
        };
        let mut args = args.into_iter();
        let mut shown = None;
        while let Some(arg) = args.next() {
            let Some(flag) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
                parsed.action = match arg.as_str() {
                    "start" => Action::Start,
                    "delete" => Action::Delete,
                    _ => return Err(ArgsError::UnknownAction(arg)),
                };
                if let Some(extra) = args.next() {
                    return Err(ArgsError::TooMany(extra));
                }
                break;
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            if let "debug" | "v" | "version" | "info" = name {
                let on = match value.as_deref() {
                    None | Some("true" | "1" | "t") => true,
                    Some("false" | "0" | "f") => false,
                    Some(other) => {
                        return Err(ArgsError::NotBoolean(arg.clone(), other.to_owned()));
                    }
                };
                match name {
                    "debug" => parsed.debug = on,
                    "info" => shown = on.then_some(Action::Info),
                    _ => shown = on.then_some(Action::Version),
                }
                continue;
            }
            let into: &mut String = match name {
                "namespace" => &mut parsed.namespace,
                "id" => &mut parsed.id,
                "address" => &mut parsed.address,
                // Events go to TTRPC_ADDRESS, the path of all containerds since 1.3.
                "publish-binary" => &mut String::new(),
                "bundle" => {
                    let value = value.or_else(|| args.next());
                    let value = value.ok_or_else(|| ArgsError::NoValue(arg.clone()))?;
                    parsed.bundle = (!value.is_empty()).then(|| value.into());
                    continue;
                }
                _ => return Err(ArgsError::UnknownFlag(arg)),
            };
            *into = value
                .or_else(|| args.next())
                .ok_or(ArgsError::NoValue(arg))?;
        }
        if let Some(action) = shown {
            parsed.action = action;
            return Ok(parsed);
        }
        if parsed.namespace.is_empty() {
            return Err(ArgsError::Missing("-namespace"));
        }
        if parsed.id.is_empty() {
            return Err(ArgsError::Missing("-id"));
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, ArgsError> {
        Args::parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn containerd_1_6_start() {
        let args = parse(&[
            "-namespace",
            "default",
            "-address",
            "/run/containerd/containerd.sock",
            "-publish-binary",
            "/usr/bin/containerd",
            "-id",
            "c1",
            "-debug",
            "start",
        ])
        .expect("containerd's own command line");
        assert_eq!(args.action, Action::Start);
        assert_eq!(args.namespace, "default");
        assert_eq!(args.id, "c1");
        assert_eq!(args.address, "/run/containerd/containerd.sock");
        assert!(args.debug);
    }

    #[test]
    fn delete_with_bundle_and_equals_signs() {
        let args = parse(&[
            "--namespace=k8s.io",
            "-id=c1",
            "-bundle=/b",
            "-debug=false",
            "delete",
        ])
        .expect("valid");
        assert_eq!(args.action, Action::Delete);
        assert_eq!(args.bundle, Some("/b".into()));
        assert!(!args.debug);
    }

    #[test]
    fn version_needs_nothing_else() {
        assert_eq!(parse(&["-v"]).map(|args| args.action), Ok(Action::Version));
        assert_eq!(parse(&["-info"]).map(|args| args.action), Ok(Action::Info));
    }

    #[test]
    fn wrong_command_lines_are_refused() {
        for (args, wanted) in [
            (&["-namespace", "x", "start"][..], ArgsError::Missing("-id")),
            (&["-id", "x", "start"], ArgsError::Missing("-namespace")),
            (&["-id"], ArgsError::NoValue("-id".into())),
            (&["-nope"], ArgsError::UnknownFlag("-nope".into())),
            (&["restart"], ArgsError::UnknownAction("restart".into())),
            (&["start", "x"], ArgsError::TooMany("x".into())),
            (
                &["-debug=maybe"],
                ArgsError::NotBoolean("-debug=maybe".into(), "maybe".into()),
            ),
        ] {
            assert_eq!(parse(args), Err(wanted));
        }
    }
}
