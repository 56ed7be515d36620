//! How to pull.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::credentials::Credentials;
use crate::image::progress::Progress;
use crate::image::unpack::Limits;

/// How to pull. The default is anonymous, with the system's certificate authorities.
#[derive(Clone)]
pub struct PullOptions {
    /// Logins.
    pub credentials: Credentials,
    /// Containerd's directory of `HOST/hosts.toml` ([`super::DEFAULT_HOSTS_DIRECTORY`]): mirrors, authorities, plain
    /// HTTP. Without one, registries on loopback are spoken to in plain HTTP and all others in HTTPS.
    pub hosts_directory: Option<PathBuf>,
    /// Bounds of each layer.
    pub limits: Limits,
    /// How many layers are received and unpacked at a time.
    pub parallel: usize,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long a registry may send nothing.
    pub stall_timeout: Duration,
    /// Told of each step, from several threads.
    pub progress: Arc<dyn Fn(Progress) + Send + Sync>,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            hosts_directory: None,
            limits: Limits::default(),
            // Docker's and containerd's number.
            parallel: 3,
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(60),
            progress: Arc::new(|_| {}),
        }
    }
}
