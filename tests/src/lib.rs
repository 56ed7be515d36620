//! What the end-to-end tests share: a supervisor's own world per test, programs that are watched while they
//! run, and the proof that nothing is left.
//!
//! Every failure here is a panic: this is test code. Waiting is always for something to happen, within
//! [`PATIENCE`].

use std::time::Duration;

mod given;
mod home;
mod image;
mod left;
mod manifest;
mod pod;
mod private;
mod program;
mod pulls;
mod reboot;
mod shared;
mod web;
mod witness;

pub use given::{bin_dir, images, registry, shim};
pub use home::Home;
pub use image::{Layer, busybox_with};
pub use manifest::{pod, shell, with};
pub use pod::Pod;
pub use private::PrivateRegistry;
pub use program::{Finished, Program};
pub use pulls::Puller;
pub use shared::{Shared, eventually};
pub use web::{Answer, Request, Served, Web};

/// What has not happened by then never will.
pub const PATIENCE: Duration = Duration::from_secs(60);
