//! How a machine defends itself: which Pod must go when memory, disk or process IDs run short, and what is tried first.
//!
//! The rules are those of a kubelet's eviction manager (`pkg/kubelet/eviction`, [Node-pressure eviction]). Nothing here
//! measures or ends anything: the caller says what it has seen, and does what it is told.
//!
//! [Node-pressure eviction]: https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/

mod admit;
mod amount;
mod image_gc;
mod manager;
mod message;
mod rank;
mod signal;
mod storage;
mod threshold;
mod usage;

pub use admit::{Rejection, admit};
pub use image_gc::{FileSystem, ImageGc, ImagePolicy, ImagePolicyError, PresentImage, Reclaim};
pub use manager::{Config, Manager, Met, NodeCondition, Outlook};
pub use rank::{Rank, rank};
pub use signal::{Observation, Observations, Resource, Signal};
pub use storage::over_limits;
pub use threshold::{Amount, Threshold, ThresholdError, Thresholds};
pub use usage::{Candidate, ContainerUsage, DiskUsage, PodUsage};

/// The `reason` of an evicted Pod and of a Pod that is not admitted.
pub const REASON: &str = "Evicted";

/// A Pod of this priority or above is critical: never evicted, and admitted under pressure
/// (`SystemCriticalPriority`, `pkg/apis/scheduling/types.go`).
pub const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// A Pod that must go, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eviction {
    /// Its UID.
    pub uid: String,
    /// What was short: a signal's name, or one of a kubelet's names of limits (`emptydirfs.limit`). The label of
    /// `kubelet_evictions`.
    pub signal: &'static str,
    /// The Pod's `status.message`.
    pub message: String,
    /// Seconds that it gets to end; its own grace period when that is shorter.
    pub grace_seconds: u64,
    /// Whether the Pod gets the condition `DisruptionTarget`: only when it goes for others' sake.
    pub disruption: bool,
}
