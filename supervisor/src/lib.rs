//! The supervisor's parts; `main.rs` only starts them.

pub mod dirs;
pub mod logs;
pub mod network;
pub mod runtime;
pub mod volume;
