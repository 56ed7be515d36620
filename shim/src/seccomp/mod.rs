//! System call filters: a profile is compiled to BPF once, kept, and loaded with one system call.
//!
//! libseccomp takes some ten milliseconds for containerd's default profile, which is most of what a
//! container's start costs; reading the finished program takes a fraction of one.

mod cache;
mod compile;
mod enosys;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag};

/// Why a profile can't be made into a program.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// The profile hands system calls to an agent (`SCMP_ACT_NOTIFY`).
    #[error(
        "the seccomp profile's action SCMP_ACT_NOTIFY is not supported: nobody would answer those \
         system calls, so use SCMP_ACT_ERRNO or SCMP_ACT_ALLOW"
    )]
    Notify,
    /// The profile has something wrong in it.
    #[error("the seccomp profile can't be used: {0}")]
    Invalid(String),
    /// The cache can't be used.
    #[error("the seccomp cache {} can't be used: {cause}", path.display())]
    Cache {
        /// The file or the directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
}

/// One instruction of classic BPF (linux/filter.h, `struct sock_filter`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Insn {
    code: u16,
    jump_true: u8,
    jump_false: u8,
    k: u32,
}

/// A filter ready to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    insns: Vec<Insn>,
    /// `SECCOMP_FILTER_FLAG_*`.
    flags: u32,
}

/// `SECCOMP_FILTER_FLAG_TSYNC`, `…_LOG`, `…_SPEC_ALLOW` (linux/seccomp.h).
const TSYNC: u32 = 1;
const LOG: u32 = 2;
const SPEC_ALLOW: u32 = 4;

impl Program {
    /// Loads the filter into the calling thread, for good.
    ///
    /// # Errors
    /// What seccomp(2) says: `EACCES` when the thread has neither CAP_SYS_ADMIN nor no_new_privs.
    pub fn load(&self) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: u16::try_from(self.insns.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
            // The kernel only reads.
            filter: self.insns.as_ptr().cast_mut().cast(),
        };
        // SAFETY: `Insn` is the kernel's `struct sock_filter`; pointer and length are of one vector,
        // which outlives the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                self.flags,
                &raw const program,
            )
        };
        // With TSYNC, a positive number is a thread that could not follow.
        match result {
            0 => Ok(()),
            1.. => Err(io::Error::from_raw_os_error(libc::ESRCH)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// The program for a profile: from `cache_dir`, which is made if it is missing, or compiled and then
/// kept there. Names of system calls that libseccomp doesn't know are left out, as in runc; system
/// calls newer than all that the profile names fail with `ENOSYS` instead of the default action's
/// error, as in runc. A file of the cache that is damaged, or not ours alone, is not used.
///
/// # Errors
/// [`SeccompError`]; never because something in the cache is damaged.
pub fn compile(profile: &LinuxSeccomp, cache_dir: &Path) -> Result<Program, SeccompError> {
    if uses_notify(profile) {
        return Err(SeccompError::Notify);
    }
    let cache = cache::Cache::open(cache_dir, profile)?;
    if let Some(program) = cache.get() {
        return Ok(program);
    }
    let program = Program {
        insns: compile::compile(profile)?,
        flags: flags(profile),
    };
    cache.put(&program)?;
    Ok(program)
}

fn uses_notify(profile: &LinuxSeccomp) -> bool {
    profile.default_action() == LinuxSeccompAction::ScmpActNotify
        || profile
            .syscalls()
            .iter()
            .flatten()
            .any(|rule| rule.action() == LinuxSeccompAction::ScmpActNotify)
}

/// The flags of the profile; without any, speculative store bypass stays allowed, as in runc.
fn flags(profile: &LinuxSeccomp) -> u32 {
    let Some(flags) = profile.flags() else {
        return SPEC_ALLOW;
    };
    flags.iter().fold(0, |bits, flag| {
        bits | match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => TSYNC,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => SPEC_ALLOW,
            // Only means something together with SCMP_ACT_NOTIFY.
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 0,
        }
    })
}
