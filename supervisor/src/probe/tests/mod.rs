//! Requests to servers on this machine's loopback.

mod grpc;
mod http;
mod tcp;

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use super::Place;

/// A Pod whose address is the loopback's and that has the machine's network.
fn here() -> Place {
    Place {
        ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        namespace: None,
        sockets: Rc::default(),
    }
}
