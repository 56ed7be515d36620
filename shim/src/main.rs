//! containerd-shim-carob-v1: a containerd runtime-v2 shim on libcontainer.

fn main() -> std::process::ExitCode {
    containerd_shim_carob_v1::bootstrap::main()
}
