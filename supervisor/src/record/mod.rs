//! One JSON record per Pod in the state directory, and the lock that says which supervisor has it.
//!
//! The state directory is a tmpfs on most machines, so records are renamed into place but not synced; what survives
//! the machine is a copy (`mirror`).

mod known;
mod mirror;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carob_core::config::{ConfigObject, ObjectSet};
use carob_core::decide::Outcome;
use carob_core::pod::Pod;
use carob_core::registry::Origin;
use carob_core::state::PodState;
use carob_core::status::PodStatus;
use nix::fcntl::Flock;
use serde::{Deserialize, Serialize};

pub use known::{Known, foreign, list, make_pod_dir};
pub use mirror::Mirror;

use crate::backend::Home;
use crate::clock::Mark;
use crate::dirs::{self, Dirs, DirsError};
use crate::executor::Source;
use crate::private;

/// The format that this program writes.
const VERSION: u32 = 3;
/// The formats that it reads: 2 did not say where the containers are, as there was one backend. Others are refused
/// by name.
const READ: RangeInclusive<u32> = 2..=VERSION;

/// What is kept of a Pod.
#[derive(Debug, Deserialize)]
pub struct Record {
    /// The Pod.
    pub pod: Pod,
    /// Where its containers come from.
    pub source: Source,
    /// Where its containers are.
    #[serde(default)]
    pub home: Home,
    /// When this was written, by the Pod's own clock.
    pub clock: Mark,
    /// All that its decisions remember.
    pub state: PodState,
    /// Who asked for it.
    #[serde(default)]
    pub origin: Origin,
    /// How it ended, of a Pod that is through and kept to be looked at.
    #[serde(default)]
    pub ended: Option<Ended>,
    /// Set while the Pod is ended with the machine.
    #[serde(default)]
    pub shutdown: Option<AtEnd>,
}

/// What becomes of the record of a Pod that is through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AtEnd {
    /// It goes.
    Forget,
    /// It stays, with how the Pod ended, until someone deletes the Pod.
    Keep,
    /// The Pod was ended with the machine, and begins anew when that is up again.
    Renew,
    /// The Pod was ended with the machine, and is not to be run again: it has failed, and stays.
    Terminate,
}

impl AtEnd {
    /// True for a Pod that was ended with the machine, not deleted by anybody.
    pub fn is_shutdown(self) -> bool {
        matches!(self, Self::Renew | Self::Terminate)
    }
}

/// How a Pod ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ended {
    /// In short.
    pub outcome: Outcome,
    /// Its last status.
    pub status: PodStatus,
}

/// A record to be written.
#[derive(Serialize)]
pub struct View<'a> {
    version: u32,
    pod: &'a Pod,
    source: &'a Source,
    home: &'a Home,
    clock: Mark,
    state: &'a PodState,
    origin: Origin,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<&'a Ended>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shutdown: Option<AtEnd>,
}

/// The sole right to run a Pod, held by one supervisor until dropped.
pub struct Claim {
    path: PathBuf,
    lock_path: PathBuf,
    durable: PathBuf,
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
    #[error(
        "Pod {0} was left behind by a supervisor that was killed; \
         `carob run --adopt` carries it on, `carob prune` removes it"
    )]
    LeftBehind(String),
    /// The directory's lock failed.
    #[error(transparent)]
    Dirs(#[from] DirsError),
    /// The record, or a directory of records, can't be read.
    #[error("cannot read {path:?}: {source}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The record is not what this program writes.
    #[error("the record {path:?} is not valid ({reason}); `carob prune` removes its Pod")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and what.
        reason: String,
    },
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

impl Record {
    /// Reads the record of a Pod; when the machine was restarted, what survived of it.
    ///
    /// # Errors
    /// When there is none, or it is damaged or of another version.
    pub fn load(dirs: &Dirs, uid: &str) -> Result<Self, RecordError> {
        let mut path = record_path(&dirs.state, uid);
        if !path.exists() {
            path = durable_path(&dirs.root, &dirs.state, uid);
        }
        let text = fs::read(&path).map_err(|source| RecordError::Read {
            path: path.clone(),
            source,
        })?;
        let damaged = |reason: String| RecordError::Damaged {
            path: path.clone(),
            reason,
        };
        /// What every version has.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } =
            serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        if !READ.contains(&version) {
            return Err(damaged(format!(
                "version {version}, this program reads {} to {VERSION}",
                READ.start()
            )));
        }
        let record: Self = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        match record.pod.metadata.uid == uid {
            true => Ok(record),
            false => Err(damaged("it is of another Pod".to_owned())),
        }
    }
}

impl<'a> View<'a> {
    /// What is known of a Pod now.
    pub fn new(
        pod: &'a Pod,
        source: &'a Source,
        origin: Origin,
        home: &'a Home,
        clock: Mark,
        state: &'a PodState,
    ) -> Self {
        Self {
            version: VERSION,
            pod,
            source,
            home,
            clock,
            state,
            origin,
            ended: None,
            shutdown: None,
        }
    }

