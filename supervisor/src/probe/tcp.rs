//! `tcpSocket`: a connection that can be opened.
//!
//! A kubelet sets SO_LINGER to one second on its sockets. On Linux that only makes close(2) wait for the peer, which
//! here would hold up everybody, so it is not done: the connection is closed in good order by the kernel.

use std::time::Duration;

use carob_core::event::ProbeResult;
use tokio::time::timeout;

use super::address::join_host_port;
use super::{Outcome, Place};

/// Connects and closes (`pkg/probe/tcp/tcp.go`).
///
/// # Errors
/// When the Pod has no address to connect to.
pub async fn connect(
    place: &Place,
    host: Option<&str>,
    port: u16,
    limit: Duration,
) -> Result<Outcome, String> {
    let host = place.host(host)?;
    let failure = match timeout(limit, place.dial(&host, port)).await {
        Ok(Ok(_connection)) => {
            return Ok(Outcome {
                result: ProbeResult::Success,
                output: String::new(),
            });
        }
        Ok(Err(why)) => why,
        Err(_) => format!("dial tcp {}: i/o timeout", join_host_port(&host, port)),
    };
    Ok(Outcome {
        result: ProbeResult::Failure,
        output: failure,
    })
}
