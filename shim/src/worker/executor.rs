//! What libcontainer calls when the container is ready, in the container's init process.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{
    Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError,
};
use nix::unistd::write;

use super::Reporter;
use super::late::LateMount;
use crate::process::{ProcessSetup, Ready, StartErrorKind};
use crate::sentence::sentence;

/// The last steps of a container's init.
#[derive(Clone)]
pub struct Init {
    shared: Rc<Shared>,
}

/// libcontainer clones its executor, so what it has is shared.
struct Shared {
    /// User, capabilities, limits, seccomp and the program.
    setup: ProcessSetup,
    /// Mounts that libcontainer can't make.
    mounts: Vec<LateMount>,
    /// Where a failure before Start goes.
    reporter: Rc<Reporter>,
    /// Where a failure of Start goes. The shim reads its end as success, which comes by `execve`.
    start_error: OwnedFd,
    ready: RefCell<Option<Ready>>,
}

impl Init {
    pub fn new(
        setup: ProcessSetup,
        mounts: Vec<LateMount>,
        reporter: Rc<Reporter>,
        start_error: OwnedFd,
    ) -> Self {
        let ready = RefCell::default();
        Self {
            shared: Rc::new(Shared {
                setup,
                mounts,
                reporter,
                start_error,
                ready,
            }),
        }
    }

    fn prepare(&self) -> Result<(), Box<dyn std::error::Error>> {
        for mount in &self.shared.mounts {
            mount.attach()?;
        }
        self.shared.ready.replace(Some(self.shared.setup.apply()?));
        Ok(())
    }
}

impl Executor for Init {
    /// Called in the container's root, before the worker is told that init is ready: a program that
    /// doesn't exist fails the Create, as with runc.
    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        self.prepare().map_err(|error| {
            let why = sentence(&*error);
            // libcontainer would wrap the text in its own.
            self.shared.reporter.failed(&why);
            ExecutorValidationError::ArgValidationError(why)
        })
    }

    /// The environment is given to `execve` as it is, so that nothing here depends on it.
    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }

    /// Called when Start was asked for. Returns only by a failure.
    fn exec(&self, _: &Spec) -> Result<(), ExecutorError> {
        let Some(ready) = self.shared.ready.take() else {
            return Err(ExecutorError::Other("the process was not validated".into()));
        };
        let error = ready.exec(&self.shared.setup);
        // The shim may be gone; the status below is then all that is left.
        let _ = write(&self.shared.start_error, error.to_string().as_bytes());
        // SAFETY: ends the process at once: it shares nothing that would need tidying.
        unsafe { libc::_exit(exit_status(error.kind())) }
    }
}

/// As a shell's: the program isn't there, or can't be executed; 128 for all else, as CRI has it.
fn exit_status(kind: StartErrorKind) -> i32 {
    match kind {
        StartErrorKind::NotFound => 127,
        StartErrorKind::NotExecutable => 126,
        StartErrorKind::Other => 128,
    }
}
