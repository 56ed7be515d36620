//! The rules of a Pod's life, one test each, named after the rule.

#[path = "../kit/mod.rs"]
mod kit;

mod backoff;
mod conditions;
mod containers;
mod event_log;
mod init;
mod phase;
mod restart;
mod resume;
mod sandbox;
mod start;
mod termination;
