//! The rules of a Pod's life, one test each, named after the rule.

#[path = "../kit/mod.rs"]
mod kit;

mod backoff;
mod conditions;
mod containers;
mod event_log;
mod eviction;
mod hooks;
mod init;
mod phase;
mod probe_ends;
mod probes;
mod restart;
mod restart_rules;
mod resume;
mod sandbox;
mod start;
mod termination;
