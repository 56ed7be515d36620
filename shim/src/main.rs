//! containerd-shim-carob-v1: a containerd runtime-v2 shim on libcontainer.
fn main() {}
