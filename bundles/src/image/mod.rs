//! Container images: names, registries, archives, and the store of unpacked layers.

pub mod config;
pub mod contents;
mod copy;
pub mod digest;
pub mod document;
pub mod error;
pub mod import;
mod merged;
pub mod overlay;
mod platform;
pub mod progress;
pub mod pull;
pub mod reference;
pub mod store;
pub mod unpack;
pub mod users;
mod xattrs;

#[cfg(test)]
mod testing;
