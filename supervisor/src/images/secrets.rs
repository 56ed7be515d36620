//! What `imagePullSecrets` name: files in Docker's format, as a Secret of type `kubernetes.io/dockerconfigjson` has it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use carob_bundles::image::error::ImageError;
use carob_bundles::image::pull::Credentials;

/// Pull secrets by their names.
#[derive(Debug, Clone, Default)]
pub struct PullSecrets(BTreeMap<String, PathBuf>);

impl PullSecrets {
    /// These files, by name.
    pub fn new(files: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        Self(files.into_iter().collect())
    }

    /// The logins for a Pod: those of its own secrets in their order, then those of the machine. A file is read each
    /// time, so that a password that was changed counts. One that is missing is a login less, as a kubelet takes it.
    ///
    /// # Errors
    /// When a file can't be read or is malformed.
    pub fn credentials(&self, names: &[String]) -> Result<Credentials, ImageError> {
        let mut credentials = Credentials::default();
        for name in names {
            let Some(path) = self.0.get(name) else {
                tracing::warn!(
                    secret = name,
                    "an image pull secret is not known here; give it with --pull-secret NAME=FILE"
                );
                continue;
            };
            let text = std::fs::read(path).map_err(|source| ImageError::Io {
                action: "read",
                path: path.clone(),
                source,
            })?;
            credentials.add_docker_config(&format!("pull secret {name}"), &text)?;
        }
        credentials.add(Credentials::from_environment()?);
        Ok(credentials)
    }
}
