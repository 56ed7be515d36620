//! The containerd runtime-v2 shim of Carob: everything but the few lines of `main`.

pub mod bootstrap;
pub mod bundle;
pub mod cgroup;
pub mod events;
pub mod exec;
pub mod guard;
pub mod log;
pub mod options;
pub mod process;
pub mod ready;
pub mod reap;
pub mod seccomp;
pub mod sentence;
pub mod server;
pub mod service;
pub mod stdio;
pub mod task;
pub mod worker;
