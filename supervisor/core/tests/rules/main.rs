//! The rules of a Pod's life, one test each, named after the rule.

#[path = "../kit/mod.rs"]
mod kit;

mod lifecycle;
