//! What every process of a container has from its configuration: kept, as reading it and its system call filter takes
//! longer than all else that an exec asks of the shim.

use std::path::Path;

use oci_spec::runtime::{Linux, Process};

use super::Error;
use crate::bundle::read_config;
use crate::process::ProcessSetup;
use crate::seccomp::{self, Program};
use crate::worker::SECCOMP_CACHE;

/// The part of `config.json` that an exec inherits from.
#[derive(serde::Deserialize)]
pub struct Inherited {
    process: Process,
    #[serde(default)]
    linux: Option<Linux>,
    #[serde(skip)]
    program: Option<Program>,
}

impl Inherited {
    /// Reads it from a bundle. Compiled filters are in `scratch`.
    ///
    /// # Errors
    /// When the configuration can't be read or its filter not be compiled.
    pub fn read(bundle: &Path, scratch: &Path) -> Result<Self, Error> {
        let text = read_config(bundle).map_err(Error::internal)?;
        let mut inherited: Self = serde_json::from_slice(&text).map_err(Error::internal)?;
        if let Some(linux) = &mut inherited.linux {
            let profile = linux.seccomp().as_ref();
            let program = profile
                .map(|profile| seccomp::compile(profile, &scratch.join(SECCOMP_CACHE)))
                .transpose();
            inherited.program = program.map_err(Error::internal)?;
            // Names and numbers of hundreds of calls.
            linux.set_seccomp(None);
        }
        Ok(inherited)
    }

    /// The setup of a further process.
    ///
    /// # Errors
    /// When the process asks for what can't be.
    pub fn setup(&self, process: &Process) -> Result<ProcessSetup, Error> {
        let setup = ProcessSetup::for_exec(process, &self.process, self.program.clone());
        let setup = setup.map_err(Error::invalid)?;
        Ok(match &self.linux {
            Some(linux) => setup.with_linux(linux),
            None => setup,
        })
    }
}
