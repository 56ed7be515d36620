//! What runs containers: OCI bundles go in, task events come out.
//!
//! The only backend so far is [`embedded`]: the shim driven directly, with no daemon installed.

pub mod embedded;
mod events;
mod exec;
mod shim;

use jiff::Timestamp;

pub use events::{EventServer, TaskEvent};
pub use shim::{CreateTask, ExecTask, Exited, Mount, Shim, TaskError, TaskState};

/// A protobuf timestamp as ours; nonsense from the wire counts as the epoch.
fn timestamp(
    at: &containerd_shim_protos::protobuf::well_known_types::timestamp::Timestamp,
) -> Timestamp {
    Timestamp::new(at.seconds, at.nanos).unwrap_or(Timestamp::UNIX_EPOCH)
}
