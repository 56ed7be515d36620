//! What containers, Pods and the machine use: read from the kernel when someone asks, never at rest.

pub mod cgroup;
pub mod disk;
mod file;
mod hierarchy;
pub mod network;
pub mod node;
pub mod psi;
pub mod trigger;
mod v1;
mod v2;

pub use hierarchy::Hierarchies;
