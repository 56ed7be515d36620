//! `<state>/network.json`: which bridge and subnet this supervisor's Pods have, kept over restarts.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::error::NetworkError;
use super::link::is_link_name;

const FILE: &str = "network.json";
const VERSION: u32 = 1;

/// What outlives the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    pub(super) bridge: String,
    pub(super) subnet: Ipv4Net,
    /// The nftables table is there.
    #[serde(default)]
    pub(super) masquerade: bool,
    /// Rules were added to the machine's own FORWARD chain and have to go again.
    #[serde(default)]
    pub(super) forward_rules: bool,
}

impl Record {
    pub(super) fn new(bridge: String, subnet: Ipv4Net) -> Record {
        Record {
            version: VERSION,
            bridge,
            subnet,
            masquerade: false,
            forward_rules: false,
        }
    }

    /// The record of that state directory, if there is one.
    pub(super) fn load(state: &Path) -> Result<Option<Record>, NetworkError> {
        let path = state.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(NetworkError::file("read", &path, error)),
        };
        let damaged = |reason: String| NetworkError::Record {
            path: path.clone(),
            reason,
        };
        let record: Record = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        if record.version != VERSION {
            return Err(damaged(format!(
                "version {}, this program writes {VERSION}",
                record.version
            )));
        }
        // Both become parts of paths and of firewall rules.
        if !is_link_name(&record.bridge) {
            return Err(NetworkError::BadInterfaceName(record.bridge));
        }
        if record.subnet.prefix_len() > 30 {
            return Err(NetworkError::SubnetTooSmall(record.subnet));
        }
        Ok(Some(record))
    }

    /// Writes the record: whole or not at all.
    pub(super) fn save(&self, state: &Path) -> Result<(), NetworkError> {
        let path = state.join(FILE);
        let temporary = state.join(format!(".{FILE}.{}", std::process::id()));
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            let mut text = serde_json::to_vec(self)?;
            text.push(b'\n');
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|e| {
            let _ = fs::remove_file(&temporary);
            NetworkError::file("write", &path, e)
        })
    }

    /// Removes records that supervisors were writing when they were killed. The machine's network must be locked, as
    /// it is when one is written.
    pub(super) fn remove_half_written(state: &Path) -> Result<(), NetworkError> {
        let entries = fs::read_dir(state).map_err(|e| NetworkError::file("read", state, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| NetworkError::file("read", state, e))?;
            let name = entry.file_name();
            if name.to_string_lossy().starts_with(&format!(".{FILE}.")) {
                match fs::remove_file(entry.path()) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        return Err(NetworkError::file("remove", &entry.path(), error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Forgets the record.
    pub(super) fn remove(state: &Path) -> Result<(), NetworkError> {
        let path = state.join(FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(NetworkError::file("remove", &path, error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Record::load(dir.path()).unwrap(), None);
        let record = Record::new("carob0".into(), "10.86.0.0/20".parse().unwrap());
        record.save(dir.path()).unwrap();
        assert_eq!(Record::load(dir.path()).unwrap(), Some(record));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        Record::remove(dir.path()).unwrap();
        Record::remove(dir.path()).unwrap();
        assert_eq!(Record::load(dir.path()).unwrap(), None);
    }

    #[test]
    fn f11_a_damaged_record_is_named_never_a_panic() {
        let dir = tempfile::tempdir().unwrap();
        let good = Record::new("carob0".into(), "10.86.0.0/20".parse().unwrap());
        let text = serde_json::to_vec(&good).unwrap();
        for cut in 0..text.len() {
            fs::write(dir.path().join(FILE), &text[..cut]).unwrap();
            let error = Record::load(dir.path()).unwrap_err();
            assert!(error.to_string().contains("network.json"), "{error}");
        }
        for bad in [
            r#"{"version":9,"bridge":"carob0","subnet":"10.0.0.0/20"}"#,
            r#"{"version":1,"bridge":"../x","subnet":"10.0.0.0/20"}"#,
            r#"{"version":1,"bridge":"carob0","subnet":"10.0.0.0/32"}"#,
        ] {
            fs::write(dir.path().join(FILE), bad).unwrap();
            assert!(Record::load(dir.path()).is_err(), "{bad}");
        }
    }
}
