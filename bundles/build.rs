//! Builds the pause program for the target and leaves it at `$OUT_DIR/pause`.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "pause/pause.rs";

/// What makes a static program of one small segment: no start-up code, no build ID, nothing aligned to a
/// page that need not be.
const LINK: &[&str] = &[
    "-nostdlib",
    "-nostartfiles",
    "-static",
    "-Wl,--build-id=none,--gc-sections,-z,norelro,-z,noseparate-code,-z,max-page-size=4096,-n",
];

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| env::var(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    let out = PathBuf::from(variable("OUT_DIR")).join("pause");

    let mut rustc = Command::new(variable("RUSTC"));
    rustc
        .args(["--edition=2024", "--crate-name=pause", "--crate-type=bin"])
        .args(["--target", &variable("TARGET")])
        .args([
            "-Copt-level=s",
            "-Cpanic=abort",
            "-Crelocation-model=static",
        ])
        .args([
            "-Cforce-unwind-tables=no",
            "-Cstrip=symbols",
            "-Ccodegen-units=1",
        ]);
    for argument in LINK {
        rustc.arg(format!("-Clink-arg={argument}"));
    }
    // Set by cargo when the user configured a linker for the target (cross builds).
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    let status = rustc
        .arg("-o")
        .arg(&out)
        .arg(SOURCE)
        .status()
        .unwrap_or_else(|e| panic!("cannot run {:?}: {e}", rustc.get_program()));
    assert!(status.success(), "cannot build {SOURCE}: {status}");
}
