//! What the shim itself reads of a bundle: the few fields of `config.json` it decides by.
//!
//! The whole spec is only parsed in the worker, so that the shim's own memory stays small. Refuses
//! ids that could leave their directory, and bundles without a readable `config.json`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxResources;
use serde::Deserialize;

use crate::stdio::Size;

/// The longest id, as containerd's `identifiers` package has it.
const MAX_ID: usize = 76;

/// The largest `config.json` that is read, in bytes. runc's own are below 1 MiB even with thousands
/// of environment variables.
const MAX_CONFIG: u64 = 16 << 20;

/// Why a bundle or an id can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The id is not one by containerd's rule.
    #[error(
        "{what} {id:?} is not valid: it must be 1 to {MAX_ID} letters, digits, '_', '.' and '-', \
         starting and ending with a letter or digit"
    )]
    Id {
        /// What kind of id.
        what: &'static str,
        /// The id, shortened.
        id: String,
    },
    /// The file can't be read.
    #[error("bundle {}: config.json can't be read: {cause}", bundle.display())]
    Unreadable {
        /// The bundle.
        bundle: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// A note can't be left in the bundle.
    #[error("{} can't be written: {cause}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The file is absurdly large.
    #[error("bundle {}: config.json is larger than {MAX_CONFIG} bytes", bundle.display())]
    TooLarge {
        /// The bundle.
        bundle: PathBuf,
    },
    /// The file is not an OCI runtime configuration.
    #[error("bundle {}: config.json is not a runtime configuration: {cause}", bundle.display())]
    Malformed {
        /// The bundle.
        bundle: PathBuf,
        /// Where and why parsing failed.
        cause: serde_json::Error,
    },
    /// It is one, but asks for what can't be.
    #[error("bundle {}: {why}", bundle.display())]
    Invalid {
        /// The bundle.
        bundle: PathBuf,
        /// One sentence.
        why: String,
    },
}

/// Checks an id by containerd's rule (`pkg/identifiers`): it becomes part of paths.
///
/// # Errors
/// [`BundleError::Id`].
pub fn check_id(what: &'static str, id: &str) -> Result<(), BundleError> {
    let bytes = id.as_bytes();
    let alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    // Separators don't follow each other in containerd's rule, so `..` is no id.
    let separators = bytes.windows(2).all(|pair| {
        alphanumeric(pair.first()) || alphanumeric(pair.get(1)) || pair == b"--" || pair == b"__"
    });
    let characters = bytes
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(byte));
    if bytes.len() <= MAX_ID
        && characters
        && separators
        && alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
    {
        Ok(())
    } else {
        Err(BundleError::Id {
            what,
            id: id.chars().take(MAX_ID + 1).collect(),
        })
    }
}

/// The file in a bundle that names the container's init, for whoever cleans up after a killed shim. It
/// is there from when the container's cgroup is ours.
const INIT_PID: &str = "init.pid";

/// Notes the container's init in its bundle: 0 as long as there is none.
///
/// # Errors
/// [`BundleError::Unwritable`].
pub fn note_init(bundle: &Path, pid: i32) -> Result<(), BundleError> {
    let path = bundle.join(INIT_PID);
    std::fs::write(&path, pid.to_string()).map_err(|cause| BundleError::Unwritable { path, cause })
}

/// Takes the note back: nothing of the container is left.
pub fn forget_init(bundle: &Path) {
    // That it isn't there is no matter.
    let _ = std::fs::remove_file(bundle.join(INIT_PID));
}

/// The init that was noted, if any.
pub fn noted_init(bundle: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(bundle.join(INIT_PID)).ok()?;
    Some(text.trim().parse().unwrap_or(0))
}

/// The fields of `config.json` that the shim needs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(rename = "ociVersion")]
    _version: String,
    #[serde(default)]
    annotations: Option<HashMap<String, String>>,
    #[serde(default)]
    process: Option<Process>,
    #[serde(default)]
    linux: Option<Linux>,
    #[serde(default)]
    hooks: Option<Hooks>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    #[serde(default)]
    console_size: Option<ConsoleSize>,
}

#[derive(Debug, Deserialize)]
struct ConsoleSize {
    height: u16,
    width: u16,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    #[serde(default)]
    cgroups_path: Option<String>,
    #[serde(default)]
    resources: Option<LinuxResources>,
    #[serde(default)]
    namespaces: Option<Vec<Namespace>>,
}

#[derive(Debug, Deserialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hooks {
    #[serde(default)]
    poststart: Vec<serde_json::Value>,
    #[serde(default)]
    poststop: Vec<serde_json::Value>,
}

/// A bundle whose `config.json` was read.
#[derive(Debug)]
pub struct Bundle {
    config: Config,
}

impl Bundle {
    /// Reads the bundle at `path`.
    ///
    /// # Errors
    /// [`BundleError`], naming the bundle.
    pub fn read(path: &Path) -> Result<Self, BundleError> {
        let text = read_config(path)?;
        let config = serde_json::from_slice(&text).map_err(|cause| BundleError::Malformed {
            bundle: path.to_owned(),
            cause,
        })?;
        Ok(Self { config })
    }

    /// The group of containers that one shim serves, when the bundle names one: containerd's own
    /// annotation, or the Pod's sandbox, as CRI sets it.
    pub fn group(&self) -> Option<&str> {
        let annotations = self.config.annotations.as_ref()?;
        [
            "io.containerd.runc.v2.group",
            "io.kubernetes.cri.sandbox-id",
        ]
        .iter()
        .find_map(|key| annotations.get(*key))
        .map(String::as_str)
        .filter(|group| !group.is_empty())
    }

