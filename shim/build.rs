//! Links the shim at a fixed address: no page of it then needs relocating, which every shim would pay
//! for with private memory.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=-no-pie");
}