    /// The same while the Pod is ended with the machine.
    pub fn at_end(self, at_end: AtEnd) -> Self {
        Self {
            shutdown: Some(at_end).filter(|at_end| at_end.is_shutdown()),
            ..self
        }
    }

    /// The same once it has ended.
    pub fn ended(self, ended: &'a Ended) -> Self {
        Self {
            ended: Some(ended),
            ..self
        }
    }
}

impl Claim {
    /// Claims a Pod by writing its first record.
    ///
    /// # Errors
    /// When a Pod with its namespace and name is here already, running or left behind.
    pub fn new(dirs: &Dirs, view: &View<'_>) -> Result<Self, RecordError> {
        let _all = dirs.lock()?;
        let meta = &view.pod.metadata;
        let full_name = format!("{}/{}", meta.namespace, meta.name);
        for other in list(dirs)? {
            if other.name.as_deref() == Some(&full_name) || other.uid == meta.uid {
                return Err(if other.running {
                    RecordError::Running(full_name)
                } else {
                    RecordError::LeftBehind(full_name)
                });
            }
        }
        let claim = Self::lock(dirs, &meta.uid)?.ok_or(RecordError::Running(full_name))?;
        claim.save(view)?;
        Ok(claim)
    }

    /// Takes over what a killed supervisor left; `None` when a supervisor still has it.
    ///
    /// # Errors
    /// When the lock can't be opened.
    pub fn take_over(dirs: &Dirs, uid: &str) -> Result<Option<Self>, RecordError> {
        Self::lock(dirs, uid)
    }

    fn lock(dirs: &Dirs, uid: &str) -> Result<Option<Self>, RecordError> {
        let path = record_path(&dirs.state, uid);
        let lock_path = path.with_extension("lock");
        Ok(try_lock(&lock_path)?.map(|lock| Self {
            path,
            lock_path,
            durable: durable_path(&dirs.root, &dirs.state, uid),
            _lock: lock,
        }))
    }

    /// Replaces the record.
    ///
    /// # Errors
    /// When it can't be written; the old one is then still there.
    pub fn save(&self, view: &View<'_>) -> Result<(), RecordError> {
        let io = |source| RecordError::Io {
            path: self.path.clone(),
            source,
        };
        let text = serde_json::to_vec(view).map_err(|e| io(e.into()))?;
        private::write(&self.path, &text).map_err(io)
    }

    /// Writes down the ConfigMaps and Secrets that the Pod brings, where they survive the machine; nothing when there
    /// are none.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn keep_objects(&self, objects: &ObjectSet) -> Result<(), RecordError> {
        if objects.is_empty() {
            return Ok(());
        }
        let path = self.objects_path();
        let write = || {
            let directory = path.parent().unwrap_or(&path);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
            let objects: Vec<&ConfigObject> = objects.iter().map(|object| &**object).collect();
            private::write_synced(&path, &serde_json::to_vec(&objects)?)
        };
        write().map_err(|source| RecordError::Io {
            path: path.clone(),
            source,
        })
    }

    /// The ConfigMaps and Secrets that the Pod brought.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn objects(&self) -> Result<ObjectSet, RecordError> {
        let path = self.objects_path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(ObjectSet::default()),
            Err(source) => return Err(RecordError::Read { path, source }),
        };
        let objects: Vec<ConfigObject> =
            serde_json::from_slice(&text).map_err(|e| RecordError::Damaged {
                path,
                // Its own words may show what is secret.
                reason: format!("line {}, column {}", e.line(), e.column()),
            })?;
        Ok(objects.into_iter().map(Arc::new).collect())
    }

    fn objects_path(&self) -> PathBuf {
        self.durable.with_extension("objects.json")
    }

    /// Keeps a copy of the record that survives the machine.
    pub fn mirror(&self) -> Mirror {
        Mirror::start(self.path.clone(), self.durable.clone())
    }

    /// Forgets the Pod: nothing of it is left.
    ///
    /// # Errors
    /// When the files can't be removed.
    pub fn release(self) -> Result<(), RecordError> {
        let io = |path: &Path, source| RecordError::Io {
            path: path.to_owned(),
            source,
        };
        let objects = self.objects_path();
        mirror::remove(&objects).map_err(|e| io(&objects, e))?;
        mirror::remove(&self.durable).map_err(|e| io(&self.durable, e))?;
        let shown = self.path.with_extension("shown");
        for path in [&shown, &self.path, &self.lock_path] {
            private::remove(path).map_err(|e| io(path, e))?;
        }
        Ok(())
    }
}

fn record_path(state: &Path, uid: &str) -> PathBuf {
    state.join("pods").join(format!("{uid}.json"))
}

fn durable_path(root: &Path, state: &Path, uid: &str) -> PathBuf {
    dirs::durable_records(root, state).join(format!("{uid}.json"))
}

fn try_lock(path: &Path) -> Result<Option<Flock<File>>, RecordError> {
    private::try_lock(path).map_err(|source| RecordError::Io {
        path: path.to_owned(),
        source,
    })
}
