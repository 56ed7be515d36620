//! The last steps before `execve`, shared by a container's init and by exec.
//!
//! A [`ProcessSetup`] is made from the OCI process in the shim, before any fork: there everything is
//! checked and turned into what system calls need. In the new process, [`ProcessSetup::apply`] does
//! all that can fail for a reason of the image's or the user's, and [`Ready::exec`] the rest. The
//! order is runc's (standard_init_linux.go, init_linux.go `finalizeNamespace`).

mod affinity;
mod capabilities;
mod error;
mod executable;
mod home;
mod identity;
mod last_steps;
mod oom;
mod resources;
mod signals;
mod sys;
mod working_directory;

use std::collections::HashSet;
use std::ffi::CString;
use std::os::unix::fs::MetadataExt;

use oci_spec::runtime::{Linux, LinuxPersonalityDomain, Process};

use crate::seccomp::Program;

pub use capabilities::CapabilitySets;
pub use error::{SetupError, StartError, StartErrorKind};
pub use last_steps::Ready;
pub use oom::set_oom_score_adj;
pub use signals::{block_signals, restore_signals};

pub(crate) use identity::become_root;

use affinity::Affinity;
use identity::Identity;
use resources::Resources;

/// Where programs are looked for when the process has no `PATH` of its own (execvp(3), crun).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The umask when the spec has none, as in runc.
const DEFAULT_UMASK: u32 = 0o022;

// linux/personality.h
const PER_LINUX: libc::c_ulong = 0;
const PER_LINUX32: libc::c_ulong = 8;

/// Everything that a new process needs to become the container's process.
#[derive(Debug, Clone)]
pub struct ProcessSetup {
    args: Vec<CString>,
    env: Vec<CString>,
    path: String,
    cwd: CString,
    umask: libc::mode_t,
    identity: Identity,
    resources: Resources,
    oom_score_adj: Option<i32>,
    /// `PER_LINUX32` and its like (personality(2)).
    personality: Option<libc::c_ulong>,
    no_new_privileges: bool,
    capabilities: CapabilitySets,
    apparmor_profile: Option<String>,
    seccomp: Option<Program>,
    /// Whether it gets a session keyring of its own.
    new_keyring: bool,
    /// Device and inode of our own program.
    own_program: Option<(u64, u64)>,
    /// Whether a missing working directory is made, which runc does for init only.
    makes_cwd: bool,
    /// The CPUs to run on before and after joining the cgroup, for exec only.
    affinity: Affinity,
}

impl ProcessSetup {
    /// The setup of a container's init process.
    ///
    /// Hard resource limits and capabilities that we ourselves don't have, and can't get, are
    /// reduced to what we have, with a message at debug level. The inheritable capabilities are
    /// exactly the ambient ones, whatever the spec says (CVE-2022-24769).
    ///
    /// # Errors
    /// [`SetupError`], naming the field of `process`.
    pub fn from_spec(process: &Process, seccomp: Option<Program>) -> Result<Self, SetupError> {
        if process
            .selinux_label()
            .as_deref()
            .is_some_and(|label| !label.is_empty())
        {
            return Err(SetupError::Unsupported {
                field: "process.selinuxLabel",
                way_out: "SELinux labels are not supported: remove the label",
            });
        }
        let apparmor_profile = process
            .apparmor_profile()
            .clone()
            .filter(|name| !name.is_empty());
        if let Some(profile) = &apparmor_profile
            && !apparmor_is_enabled()
        {
            return Err(SetupError::NoAppArmor {
                profile: profile.clone(),
            });
        }
        let args = process.args().as_deref().unwrap_or_default();
        if args.first().is_none_or(String::is_empty) {
            return Err(SetupError::Invalid {
                field: "process.args",
                why: "it is empty: there is no program to run".to_owned(),
            });
        }
        if !process.cwd().is_absolute() {
            return Err(SetupError::Invalid {
                field: "process.cwd",
                why: format!("{:?} is not an absolute path", process.cwd()),
            });
        }
        let umask = process.user().umask().unwrap_or(DEFAULT_UMASK);
        if umask > 0o777 {
            return Err(SetupError::Invalid {
                field: "process.user.umask",
                why: format!("{umask:o} (octal) is more than 777"),
            });
        }
        let env = environment(process.env().as_deref().unwrap_or_default())?;
        let path = env
            .iter()
            .find_map(|entry| entry.to_str().ok()?.strip_prefix("PATH="))
            .unwrap_or(DEFAULT_PATH)
            .to_owned();
        let resources = Resources::from_spec(process)?;
        let reduced = resources.reduced();
        if !reduced.is_empty() {
            tracing::debug!(?reduced, "hard limits above our own are reduced to ours");
        }
        Ok(Self {
            args: c_strings("process.args", args)?,
            env,
            path,
            cwd: c_string("process.cwd", process.cwd().as_os_str().as_encoded_bytes())?,
            umask,
            identity: Identity::from_spec(process.user())?,
            resources,
            oom_score_adj: process.oom_score_adj(),
            personality: None,
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            capabilities: CapabilitySets::from_spec(process.capabilities().as_ref()),
            apparmor_profile,
            seccomp,
            new_keyring: true,
            own_program: std::fs::metadata("/proc/self/exe")
                .ok()
                .map(|own| (own.dev(), own.ino())),
            makes_cwd: true,
            affinity: Affinity::default(),
        })
    }

