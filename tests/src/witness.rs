//! Writes down, while a supervisor runs, the names of what it makes outside its directories, so that one can
//! look for them afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use serde_json::Value;

/// Looks at the supervisors whose state directories lie directly below one directory.
pub(crate) struct Witness {
    dir: PathBuf,
    seen: Mutex<Seen>,
}

/// Names seen so far.
#[derive(Default)]
pub(crate) struct Seen {
    /// Cgroups of Pods, from the root of each hierarchy.
    pub(crate) cgroups: BTreeSet<String>,
    /// Sockets on which shims listen.
    pub(crate) sockets: BTreeSet<PathBuf>,
    /// Network interfaces.
    pub(crate) interfaces: BTreeSet<String>,
    /// Tables of nftables.
    pub(crate) tables: BTreeSet<String>,
}

impl Witness {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            seen: Mutex::default(),
        }
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("a witness never panics")
    }

    /// Looks once. What goes while it looks, it need not have seen.
    pub(crate) fn look(&self) {
        let mut seen = self.seen();
        for state in entries(&self.dir) {
            for pod in entries(&state.join("bundles")) {
                for bundle in entries(&pod) {
                    seen.bundle(&bundle);
                }
            }
        }
        seen.network(&self.dir);
    }
}

impl Seen {
    fn bundle(&mut self, bundle: &Path) {
        if let Ok(address) = fs::read_to_string(bundle.join("address")) {
            let path = address.trim().trim_start_matches("unix://");
            self.sockets.insert(path.into());
        }
        let config = fs::read(bundle.join("config.json")).unwrap_or_default();
        let config: Value = serde_json::from_slice(&config).unwrap_or_default();
        let cgroup = config["linux"]["cgroupsPath"].as_str().map(Path::new);
        if let Some(pod) = cgroup.and_then(Path::parent) {
            self.cgroups.insert(pod.display().to_string());
        }
    }

    /// A bridge says in its alias which state directory it is of; its ports are the Pods'.
    fn network(&mut self, dir: &Path) {
        for interface in entries(Path::new("/sys/class/net")) {
            let alias = fs::read_to_string(interface.join("ifalias")).unwrap_or_default();
            if !alias.contains(&*dir.to_string_lossy()) {
                continue;
            }
            let bridge = name(&interface);
            self.tables.insert(bridge.replace('-', "_"));
            self.interfaces.insert(bridge);
            let ports = entries(&interface.join("brif"));
            self.interfaces.extend(ports.iter().map(|port| name(port)));
        }
    }
}

/// What is in a directory; nothing when it isn't there.
pub(crate) fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

fn name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
