//! The containerd runtime-v2 shim of Carob: everything but the few lines of `main`.

pub mod cgroup;
pub mod exec;
pub mod process;
pub mod seccomp;
