//! A ready OCI bundle as a container of a Pod: what its `config.json` must have, and what the Pod changes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::sandbox::Sandbox;
use super::{Executor, Instance};

/// Longest `config.json` that is read. Bytes.
const CONFIG_MAX: u64 = 8 << 20;

/// Why a directory is no bundle that can be run.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// No file, or no right to read it.
    #[error("{dir:?} is no OCI bundle: cannot read its config.json: {source}")]
    Unreadable {
        /// The bundle.
        dir: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Not what the OCI runtime specification says.
    #[error("{dir:?}/config.json is not valid: {reason}")]
    Invalid {
        /// The bundle.
        dir: PathBuf,
        /// Where and what.
        reason: String,
    },
}

/// What the Pod decides about the container.
pub(super) struct BundleFacts {
    sandbox_id: String,
    sandbox_pid: i32,
    cgroup: String,
}

impl Executor {
    pub(super) fn bundle_facts(&self, instance: &Instance, sandbox: &Sandbox) -> BundleFacts {
        BundleFacts {
            sandbox_id: sandbox.id.clone(),
            sandbox_pid: sandbox.pid,
            cgroup: self.container_cgroup(instance),
        }
    }
}

/// Reads a bundle's `config.json` and checks what can be checked before anything is started.
///
/// # Errors
/// One sentence that names the bundle and what is wrong with it.
pub fn read(dir: &Path) -> Result<Spec, BundleError> {
    let unreadable = |source| BundleError::Unreadable {
        dir: dir.to_owned(),
        source,
    };
    let invalid = |reason: String| BundleError::Invalid {
        dir: dir.to_owned(),
        reason,
    };
    let mut text = Vec::new();
    let file = File::open(dir.join("config.json")).map_err(unreadable)?;
    file.take(CONFIG_MAX + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > CONFIG_MAX {
        return Err(invalid(format!(
            "it is larger than {} MiB",
            CONFIG_MAX >> 20
        )));
    }
    let spec: Spec = serde_json::from_slice(&text).map_err(|e| invalid(e.to_string()))?;
    if !spec.version().starts_with("1.") {
        return Err(invalid(format!(
            "ociVersion {:?} is not supported; use 1.0.0 to 1.2.x",
            spec.version()
        )));
    }
    let process = spec
        .process()
        .as_ref()
        .ok_or_else(|| invalid("it has no process".to_owned()))?;
    if process
        .args()
        .as_ref()
        .is_none_or(|args| args.first().is_none_or(String::is_empty))
    {
        return Err(invalid(
            "process.args is empty; name the program to run".to_owned(),
        ));
    }
    if !process.cwd().is_absolute() {
        return Err(invalid(
            "process.cwd is missing or relative; give an absolute path".to_owned(),
        ));
    }
    if spec.linux().is_none() {
        return Err(invalid("it has no linux section".to_owned()));
    }
    let root = spec
        .root()
        .as_ref()
        .ok_or_else(|| invalid("it has no root".to_owned()))?;
    let path = dir.join(root.path());
    match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_dir() => Ok(spec),
        Ok(meta) if meta.is_symlink() => Err(invalid(format!(
            "root.path {path:?} is a symbolic link; name the directory itself"
        ))),
        Ok(_) => Err(invalid(format!("root.path {path:?} is not a directory"))),
        Err(error) => Err(invalid(format!("root.path {path:?}: {error}"))),
    }
}

/// The bundle's configuration as a container of the Pod: its new network, IPC and UTS namespaces become
/// the Pod's; what the bundle says about others stays.
pub(super) fn load(dir: &Path, facts: &BundleFacts) -> Result<Spec, BundleError> {
    let mut spec = read(dir)?;
    if let Some(root) = spec.root_mut() {
        root.set_path(dir.join(root.path()));
    }
    let annotations = spec.annotations_mut().get_or_insert_default();
    annotations.insert(
        "io.kubernetes.cri.container-type".to_owned(),
        "container".to_owned(),
    );
    annotations.insert(
        "io.kubernetes.cri.sandbox-id".to_owned(),
        facts.sandbox_id.clone(),
    );
    // The sandbox has the host name; a container that joins it can't set one.
    let mut joins_uts = false;
    if let Some(linux) = spec.linux_mut() {
        linux.set_cgroups_path(Some(PathBuf::from(&facts.cgroup)));
        for namespace in linux
            .namespaces_mut()
            .iter_mut()
            .flatten()
            .filter(|n| n.path().is_none())
        {
            let file = match namespace.typ() {
                LinuxNamespaceType::Network => "net",
                LinuxNamespaceType::Ipc => "ipc",
                LinuxNamespaceType::Uts => "uts",
                _ => continue,
            };
            joins_uts |= file == "uts";
            namespace.set_path(Some(PathBuf::from(format!(
                "/proc/{}/ns/{file}",
                facts.sandbox_pid
            ))));
        }
    }
    if joins_uts {
        spec.set_hostname(None).set_domainname(None);
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bundle(config: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("rootfs")).unwrap();
        fs::write(dir.path().join("config.json"), config).unwrap();
        dir
    }

    fn valid() -> serde_json::Value {
        json!({
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs"},
            "process": {"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
            "hostname": "x",
            "linux": {"namespaces": [{"type": "network"}, {"type": "mount"}, {"type": "uts"}]}
        })
    }

    fn refusal(config: &str) -> String {
        read(bundle(config).path()).unwrap_err().to_string()
    }

    #[test]
    fn b47_bad_bundles_get_a_sentence() {
        let missing = tempfile::tempdir().unwrap();
        assert!(
            read(missing.path())
                .unwrap_err()
                .to_string()
                .contains("cannot read its config.json")
        );
        assert!(refusal("").contains("EOF"));
        assert!(refusal(&valid().to_string()[..40]).contains("not valid"));
        let with = |pointer: &str, value: serde_json::Value| {
            let mut config = valid();
            *config.pointer_mut(pointer).unwrap() = value;
            refusal(&config.to_string())
        };
        assert!(with("/ociVersion", json!("99.0.0")).contains("ociVersion"));
        assert!(with("/process/args", json!([])).contains("process.args is empty"));
        assert!(with("/process/cwd", json!("")).contains("process.cwd"));
        assert!(with("/root/path", json!("nowhere")).contains("nowhere"));
        assert!(with("/root/path", json!("config.json")).contains("not a directory"));
        assert!(with("/linux/namespaces/0/type", json!("astral")).contains("not valid"));
    }

    #[test]
    fn a_bundle_joins_the_pods_namespaces() {
        let dir = bundle(&valid().to_string());
        let facts = BundleFacts {
            sandbox_id: "s".into(),
            sandbox_pid: 42,
            cgroup: "/carob/x".into(),
        };
        let spec = load(dir.path(), &facts).unwrap();
        let path = |kind| {
            let linux = spec.linux().as_ref().unwrap();
            linux
                .namespaces()
                .as_ref()
                .unwrap()
                .iter()
                .find(|n| n.typ() == kind)
                .unwrap()
                .path()
                .clone()
        };
        assert_eq!(
            path(LinuxNamespaceType::Network),
            Some("/proc/42/ns/net".into())
        );
        assert_eq!(
            path(LinuxNamespaceType::Uts),
            Some("/proc/42/ns/uts".into())
        );
        assert_eq!(path(LinuxNamespaceType::Mount), None);
        assert_eq!(spec.hostname(), &None);
        assert_eq!(
            spec.root().as_ref().unwrap().path(),
            &dir.path().join("rootfs")
        );
    }
}
