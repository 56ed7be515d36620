//! Numbers for Prometheus, under the names by which a kubelet, cAdvisor and kube-state-metrics are asked for them.
//!
//! What Carob does is counted as it happens ([`Metrics`]); what is true of Pods and containers is read when someone asks,
//! so a Pod's series end with it.

mod cadvisor;
mod family;
mod health;
mod kubelet;
mod own;
mod pods;
mod probes;
mod process;
mod resource;
mod scrape;
mod server;
mod tally;
mod target;
mod traffic;

pub use health::{Check, Checks};
pub use kubelet::Metrics;
pub use scrape::Scrape;
pub use server::{MetricsServer, ServerError};
pub(crate) use target::PodTarget;
