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
    /// Registries (`host[:port]`) that are spoken to in plain HTTP. Those on loopback are anyway, unless they
    /// answer to HTTPS with one of `ca_certificates`.
    pub insecure: Vec<String>,
    /// PEM files of certificate authorities to trust besides the system's.
    pub ca_certificates: Vec<PathBuf>,
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
            insecure: Vec::new(),
            ca_certificates: Vec::new(),
            limits: Limits::default(),
            // Docker's and containerd's number.
            parallel: 3,
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(60),
            progress: Arc::new(|_| {}),
        }
    }
}
