//! End-to-end tests: real containers through the real programs, each test in a world of its own.
//!
//! Run by `scripts/test e2e`, which builds the programs and makes the images.

// A test fails by a panic; clippy knows tests by their attribute, not what they call.
#![allow(clippy::unwrap_used)]

mod adopt;
mod boundaries;
mod bundles;
mod config;
mod daemon;
mod ends;
mod env;
mod examples;
mod explain;
mod hanging;
mod hooks;
mod hostile;
mod images;
mod json;
mod kill;
mod links;
mod manifests;
mod metrics;
mod pressure;
mod privileges;
mod probes;
mod pulls;
mod reboot;
mod recordings;
mod registries;
mod resources;
mod restart;
mod run;
mod service;
mod shared;
mod side_by_side;
mod users;
mod volumes;
