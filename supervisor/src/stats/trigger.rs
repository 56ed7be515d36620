//! The kernel tells when memory runs short, so nobody has to ask: PSI triggers.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::hierarchy::Hierarchies;

/// Stalls of so long in such a window wake us: below what anybody would notice. Without CAP_SYS_RESOURCE the kernel
/// takes multiples of 2 seconds only.
const STALL: Duration = Duration::from_millis(140);
const WINDOW: Duration = Duration::from_secs(2);

/// Something that wakes when memory runs short.
#[derive(Debug)]
pub struct Trigger {
    fd: AsyncFd<File>,
}

impl Trigger {
    /// Wakes when some task has waited for memory for 140 ms in 2 seconds, of the whole machine or of a cgroup. At most
    /// once in that time.
    ///
    /// # Errors
    /// When the kernel has no PSI or doesn't let us.
    pub fn pressure(hierarchies: &Hierarchies, within: Option<&str>) -> io::Result<Self> {
        let path = match within {
            None => PathBuf::from("/proc/pressure/memory"),
            Some(cgroup) => hierarchies
                .unified(cgroup)
                .ok_or(io::ErrorKind::Unsupported)?
                .join("memory.pressure"),
        };
        Self::psi(&path, STALL, WINDOW)
    }

    fn psi(path: &Path, stall: Duration, window: Duration) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        // The kernel wants the final zero byte.
        let line = format!("some {} {}\0", stall.as_micros(), window.as_micros());
        file.write_all(line.as_bytes())?;
        // SAFETY: a file's descriptor is open and the same until it is dropped, which only `AsyncFd` can do.
        let fd = unsafe { AsyncFd::register_with_interest(file, Interest::PRIORITY) }?;
        Ok(Self { fd })
    }

    /// Returns when it has woken.
    ///
    /// # Errors
    /// When it never will again.
    pub async fn wait(&self) -> io::Result<()> {
        let mut ready = self.fd.ready(Interest::PRIORITY).await?;
        if ready.ready().is_error() {
            // The cgroup of a PSI trigger is gone.
            return Err(io::ErrorKind::NotFound.into());
        }
        ready.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_machine_with_psi_takes_a_trigger() {
        if super::super::psi::of_machine("memory").is_none() {
            return;
        }
        let hierarchies = Hierarchies::detect().unwrap();
        let trigger = Trigger::pressure(&hierarchies, None);
        assert!(trigger.is_ok(), "{trigger:?}");
    }
}
