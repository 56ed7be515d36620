//! Tests of what the shim does on its own (cgroups, last steps, exec), with real processes, as root.
//!
//! Forking with threads around is unsafe, so this has no test harness: each test runs in a process
//! of its own with one thread. An argument picks the tests whose name contains it, with `--exact` the one
//! of that name; `--list` names them, as cargo-nextest wants it.

// A test fails by a panic; clippy knows tests by the attribute that these have not.
#![allow(clippy::unwrap_used)]

mod cgroups;
mod container;
mod entering;
mod hiding;
mod keyring;
mod limits;
mod starting;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// A test by its name.
pub type Test = (&'static str, fn());

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let lists: [&[Test]; 6] = [
        starting::TESTS,
        entering::TESTS,
        cgroups::TESTS,
        limits::TESTS,
        hiding::TESTS,
        keyring::TESTS,
    ];
    let tests = lists.into_iter().flatten();
    if has("--list") {
        // None is ignored.
        tests
            .filter(|_| !has("--ignored"))
            .for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    // What else cargo or a user may pass to a test harness is not for us.
    let filter = args.iter().find(|arg| !arg.starts_with('-'));
    let wanted = |name: &str| match filter {
        Some(filter) if has("--exact") => name == filter,
        Some(filter) => name.contains(filter.as_str()),
        None => true,
    };
    let mut failed = 0;
    let mut passed = 0;
    for (name, test) in tests.filter(|(name, _)| wanted(name)) {
        if run(*test) {
            passed += 1;
            println!("test {name} ... ok");
        } else {
            failed += 1;
            println!("test {name} ... FAILED");
        }
    }
    println!("test result: {passed} passed; {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run(test: fn()) -> bool {
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => {
            let failed = catch_unwind(AssertUnwindSafe(test)).is_err();
            // SAFETY: ends the child without running what the parent has registered.
            unsafe { libc::_exit(i32::from(failed)) }
        }
        child => container::wait(child) == Some(0),
    }
}
