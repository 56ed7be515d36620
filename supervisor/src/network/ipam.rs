//! Addresses for Pods, kept as CNI's host-local keeps them: one file per address, holding its owner.
//!
//! `<state>/ipam/10.86.0.5` holds the UID of the Pod that has the address; `last_reserved_ip.0` the address given last,
//! so that an address comes back into use as late as possible. The directory itself is locked (flock) for each
//! change; a file that is empty was being written when its supervisor was killed, and is free.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

use super::error::NetworkError;

const LAST: &str = "last_reserved_ip.0";

/// The addresses of one supervisor.
pub(super) struct Ipam {
    dir: PathBuf,
    owners: HashMap<String, Ipv4Addr>,
}

/// The lock on the directory, freed when dropped.
pub(super) struct Lock {
    _dir: File,
}

impl Ipam {
    /// Reads what is recorded in the directory, which need not exist.
    pub(super) fn load(dir: PathBuf) -> Result<Ipam, NetworkError> {
        let owners = recorded(&dir)?
            .into_iter()
            .filter_map(|(address, owner)| Some((owner?, address)))
            .collect();
        Ok(Ipam { dir, owners })
    }

    /// False when no address was ever given, or all is removed.
    pub(super) fn exists(&self) -> bool {
        self.dir.exists()
    }

    /// Locks the directory against other processes, making it if need be.
    pub(super) fn lock(&self) -> Result<Lock, NetworkError> {
        lock(&self.dir)
    }

    /// The address that the Pod has.
    pub(super) fn address_of(&self, uid: &str) -> Option<Ipv4Addr> {
        self.owners.get(uid).copied()
    }

    /// Gives the Pod an address; the one that it has already, if it has one.
    pub(super) fn allocate(
        &mut self,
        _lock: &Lock,
        uid: &str,
        subnet: Ipv4Net,
    ) -> Result<Ipv4Addr, NetworkError> {
        if let Some(address) = self.owners.get(uid) {
            return Ok(*address);
        }
        let taken: HashSet<Ipv4Addr> = self.owners.values().copied().collect();
        // The first address is the gateway's, the last the broadcast address.
        let first = u32::from(subnet.network()) + 2;
        let count = u32::from(subnet.broadcast()) - first;
        let last = fs::read_to_string(self.dir.join(LAST))
            .ok()
            .and_then(|text| text.trim().parse::<Ipv4Addr>().ok())
            .filter(|last| (first..first + count).contains(&u32::from(*last)));
        let next = last.map_or(0, |last| u32::from(last) - first + 1);
        for offset in 0..count {
            let address = Ipv4Addr::from(first + (next + offset) % count);
            if !taken.contains(&address) && self.claim(address, uid)? {
                self.owners.insert(uid.to_owned(), address);
                // Only the order of use depends on this file, so its loss is no fault.
                if let Err(error) = fs::write(self.dir.join(LAST), address.to_string()) {
                    tracing::debug!(%error, "could not note the address given last");
                }
                return Ok(address);
            }
        }
        Err(NetworkError::Exhausted { subnet })
    }

    /// Records the owner of an address; false when it has one.
    fn claim(&self, address: Ipv4Addr, uid: &str) -> Result<bool, NetworkError> {
        let path = self.dir.join(address.to_string());
        for _ in 0..2 {
            let created = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            match created {
                Ok(mut file) => {
                    return match file.write_all(uid.as_bytes()) {
                        Ok(()) => Ok(true),
                        Err(error) => {
                            // Half-written it would look taken.
                            let _ = fs::remove_file(&path);
                            Err(NetworkError::file("write", &path, error))
                        }
                    };
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    // With the lock held nobody is about to write an owner into it.
                    if owner(&path)?.is_some() {
                        return Ok(false);
                    }
                    remove(&path)?;
                }
                Err(error) => return Err(NetworkError::file("create", &path, error)),
            }
        }
        Ok(false)
    }

    /// Frees the Pod's address, if it has one.
    pub(super) fn release(&mut self, _lock: &Lock, uid: &str) -> Result<(), NetworkError> {
        if let Some(address) = self.owners.get(uid) {
            remove(&self.dir.join(address.to_string()))?;
            self.owners.remove(uid);
        }
        Ok(())
    }

    /// Reads the directory again, frees what a killed supervisor left half-written, and returns the Pods that own
    /// an address now.
    pub(super) fn reload(&mut self, _lock: &Lock) -> Result<Vec<String>, NetworkError> {
        self.owners.clear();
        for (address, owner) in recorded(&self.dir)? {
            match owner {
                Some(owner) => {
                    self.owners.insert(owner, address);
                }
                None => remove(&self.dir.join(address.to_string()))?,
            }
        }
        Ok(self.owners.keys().cloned().collect())
    }

    /// Removes the directory. The caller has seen, under the same lock, that no address is in use.
    pub(super) fn remove(&mut self, _lock: &Lock) -> Result<(), NetworkError> {
        remove(&self.dir.join(LAST))?;
        match fs::remove_dir(&self.dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(NetworkError::file("remove", &self.dir, error))
            }
            _ => Ok(()),
        }
    }
}

/// Locks the directory, made if need be. It may be removed by another process between being opened and being
/// locked; then the lock is worth nothing and the next directory of that name is taken.
fn lock(dir: &Path) -> Result<Lock, NetworkError> {
    loop {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(NetworkError::file("create", dir, error));
            }
            _ => {}
        }
        let file = match File::open(dir) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(NetworkError::file("open", dir, error)),
        };
        file.lock()
            .map_err(|e| NetworkError::file("lock", dir, e))?;
        let ours = file
            .metadata()
            .map_err(|e| NetworkError::file("read", dir, e))?;
        if fs::metadata(dir).is_ok_and(|now| now.ino() == ours.ino() && now.dev() == ours.dev()) {
            return Ok(Lock { _dir: file });
        }
    }
}

