//! One JSON record per Pod in the state directory, and the lock that says which supervisor has it.
//!
//! The state directory is a tmpfs on most machines and empty after a boot, so records are renamed into
//! place but not synced.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use carob_core::pod::Pod;
use carob_core::state::PodState;
use nix::fcntl::Flock;
use serde::{Deserialize, Serialize};

use crate::dirs::{Dirs, DirsError};
use crate::private;

/// The format that this program writes; others are refused by name.
const VERSION: u32 = 1;

/// The file in a Pod's directory below `--root` that holds the path of its record.
const RECORD_FILE: &str = "record";

/// What is kept of a Pod.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// The Pod.
    pub pod: Pod,
    /// All that its decisions remember.
    pub state: PodState,
}

/// The sole right to run a Pod, held by one supervisor until dropped.
pub struct Claim {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: Flock<File>,
}

/// Why a Pod can't be claimed or its record not be written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Another supervisor has a Pod of this name.
    #[error(
        "Pod {0} is already running here; stop it first, or give this one another name, namespace or --state"
    )]
    Running(String),
    /// A Pod of this name was left by a supervisor that was killed.
    #[error("Pod {0} was left behind by a supervisor that was killed; run `carob prune` first")]
    LeftBehind(String),
    /// The directory's lock failed.
    #[error(transparent)]
    Dirs(#[from] DirsError),
    /// The record can't be written.
    #[error(
        "cannot write the record {path:?}: {source}; free some space or choose another --state"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl Claim {
    /// Claims a Pod by writing its first record.
    ///
    /// # Errors
    /// When a Pod with its namespace and name is here already, running or left behind.
    pub fn new(dirs: &Dirs, pod: &Pod, state: &PodState) -> Result<Self, RecordError> {
        let _all = dirs.lock()?;
        let full_name = format!("{}/{}", pod.metadata.namespace, pod.metadata.name);
        for other in list(dirs)? {
            if other.name.as_deref() == Some(&full_name) || other.uid == pod.metadata.uid {
                return Err(if other.running {
                    RecordError::Running(full_name)
                } else {
                    RecordError::LeftBehind(full_name)
                });
            }
        }
        let path = record_path(dirs, &pod.metadata.uid);
        let lock_path = path.with_extension("lock");
        let lock = try_lock(&lock_path)?.ok_or(RecordError::Running(full_name))?;
        let claim = Self {
            path,
            lock_path,
            _lock: lock,
        };
        claim.save(pod, state)?;
        Ok(claim)
    }

    /// Takes over what a killed supervisor left; `None` when a supervisor still has it.
    ///
    /// # Errors
    /// When the lock can't be opened.
    pub fn take_over(dirs: &Dirs, uid: &str) -> Result<Option<Self>, RecordError> {
        let path = record_path(dirs, uid);
        let lock_path = path.with_extension("lock");
        Ok(try_lock(&lock_path)?.map(|lock| Self {
            path,
            lock_path,
            _lock: lock,
        }))
    }

    /// Replaces the record.
    ///
    /// # Errors
    /// When it can't be written; the old one is then still there.
    pub fn save(&self, pod: &Pod, state: &PodState) -> Result<(), RecordError> {
        #[derive(Serialize)]
        struct View<'a> {
            version: u32,
            pod: &'a Pod,
            state: &'a PodState,
        }
        let io = |source| RecordError::Io {
            path: self.path.clone(),
            source,
        };
        let text = serde_json::to_vec(&View {
            version: VERSION,
            pod,
            state,
        })
        .map_err(|e| io(e.into()))?;
        private::write(&self.path, &text).map_err(io)
    }

    /// Forgets the Pod: nothing of it is left.
    ///
    /// # Errors
    /// When the files can't be removed.
    pub fn release(self) -> Result<(), RecordError> {
        for path in [&self.path, &self.lock_path] {
            private::remove(path).map_err(|source| RecordError::Io {
                path: path.clone(),
                source,
            })?;
        }
        Ok(())
    }
}

/// A Pod that has something in the state or root directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its UID.
    pub uid: String,
    /// `namespace/name`, when its record can be read.
    pub name: Option<String>,
    /// A supervisor has it.
    pub running: bool,
}

/// Makes a Pod's directory below `--root` and notes in it where its record is: supervisors with another `--state`
/// may share the root.
///
/// # Errors
/// When it can't be made or written.
pub fn make_pod_dir(dirs: &Dirs, uid: &str) -> io::Result<()> {
    let dir = dirs.pods().join(uid);
    DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    let record = record_path(dirs, uid);
    private::write(
        &dir.join(RECORD_FILE),
        record.as_os_str().as_encoded_bytes(),
    )
}

/// Pods that have a directory here but whose record is in another state directory: not ours to clean up.
///
/// # Errors
/// When the directory can't be read.
pub fn foreign(dirs: &Dirs) -> Result<HashSet<String>, RecordError> {
    let mut uids = entries(&dirs.pods())?;
    uids.retain(|uid| {
        let noted = fs::read(dirs.pods().join(uid).join(RECORD_FILE)).unwrap_or_default();
        let record = Path::new(OsStr::from_bytes(&noted));
        record != record_path(dirs, uid) && record.exists()
    });
    Ok(uids.into_iter().collect())
}

/// All Pods of this state directory that have a record, a bundle or a directory here.
///
/// # Errors
/// When a directory or lock can't be read.
pub fn list(dirs: &Dirs) -> Result<Vec<Known>, RecordError> {
    let mut uids = BTreeSet::new();
    for dir in [dirs.records(), dirs.bundles(), dirs.pods()] {
        for entry in entries(&dir)? {
            uids.insert(entry.split('.').next().unwrap_or_default().to_owned());
        }
    }
    let foreign = foreign(dirs)?;
    uids.retain(|uid| !foreign.contains(uid));
    uids.into_iter()
        .map(|uid| {
            let path = record_path(dirs, &uid);
            let lock_path = path.with_extension("lock");
            // Opening it for a look must not make a lock file for a Pod that has none.
            let running = lock_path.exists() && try_lock(&lock_path)?.is_none();
            let name =
                read(&path).map(|pod| format!("{}/{}", pod.metadata.namespace, pod.metadata.name));
            Ok(Known { uid, name, running })
        })
        .collect()
}

/// The Pod of a record; `None` when it is missing or damaged, which loses its name but not its cleaning.
fn read(path: &Path) -> Option<Pod> {
    let record: Record = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (record.version == VERSION).then_some(record.pod)
}

fn record_path(dirs: &Dirs, uid: &str) -> PathBuf {
    dirs.records().join(format!("{uid}.json"))
}

fn entries(dir: &Path) -> Result<Vec<String>, RecordError> {
    let io = |source| RecordError::Io {
        path: dir.to_owned(),
        source,
    };
    match fs::read_dir(dir) {
        Ok(list) => list
            .map(|e| Ok(e.map_err(io)?.file_name().to_string_lossy().into_owned()))
            .collect(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(io(e)),
    }
}

fn try_lock(path: &Path) -> Result<Option<Flock<File>>, RecordError> {
    private::try_lock(path).map_err(|source| RecordError::Io {
        path: path.to_owned(),
        source,
    })
}
