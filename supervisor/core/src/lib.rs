//! The pure half of the supervisor: what a Pod is and what it does next, with no I/O, no clock and no async.

pub mod action;
pub mod backoff;
pub mod config;
pub mod decide;
pub mod encode;
pub mod env;
pub mod event;
pub mod eviction;
pub mod explain;
pub mod parse;
pub mod pod;
pub mod registry;
pub mod state;
pub mod status;
pub mod time;