    /// The setup of a further process in the container whose init has the spec `init`: never with
    /// more capabilities, with no_new_privs whenever init has it, and with init's AppArmor profile,
    /// resource limits, `oomScoreAdj` and CPU affinity where `process` has none of its own.
    ///
    /// # Errors
    /// As [`ProcessSetup::from_spec`].
    pub fn for_exec(
        process: &Process,
        init: &Process,
        seccomp: Option<Program>,
    ) -> Result<Self, SetupError> {
        let mut process = process.clone();
        if process.rlimits().as_ref().is_none_or(Vec::is_empty) {
            process.set_rlimits(init.rlimits().clone());
        }
        if process
            .apparmor_profile()
            .as_ref()
            .is_none_or(String::is_empty)
        {
            process.set_apparmor_profile(init.apparmor_profile().clone());
        }
        let mut setup = Self::from_spec(&process, seccomp)?;
        setup.makes_cwd = false;
        setup.oom_score_adj = setup.oom_score_adj.or(init.oom_score_adj());
        let affinity = process.exec_cpu_affinity().as_ref();
        setup.affinity = Affinity::from_spec(affinity.or(init.exec_cpu_affinity().as_ref()))?;
        let most = CapabilitySets::from_spec(init.capabilities().as_ref());
        setup.capabilities = setup.capabilities.within(&most);
        setup.no_new_privileges |= init.no_new_privileges().unwrap_or(false);
        Ok(setup)
    }

    /// Adds what `linux` says about each of the container's processes: the personality.
    #[must_use]
    pub fn with_linux(mut self, linux: &Linux) -> Self {
        self.personality =
            linux
                .personality()
                .as_ref()
                .map(|personality| match personality.domain() {
                    LinuxPersonalityDomain::PerLinux => PER_LINUX,
                    LinuxPersonalityDomain::PerLinux32 => PER_LINUX32,
                });
        self
    }

    /// Leaves the process in the session keyring that it is in.
    #[must_use]
    pub fn without_new_keyring(mut self) -> Self {
        self.new_keyring = false;
        self
    }

    /// What has to happen while the machine's `/proc` is still in sight, and before the process is
    /// in the container's cgroup: the `oom_score_adj` and the first CPU affinity. Call it in a
    /// process that the container's process descends from.
    ///
    /// # Errors
    /// [`StartError`] when `/proc/self/oom_score_adj` can't be written at all.
    pub fn before_namespaces(&self) -> Result<(), StartError> {
        self.affinity.set_initial()?;
        match self.oom_score_adj {
            Some(value) => set_oom_score_adj(value).map(drop).map_err(|cause| {
                StartError::other(format!("can't set oomScoreAdj to {value}: {cause}"))
            }),
            None => Ok(()),
        }
    }
}

/// The environment: entries without `=` are left out (never taken from ours), of several entries for
/// one name the last counts, as in runc.
fn environment(entries: &[String]) -> Result<Vec<CString>, SetupError> {
    let mut seen = HashSet::with_capacity(entries.len());
    let mut kept = Vec::with_capacity(entries.len());
    for entry in entries.iter().rev() {
        match entry.split_once('=') {
            None => tracing::debug!(entry, "an environment entry without '=' is left out"),
            Some((name, _)) if seen.insert(name) => {
                kept.push(c_string("process.env", entry.as_bytes())?);
            }
            Some(_) => {}
        }
    }
    kept.reverse();
    Ok(kept)
}

fn c_strings(field: &'static str, texts: &[String]) -> Result<Vec<CString>, SetupError> {
    texts
        .iter()
        .map(|text| c_string(field, text.as_bytes()))
        .collect()
}

fn c_string(field: &'static str, bytes: &[u8]) -> Result<CString, SetupError> {
    CString::new(bytes).map_err(|_| SetupError::Invalid {
        field,
        why: format!("{:?} has a NUL byte in it", String::from_utf8_lossy(bytes)),
    })
}

fn apparmor_is_enabled() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.starts_with(b"Y"))
}

#[cfg(test)]
mod tests;
