//! One daemon for each state directory.

use std::fs;
use std::fs::File;
use std::io::Write;

use anyhow::{Context, bail};
use nix::fcntl::Flock;

use crate::dirs::Dirs;
use crate::private;

/// Held as long as the daemon lives.
pub struct OnlyDaemon {
    _lock: Flock<File>,
}

impl OnlyDaemon {
    /// Makes this process the daemon of the state directory.
    ///
    /// # Errors
    /// When there is one.
    pub fn begin(dirs: &Dirs) -> anyhow::Result<Self> {
        let path = dirs.state.join("daemon.lock");
        let lock = private::try_lock(&path).with_context(|| format!("cannot lock {path:?}"))?;
        let Some(mut lock) = lock else {
            let pid = fs::read_to_string(&path).unwrap_or_default();
            bail!(
                "a daemon keeps the Pods of {:?} already (process {}); stop it first, or choose another --state",
                dirs.state,
                pid.trim()
            );
        };
        let pid = std::process::id();
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{pid}"))
            .with_context(|| format!("cannot write {path:?}"))?;
        Ok(Self { _lock: lock })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f27_a_second_daemon_says_who_is_first() {
        let temp = tempfile::tempdir().unwrap();
        let dirs = Dirs {
            root: temp.path().to_owned(),
            state: temp.path().to_owned(),
        };
        let first = OnlyDaemon::begin(&dirs).unwrap();
        let error = OnlyDaemon::begin(&dirs).map(drop).unwrap_err().to_string();
        let me = format!("(process {})", std::process::id());
        assert!(error.contains(&me), "{error}");
        drop(first);
        OnlyDaemon::begin(&dirs).unwrap();
    }
}
