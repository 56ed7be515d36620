//! What the machine shows of processes and mounts.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::PATIENCE;

/// A process' state letter in `/proc`.
pub fn process_state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The memory that a process has of its own, in KiB: parts of its program come and go as the machine has room.
pub fn memory_of(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let size = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|size| size.split_whitespace().next());
    size.and_then(|size| size.parse().ok()).expect("a number")
}

/// Waits for a condition that has no event to wait for.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The host's mounts.
pub fn host_mounts() -> HashMap<String, String> {
    std::fs::read_to_string("/proc/self/mountinfo")
        .expect("readable")
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            (fields[4].to_owned(), line.to_owned())
        })
        .collect()
}
/// Says what took unusually long.
pub fn slow<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = act();
    if started.elapsed() > Duration::from_secs(3) {
        eprintln!("{what} took {:?}", started.elapsed());
    }
    done
}
