//! From Pod, image and machine to the OCI runtime's `config.json`, as a kubelet with containerd makes it.
//!
//! Everything here is a function of its arguments, except that [`container()`] reads a `Localhost` seccomp
//! profile and lists the devices for a privileged container, and that [`Machine::detect`] looks at the
//! machine. Paths of the machine come from the caller; none is taken from a manifest or an image.

mod annotations;
mod capabilities;
mod container;
mod devices;
mod error;
mod image_volumes;
mod machine;
mod mounts;
mod oom;
mod process;
mod resources;
mod sandbox;
mod seccomp;
#[cfg(test)]
mod testing;
mod user;

pub use container::{ContainerInput, container};
pub use error::SpecError;
pub use machine::{Machine, MachineError};
pub use mounts::{PodFiles, VolumeBind};
pub use oom::oom_score_adj;
pub use resources::pod_resources;
pub use sandbox::{SandboxInput, sandbox};
pub use user::UserError;
