//! ConfigMaps and Secrets, as Pods use them.

mod payload;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use payload::{File, PayloadError, payload};

use crate::pod::{EnvSource, FileSource, ObjectRef, Pod, VolumeSource};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ObjectKind {
    /// `v1.ConfigMap`.
    ConfigMap,
    /// `v1.Secret`.
    Secret,
}

impl ObjectKind {
    /// `ConfigMap`, `Secret`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    /// The resource, as the API's errors have it: `configmap`, `secret`.
    pub fn resource(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }
}

/// What identifies one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId {
    /// Which of the two.
    pub kind: ObjectKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// As errors name it: `Secret default/db`.
impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

/// A ConfigMap or Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigObject {
    /// Who it is.
    pub id: ObjectId,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// What it holds, by key.
    pub data: BTreeMap<String, Datum>,
    /// A Secret's `type`, such as `Opaque`.
    pub secret_type: Option<String>,
    /// It must not be changed any more.
    pub immutable: bool,
}

/// What a key holds. Never shown: it may be secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Datum {
    /// The bytes.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub bytes: Vec<u8>,
    /// A ConfigMap's `binaryData`: for files only, no variable is made of it.
    pub binary: bool,
}

impl fmt::Debug for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.bytes.len())
    }
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    // The decoder's own words would tell a character of it.
    STANDARD
        .decode(text)
        .map_err(|_| de::Error::custom("not base64"))
}

/// All ConfigMaps and Secrets that Pods may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectSet(BTreeMap<ObjectId, Arc<ConfigObject>>);

impl ObjectSet {
    /// Adds or replaces one.
    pub fn insert(&mut self, object: Arc<ConfigObject>) {
        self.0.insert(object.id.clone(), object);
    }

    /// Takes one away.
    pub fn remove(&mut self, id: &ObjectId) -> Option<Arc<ConfigObject>> {
        self.0.remove(id)
    }

    /// One of them.
    pub fn get(&self, id: &ObjectId) -> Option<&Arc<ConfigObject>> {
        self.0.get(id)
    }

    /// The one that a Pod of this namespace means.
    pub fn referred(&self, namespace: &str, object: &ObjectRef) -> Option<&Arc<ConfigObject>> {
        self.0.get(&ObjectId {
            kind: object.kind,
            namespace: namespace.to_owned(),
            name: object.name.clone(),
        })
    }

    /// All, ConfigMaps first, by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ConfigObject>> {
        self.0.values()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that a Pod refers to.
    #[must_use]
    pub fn of_pod(&self, pod: &Pod) -> Self {
        let found = references(pod).filter_map(|r| self.referred(&pod.metadata.namespace, r));
        found.cloned().collect()
    }
}

impl FromIterator<Arc<ConfigObject>> for ObjectSet {
    fn from_iter<I: IntoIterator<Item = Arc<ConfigObject>>>(objects: I) -> Self {
        let mut set = Self::default();
        objects.into_iter().for_each(|object| set.insert(object));
        set
    }
}

/// Every ConfigMap and Secret that a Pod refers to, some more than once.
pub fn references(pod: &Pod) -> impl Iterator<Item = &ObjectRef> {
    let containers = pod.spec.all_containers();
    let variables = containers.flat_map(|container| {
        let keys = container.env.iter().filter_map(|v| match &v.source {
            EnvSource::Key(key) => Some(&key.object),
            _ => None,
        });
        let whole = container.env_from.iter().map(|from| &from.object);
        keys.chain(whole)
    });
    let volumes = pod.spec.volumes.iter().filter_map(|v| match &v.source {
        VolumeSource::Files(volume) => Some(&volume.sources),
        _ => None,
    });
    let files = volumes.flatten().filter_map(|source| match source {
        FileSource::Object { object, .. } => Some(object),
        FileSource::Downward(_) => None,
    });
    variables.chain(files).chain(&pod.spec.image_pull_secrets)
}
