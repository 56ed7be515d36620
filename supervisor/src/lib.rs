//! The supervisor's parts; `main.rs` only starts them.

pub mod actor;
pub mod backend;
mod cgroup;
pub mod cli;
mod clock;
pub mod containerd;
mod daemon;
pub mod dirs;
mod engine;
pub mod events;
mod executor;
mod failpoint;
mod follow;
mod images;
pub mod life;
pub mod logs;
mod machine;
pub mod network;
mod private;
pub mod probe;
mod prune;
mod record;
pub mod registry;
pub mod runtime;
pub mod sentence;
pub mod volume;
pub mod watch;
