//! Boundaries at which a test has the supervisor killed: `CAROB_DIE_AT=N` ends it at the Nth one that it comes to,
//! as SIGKILL does. A program built without debug assertions has none of this.

/// A boundary between two things of which only one may have been done.
#[cfg(debug_assertions)]
pub fn boundary() {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static PASSED: AtomicU32 = AtomicU32::new(0);
    static DIE_AT: OnceLock<Option<u32>> = OnceLock::new();
    let die_at = DIE_AT.get_or_init(|| std::env::var("CAROB_DIE_AT").ok()?.parse().ok());
    if *die_at == Some(PASSED.fetch_add(1, Ordering::Relaxed) + 1) {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

/// A boundary between two things of which only one may have been done.
#[cfg(not(debug_assertions))]
pub fn boundary() {}
