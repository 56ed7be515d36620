//! The network for real: namespaces, links, packets. Needs root; each test has a host namespace of its own.

mod attachment;
mod cleanup;
mod machine;
mod outside;
