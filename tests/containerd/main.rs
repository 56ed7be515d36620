//! The shim under a real containerd, the machine's or that of `CAROB_CONTAINERD`: each test has one of its own.
//!
//! Run by `scripts/test e2e`, which builds the programs and makes the images.

// A test fails by a panic; clippy knows tests by their attribute, not what they call.
#![allow(clippy::unwrap_used)]

mod client;
mod cri;
mod ctr;
mod daemon;
mod events;
mod faults;
mod images;
mod left;
mod pods;
mod stress;
mod systemd;
mod tasks;
