//! The steps themselves, in the new process.

use std::ffi::{CStr, CString};
use std::io;

use super::error::StartErrorKind;
use super::sys::{self, Caps};
use super::{ProcessSetup, StartError, executable, home, signals, working_directory};

/// `KEYCTL_JOIN_SESSION_KEYRING` (keyctl(2)).
const JOIN_SESSION_KEYRING: i32 = 1;
/// The descriptor after standard error.
const FIRST_OTHER: u32 = 3;

/// A process that needs only the start signal.
#[derive(Debug)]
pub struct Ready {
    path: CString,
    /// Goes to the end of the environment: `HOME` when the spec has none.
    extra: Option<CString>,
}

impl ProcessSetup {
    /// Becomes the container's user in its working directory, and finds the program: whatever may
    /// fail because of the image or the spec fails here. To be called in the new process, with the
    /// container's root, as root; after it, the process still has (permitted) capabilities that
    /// [`Ready::exec`] takes away.
    ///
    /// # Errors
    /// [`StartError`], whose text is for the user. The process is then good for nothing but exiting.
    pub fn apply(&self) -> Result<Ready, StartError> {
        if self.new_keyring {
            join_session_keyring()?;
        }
        if let Some(profile) = &self.apparmor_profile {
            apparmor(profile)?;
        }
        self.affinity.set_final()?;
        self.resources.prioritize()?;
        if let Some(personality) = self.personality {
            // SAFETY: plain numbers.
            if unsafe { libc::personality(personality) } < 0 {
                return Err(StartError::last("set linux.personality"));
            }
        }
        // SAFETY: plain numbers.
        unsafe { libc::umask(self.umask) };
        let has_home = self
            .env
            .iter()
            .any(|entry| entry.to_bytes().starts_with(b"HOME="));
        let extra = (!has_home).then(|| home::variable(self.identity.uid));
        let entered = working_directory::enter(&self.cwd, self.makes_cwd)?;
        self.identity.own_streams()?;

        self.capabilities.drop_bounding().map_err(|cause| {
            StartError::other(format!("can't drop bounding capabilities: {cause}"))
        })?;
        keep_capabilities(true)?;
        self.identity.assume()?;
        keep_capabilities(false)?;
        let own = sys::capget().map_err(|_| StartError::last("read capabilities"))?;
        // What the program will be able to reach decides, not what we still are.
        set_effective(own.permitted, self.capabilities.effective & own.permitted)?;
        if !entered {
            working_directory::enter_as_user(&self.cwd)?;
        }
        working_directory::verify()?;
        let first = self.args.first().map(CString::as_c_str).unwrap_or_default();
        let path = executable::find(first, &self.path)?;
        self.refuse_own_program(&path)?;
        set_effective(own.permitted, own.permitted)?;
        if self.no_new_privileges {
            sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
                .map_err(|_| StartError::last("set no_new_privs"))?;
        }
        Ok(Ready { path, extra })
    }

    /// [`ProcessSetup::apply`], then [`Ready::exec`]. Returns only on failure.
    pub fn exec(&self) -> StartError {
        match self.apply() {
            Ok(ready) => ready.exec(self),
            Err(error) => error,
        }
    }

    /// Our own program would be started in the container with `/proc/self/exe` as its name, and
    /// could be overwritten from there (CVE-2019-5736).
    fn refuse_own_program(&self, path: &CStr) -> Result<(), StartError> {
        if self.own_program.is_none() || executable::identity(path) != self.own_program {
            return Ok(());
        }
        Err(StartError::new(
            StartErrorKind::NotExecutable,
            format!(
                "exec: {:?}: is the container runtime itself",
                path.to_string_lossy()
            ),
        ))
    }
}

impl Ready {
    /// Gives up what is left of our own rights, loads the system call filter, and becomes the
    /// program. Returns only on failure.
    pub fn exec(&self, setup: &ProcessSetup) -> StartError {
        if let Err(error) = self.give_up_rights(setup) {
            return error;
        }
        let env: Vec<&CStr> = setup
            .env
            .iter()
            .chain(&self.extra)
            .map(CString::as_c_str)
            .collect();
        let cause = sys::execve(&self.path, &setup.args, &env);
        executable::failed(&self.path, &cause)
    }

    fn give_up_rights(&self, setup: &ProcessSetup) -> Result<(), StartError> {
        sys::close_on_exec_from(FIRST_OTHER)
            .map_err(|cause| StartError::other(format!("can't close our descriptors: {cause}")))?;
        // These need no right, but must not come after the filter, which may forbid them.
        signals::reset_actions();
        signals::unblock();
        setup.resources.limit()?;
        let filter = || match &setup.seccomp {
            Some(program) => program.load().map_err(|cause| {
                StartError::other(format!("can't load the seccomp filter: {cause}"))
            }),
            None => Ok(()),
        };
        let capabilities = || {
            setup
                .capabilities
                .set()
                .map_err(|cause| StartError::other(format!("can't set capabilities: {cause}")))
        };
        // Without no_new_privs, loading a filter takes a capability; with it, the filter comes as
        // late as can be.
        if setup.no_new_privileges {
            capabilities()?;
            filter()
        } else {
            filter()?;
            capabilities()
        }
    }
}

/// The machine's keys must not be searchable by way of an inherited session keyring.
fn join_session_keyring() -> Result<(), StartError> {
    let anonymous = std::ptr::null::<libc::c_char>();
    // SAFETY: a null name makes a new anonymous keyring.
    if unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, anonymous) } >= 0 {
        return Ok(());
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::ENOSYS) => Ok(()),
        _ => Err(StartError::last("make a session keyring")),
    }
}

/// Whether permitted capabilities outlive the change of user.
fn keep_capabilities(keep: bool) -> Result<(), StartError> {
    sys::prctl(libc::PR_SET_KEEPCAPS, u64::from(keep), 0)
        .map(drop)
        .map_err(|_| StartError::last("keep capabilities"))
}

fn set_effective(permitted: u64, effective: u64) -> Result<(), StartError> {
    sys::capset(Caps {
        effective,
        permitted,
        inheritable: 0,
    })
    .map_err(|_| StartError::last("set effective capabilities"))
}

/// Has the kernel apply the profile at `execve`. The file is reached through a procfs of which it
/// is certain that it is one (CVE-2019-19921).
fn apparmor(profile: &str) -> Result<(), StartError> {
    use pathrs::flags::OpenFlags;
    use pathrs::procfs::{ProcfsBase, ProcfsHandle};

    let write = || -> Result<(), Box<dyn std::error::Error>> {
        let proc = ProcfsHandle::new()?;
        let flags = OpenFlags::O_WRONLY | OpenFlags::O_CLOEXEC;
        // The second name is that of kernels before 5.8.
        let mut file = proc
            .open(ProcfsBase::ProcThreadSelf, "attr/apparmor/exec", flags)
            .or_else(|_| proc.open(ProcfsBase::ProcThreadSelf, "attr/exec", flags))?;
        io::Write::write_all(&mut file, format!("exec {profile}").as_bytes())?;
        Ok(())
    };
    write().map_err(|cause| {
        StartError::other(format!(
            "can't apply the AppArmor profile {profile:?}: {cause}: is it loaded (aa-status)?"
        ))
    })
}
