//! Images and OCI bundles: reference, pull, unpack, root file system, `config.json`.

pub mod image;
pub mod pause;
pub mod spec;
