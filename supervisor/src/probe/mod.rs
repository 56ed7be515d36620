//! What probes and hooks do, once and without any decision: a request, a connection, a command, and the words that a
//! kubelet has for how it went.
//!
//! Sockets are opened in the Pod's network namespace ([`socket`]), so nothing has to lead from the machine to the Pod,
//! and no tool is needed in its images. A handler without `host` asks the Pod's address, as a kubelet does: what
//! listens on the Pod's loopback alone is not reached. With `host: 127.0.0.1` it is, where a kubelet would ask the
//! machine itself (which makes no difference with `hostNetwork`). Names are resolved as the machine does it.

mod address;
mod eager;
pub mod exec;
mod grpc;
mod http;
pub mod socket;
mod tap;
mod target;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
mod words;

use carob_core::event::ProbeResult;

pub use address::{Place, join_host_port};
pub use grpc::health;
pub use http::{HttpError, Request, Response, get};
pub use tcp::connect;
pub use words::quoted;

/// The Kubernetes version whose kubelet this one is like, as servers see it in `User-Agent`.
pub const LIKE: &str = "1.36";

/// The most that is read of a command's output or a response's body (`pkg/probe/exec`, `pkg/probe/http`). Bytes.
pub const OUTPUT_MAX: usize = 10 << 10;

/// How one probe went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The verdict.
    pub result: ProbeResult,
    /// What a kubelet writes into the event.
    pub output: String,
}