/// The addresses recorded in the directory, each with its owner, or none when the file is empty.
pub(super) fn recorded(dir: &Path) -> Result<Vec<(Ipv4Addr, Option<String>)>, NetworkError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(NetworkError::file("read", dir, error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| NetworkError::file("read", dir, e))?;
        let name = entry.file_name();
        if let Some(address) = name.to_str().and_then(|n| n.parse().ok()) {
            found.push((address, owner(&entry.path())?));
        }
    }
    found.sort();
    Ok(found)
}

fn owner(path: &Path) -> Result<Option<String>, NetworkError> {
    match fs::read_to_string(path) {
        // host-local ends its lines and adds the interface; only the first line is the owner.
        Ok(text) => Ok(text
            .lines()
            .next()
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(NetworkError::file("read", path, error)),
    }
}

fn remove(path: &Path) -> Result<(), NetworkError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(NetworkError::file("remove", path, error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(prefix: &str) -> (tempfile::TempDir, Ipam, Ipv4Net) {
        let dir = tempfile::tempdir().unwrap();
        let ipam = Ipam::load(dir.path().join("ipam")).unwrap();
        (dir, ipam, prefix.parse().unwrap())
    }

    fn give(ipam: &mut Ipam, uid: &str, subnet: Ipv4Net) -> Result<String, NetworkError> {
        let lock = ipam.lock()?;
        Ok(ipam.allocate(&lock, uid, subnet)?.to_string())
    }

    fn free(ipam: &mut Ipam, uid: &str) {
        let lock = ipam.lock().unwrap();
        ipam.release(&lock, uid).unwrap();
    }

    #[test]
    fn addresses_go_round_before_one_is_used_again() {
        let (_dir, mut ipam, subnet) = setup("10.1.0.0/29");
        assert_eq!(give(&mut ipam, "a", subnet).unwrap(), "10.1.0.2");
        assert_eq!(give(&mut ipam, "b", subnet).unwrap(), "10.1.0.3");
        free(&mut ipam, "a");
        assert_eq!(give(&mut ipam, "c", subnet).unwrap(), "10.1.0.4");
        assert_eq!(give(&mut ipam, "d", subnet).unwrap(), "10.1.0.5");
        assert_eq!(give(&mut ipam, "e", subnet).unwrap(), "10.1.0.6");
        assert_eq!(give(&mut ipam, "f", subnet).unwrap(), "10.1.0.2");
    }

    #[test]
    fn the_same_pod_keeps_its_address_over_a_restart() {
        let (dir, mut ipam, subnet) = setup("10.1.0.0/24");
        let first = give(&mut ipam, "a", subnet).unwrap();
        assert_eq!(give(&mut ipam, "a", subnet).unwrap(), first);
        let mut again = Ipam::load(dir.path().join("ipam")).unwrap();
        assert_eq!(give(&mut again, "a", subnet).unwrap(), first);
        assert_ne!(give(&mut again, "b", subnet).unwrap(), first);
    }

    #[test]
    fn b55_an_exhausted_subnet_is_a_clear_error_and_leaves_nothing() {
        let (dir, mut ipam, subnet) = setup("10.1.0.0/30");
        give(&mut ipam, "a", subnet).unwrap();
        let error = give(&mut ipam, "b", subnet).unwrap_err();
        assert!(error.to_string().contains("no address is left"), "{error}");
        let owners = recorded(&dir.path().join("ipam")).unwrap();
        assert_eq!(owners.len(), 1);
        free(&mut ipam, "a");
        assert_eq!(give(&mut ipam, "b", subnet).unwrap(), "10.1.0.2");
    }

    #[test]
    fn two_processes_never_give_the_same_address() {
        let (dir, mut one, subnet) = setup("10.1.0.0/24");
        let mut two = Ipam::load(dir.path().join("ipam")).unwrap();
        let mut seen = HashSet::new();
        for i in 0..50 {
            assert!(seen.insert(give(&mut one, &format!("one-{i}"), subnet).unwrap()));
            assert!(seen.insert(give(&mut two, &format!("two-{i}"), subnet).unwrap()));
        }
    }

    #[test]
    fn a_file_without_an_owner_is_free() {
        let (dir, mut ipam, subnet) = setup("10.1.0.0/30");
        drop(ipam.lock().unwrap());
        fs::write(dir.path().join("ipam/10.1.0.2"), "").unwrap();
        assert_eq!(give(&mut ipam, "a", subnet).unwrap(), "10.1.0.2");
    }

    #[test]
    fn a_lock_on_a_removed_directory_is_not_taken_for_one() {
        let (dir, mut ipam, subnet) = setup("10.1.0.0/24");
        let path = dir.path().join("ipam");
        let held = ipam.lock().unwrap();
        let waiter = {
            let path = path.clone();
            std::thread::spawn(move || lock(&path).map(|_| fs::metadata(&path).unwrap().ino()))
        };
        ipam.remove(&held).unwrap();
        drop(held);
        let inode = waiter.join().unwrap().unwrap();
        assert_eq!(inode, fs::metadata(&path).unwrap().ino());
        give(&mut ipam, "a", subnet).unwrap();
    }
}