    /// The cgroup's path; `/NAMESPACE/ID` where the spec has none, as containerd would set it.
    pub fn cgroup_path(&self, namespace: &str, id: &str) -> Cow<'_, str> {
        match self
            .config
            .linux
            .as_ref()
            .and_then(|linux| linux.cgroups_path.as_deref())
        {
            Some(path) if !path.is_empty() => Cow::Borrowed(path),
            _ => Cow::Owned(format!("/{namespace}/{id}")),
        }
    }

    /// The size that the init's terminal begins with.
    pub fn console_size(&self) -> Option<Size> {
        let size = self.config.process.as_ref()?.console_size.as_ref()?;
        Some(Size {
            width: size.width,
            height: size.height,
        })
    }

    /// The cgroup's limits.
    pub fn take_resources(&mut self) -> Option<LinuxResources> {
        self.config.linux.as_mut()?.resources.take()
    }

    /// Whether the container's init is the first process of a PID namespace of its own, so that the
    /// kernel kills the others when it exits.
    pub fn owns_pid_namespace(&self) -> bool {
        let namespaces = self
            .config
            .linux
            .as_ref()
            .and_then(|linux| linux.namespaces.as_ref());
        namespaces.into_iter().flatten().any(|namespace| {
            namespace.kind == "pid" && namespace.path.as_deref().unwrap_or("").is_empty()
        })
    }

    /// Whether hooks are to run after start, and after the end.
    pub fn hooks(&self) -> (bool, bool) {
        let hooks = self.config.hooks.as_ref();
        (
            hooks.is_some_and(|hooks| !hooks.poststart.is_empty()),
            hooks.is_some_and(|hooks| !hooks.poststop.is_empty()),
        )
    }
}

/// The text of the bundle's `config.json`.
///
/// # Errors
/// [`BundleError::Unreadable`] or [`BundleError::TooLarge`].
pub fn read_config(bundle: &Path) -> Result<Vec<u8>, BundleError> {
    let unreadable = |cause| BundleError::Unreadable {
        bundle: bundle.to_owned(),
        cause,
    };
    let file = std::fs::File::open(bundle.join("config.json")).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(io::Error::other("it is not a regular file")));
    }
    let mut text = Vec::with_capacity(metadata.len().min(MAX_CONFIG) as usize + 1);
    file.take(MAX_CONFIG + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_CONFIG {
        return Err(BundleError::TooLarge {
            bundle: bundle.to_owned(),
        });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(config: &str) -> Result<Bundle, BundleError> {
        let temp = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(temp.path().join("config.json"), config).expect("written");
        Bundle::read(temp.path())
    }

    #[test]
    fn b46_ids_that_could_leave_their_directory_are_refused() {
        let long = "x".repeat(1024);
        for id in [
            "", "/", "..", ".", "a/b", "a/../b", "-a", "a-", "a..b", "a b", "ä", "a\0", &long,
        ] {
            assert!(check_id("container id", id).is_err(), "{id:?}");
        }
        for id in [
            "a",
            "web-1",
            "a_b.c",
            "0123456789abcdef",
            "a--b",
            &"x".repeat(76),
        ] {
            assert!(check_id("container id", id).is_ok(), "{id:?}");
        }
    }

    #[test]
    fn groups_come_from_containerds_or_cris_annotation() {
        let none = bundle(r#"{"ociVersion":"1.0.2"}"#).expect("valid");
        assert_eq!(none.group(), None);
        let cri =
            bundle(r#"{"ociVersion":"1.0.2","annotations":{"io.kubernetes.cri.sandbox-id":"s1"}}"#)
                .expect("valid");
        assert_eq!(cri.group(), Some("s1"));
        let both = bundle(
            r#"{"ociVersion":"1.0.2","annotations":{"io.kubernetes.cri.sandbox-id":"s1","io.containerd.runc.v2.group":"g"}}"#,
        )
        .expect("valid");
        assert_eq!(both.group(), Some("g"));
    }

    #[test]
    fn the_cgroup_and_the_pid_namespace_are_found() {
        let bare = bundle(r#"{"ociVersion":"1.0.2"}"#).expect("valid");
        assert_eq!(bare.cgroup_path("ns", "c"), "/ns/c");
        assert!(!bare.owns_pid_namespace());
        let full = bundle(
            r#"{"ociVersion":"1.0.2","linux":{"cgroupsPath":"/carob/a/b","namespaces":[{"type":"mount"},{"type":"pid"}]}}"#,
        )
        .expect("valid");
        assert_eq!(full.cgroup_path("ns", "c"), "/carob/a/b");
        assert!(full.owns_pid_namespace());
        let shared = bundle(r#"{"ociVersion":"1.0.2","linux":{"namespaces":[{"type":"pid","path":"/proc/1/ns/pid"}]}}"#)
            .expect("valid");
        assert!(!shared.owns_pid_namespace());
    }

    #[test]
    fn b47_bad_configurations_are_named() {
        for text in [
            "",
            "{",
            "[]",
            "null",
            "\u{0}\u{1}",
            "{}",
            "{\"ociVersion\":\"1.0\",\"linux\":7}",
        ] {
            let error = bundle(text).expect_err(text).to_string();
            assert!(
                error.contains("config.json is not a runtime configuration"),
                "{error}"
            );
        }
        let temp = tempfile::tempdir().expect("a temporary directory");
        let error = Bundle::read(temp.path()).expect_err("no file").to_string();
        assert!(error.contains("config.json can't be read"), "{error}");
    }
}
