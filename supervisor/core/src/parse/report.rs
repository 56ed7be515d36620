//! What parsing has to say: every error with its place, and what becomes of each field.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::config::ConfigObject;
use crate::pod::Pod;

/// A sound manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// In the order of the file, each with its own namespace and name.
    pub pods: Vec<Pod>,
    /// ConfigMaps and Secrets, likewise; there is at least one Pod or one of these.
    pub objects: Vec<Arc<ConfigObject>>,
    /// What became of each field, in the order of the file.
    pub report: Vec<FieldNote>,
}

/// What became of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldNote {
    /// Which document of the file, from 1.
    pub document: usize,
    /// Line of the file, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Such as `spec.containers[0].image`.
    pub path: String,
    /// What became of it.
    pub verdict: Verdict,
}

/// What becomes of a field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Carob does what it says.
    Honoured,
    /// Carob does what it says, which may not be what its author meant, or not all of it.
    Warned(Cow<'static, str>),
    /// It has no effect; why.
    Ignored(Cow<'static, str>),
    /// It is the place of an error (see [`ManifestErrors::errors`]).
    Rejected,
}

/// One thing wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    /// Line of the file, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Such as `spec.containers[0].ports[0].containerPort`; empty when the file as a whole is meant.
    pub path: String,
    /// One sentence: the cause and the way out.
    pub message: String,
}

/// As many errors as a person may want to see at once.
const SHOWN: usize = 50;

/// Everything that is wrong with a manifest. Displayed one error a line, at most 50, as
/// `web.yaml:12:7: spec.containers[0].imagePulPolicy: unknown field; did you mean imagePullPolicy?`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ManifestErrors {
    /// What the caller calls the manifest.
    pub source_name: String,
    /// At least one, in the order of the file.
    pub errors: Vec<ManifestError>,
    /// What would become of each field, in the order of the file.
    pub report: Vec<FieldNote>,
}

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().take(SHOWN).enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            write!(f, "{newline}{}:{error}", self.source_name)?;
        }
        match self.errors.len().checked_sub(SHOWN + 1) {
            None => Ok(()),
            Some(more) => write!(f, "\n{}: and {} more errors", self.source_name, more + 1),
        }
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}
