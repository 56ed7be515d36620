//! What of ConfigMaps, Secrets and the Pod itself becomes variables and files of a container.

use serde::{Deserialize, Serialize};

use super::Quantity;
use crate::config::ObjectKind;

/// A ConfigMap or Secret in the Pod's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Which of the two.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
    /// The container can do without.
    pub optional: bool,
}

/// One key of a ConfigMap or Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRef {
    /// Whose; when that is optional, so is the key.
    pub object: ObjectRef,
    /// The key.
    pub key: String,
}

/// One entry of `envFrom`: every key becomes a variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvFrom {
    /// Stands before each name; may be empty.
    pub prefix: String,
    /// Whose keys.
    pub object: ObjectRef,
}

/// A volume of files that Carob writes: `configMap`, `secret`, `downwardAPI` or `projected`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileVolume {
    /// As what it stands in the manifest.
    pub form: FileForm,
    /// What its files come from; exactly one but for a projected one.
    pub sources: Vec<FileSource>,
    /// Permission bits of files that have none of their own.
    pub default_mode: u32,
}

impl FileVolume {
    /// `defaultMode` by default.
    pub const DEFAULT_MODE: u32 = 0o644;
}

/// The kinds of such volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileForm {
    /// `configMap`.
    ConfigMap,
    /// `secret`.
    Secret,
    /// `downwardAPI`.
    DownwardApi,
    /// `projected`.
    Projected,
}

/// What files come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileSource {
    /// The keys of a ConfigMap or Secret.
    Object {
        /// Which.
        object: ObjectRef,
        /// Only these, in these files; each key in a file of its name when empty.
        items: Vec<KeyToPath>,
    },
    /// What is known of the Pod.
    Downward(Vec<DownwardFile>),
}

/// One key in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyToPath {
    /// The key.
    pub key: String,
    /// Relative, without `..`.
    pub path: String,
    /// Permission bits.
    pub mode: Option<u32>,
}

/// One file of what is known of the Pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownwardFile {
    /// Relative, without `..`.
    pub path: String,
    /// Permission bits.
    pub mode: Option<u32>,
    /// What it holds.
    pub value: DownwardValue,
}

/// Something that is known of the Pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DownwardValue {
    /// `fieldRef`, such as `metadata.labels`.
    Field(String),
    /// `resourceFieldRef`.
    Resource {
        /// Whose.
        container: String,
        /// `limits.cpu`, `requests.memory`, …
        resource: String,
        /// The unit that it is counted in; never zero.
        divisor: Quantity,
    },
}
