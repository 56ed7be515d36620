//! What `imagePullSecrets` name: Secrets, or files in the same format, Docker's.

use std::collections::BTreeMap;
use std::path::PathBuf;

use carob_bundles::image::error::ImageError;
use carob_bundles::image::pull::Credentials;
use carob_core::config::ConfigObject;

/// The key of a Secret of type `kubernetes.io/dockerconfigjson`.
const DOCKER_CONFIG: &str = ".dockerconfigjson";

/// Files by the names of the pull secrets that they are.
#[derive(Debug, Clone, Default)]
pub struct PullSecrets(BTreeMap<String, PathBuf>);

/// What a Pod names.
pub struct PullSecret<'a> {
    /// The name.
    pub name: &'a str,
    /// The Secret of this name in the Pod's namespace, if there is one.
    pub object: Option<&'a ConfigObject>,
}

impl PullSecrets {
    /// These files, by name.
    pub fn new(files: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        Self(files.into_iter().collect())
    }

    /// The logins for a Pod: those of its own secrets in their order, then those of the machine. A file counts
    /// before a Secret, and is read each time, so that a password that was changed counts. One that is missing is a
    /// login less, as a kubelet takes it.
    ///
    /// # Errors
    /// When a file can't be read or one of them is malformed.
    pub fn credentials(&self, secrets: &[PullSecret<'_>]) -> Result<Credentials, ImageError> {
        let mut credentials = Credentials::default();
        for PullSecret { name, object } in secrets {
            let what = format!("pull secret {name}");
            let held = object.and_then(|object| object.data.get(DOCKER_CONFIG));
            if let Some(path) = self.0.get(*name) {
                let text = std::fs::read(path).map_err(|source| ImageError::Io {
                    action: "read",
                    path: path.clone(),
                    source,
                })?;
                credentials.add_docker_config(&what, &text)?;
            } else if let Some(datum) = held {
                credentials.add_docker_config(&what, &datum.bytes)?;
            } else {
                tracing::warn!(
                    secret = name,
                    "an image pull secret is missing or has no {DOCKER_CONFIG}; pulling may not succeed"
                );
            }
        }
        credentials.add(Credentials::from_environment()?);
        Ok(credentials)
    }
}
