//! Which Pods are known here: by a record, a bundle, or a directory below `--root`.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{Record, RecordError, durable_path, record_path, try_lock};
use crate::backend::Home;
use crate::dirs::Dirs;
use crate::private;

/// The file in a Pod's directory below `--root` that holds the path of its record.
const RECORD_FILE: &str = "record";

/// A Pod that has something in the state or root directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its UID.
    pub uid: String,
    /// `namespace/name`, when its record can be read.
    pub name: Option<String>,
    /// Where its containers are, when its record can be read.
    pub home: Option<Home>,
    /// A supervisor has it.
    pub running: bool,
    /// It is through and kept to be looked at.
    pub ended: bool,
}

/// Makes a Pod's directory below `--root` and notes in it where its record is: supervisors with another `--state`
/// may share the root.
///
/// # Errors
/// When it can't be made or written.
pub fn make_pod_dir(dirs: &Dirs, uid: &str) -> io::Result<()> {
    let dir = dirs.pods().join(uid);
    DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    let record = record_path(&dirs.state, uid);
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
        // STATE/pods/UID.json
        let state = record.parent().and_then(Path::parent);
        state.is_some_and(|state| {
            let kept = || durable_path(&dirs.root, state, uid).exists();
            state != dirs.state && (record.exists() || kept())
        })
    });
    Ok(uids.into_iter().collect())
}

/// All Pods of this state directory that have a record, a bundle or a directory here.
///
/// # Errors
/// When a directory or lock can't be read.
pub fn list(dirs: &Dirs) -> Result<Vec<Known>, RecordError> {
    let mut uids = BTreeSet::new();
    for dir in [
        dirs.records(),
        dirs.durable_records(),
        dirs.bundles(),
        dirs.pods(),
    ] {
        for entry in entries(&dir)? {
            uids.insert(entry.split('.').next().unwrap_or_default().to_owned());
        }
    }
    let foreign = foreign(dirs)?;
    uids.retain(|uid| !foreign.contains(uid));
    uids.into_iter()
        .map(|uid| {
            let lock_path = record_path(&dirs.state, &uid).with_extension("lock");
            // Opening it for a look must not make a lock file for a Pod that has none.
            let running = lock_path.exists() && try_lock(&lock_path)?.is_none();
            // One that is damaged loses its name but not its cleaning.
            let record = Record::load(dirs, &uid).ok();
            let ended = record.as_ref().is_some_and(|r| r.ended.is_some());
            let home = record.as_ref().map(|record| record.home.clone());
            let name = record.map(|record| {
                let meta = record.pod.metadata;
                format!("{}/{}", meta.namespace, meta.name)
            });
            Ok(Known {
                uid,
                name,
                home,
                running,
                ended,
            })
        })
        .collect()
}

fn entries(dir: &Path) -> Result<Vec<String>, RecordError> {
    let io = |source| RecordError::Read {
        path: PathBuf::from(dir),
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
