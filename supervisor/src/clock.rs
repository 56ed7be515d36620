//! The two clocks that the decisions are given: one for timers, one for timestamps.

use std::time::Duration;

use carob_core::time::{Mono, Now};
use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// Both clocks, now. `CLOCK_BOOTTIME` goes on while the machine sleeps and never steps.
pub fn now() -> Now {
    let boot = clock_gettime(ClockId::CLOCK_BOOTTIME)
        .expect("every Linux since 2.6.39 has CLOCK_BOOTTIME");
    let millis = boot.tv_sec() as u64 * 1000 + boot.tv_nsec() as u64 / 1_000_000;
    Now {
        mono: Mono(millis),
        wall: Timestamp::now(),
    }
}

/// Returns when `at` has come; at once when it has passed, never without one.
pub async fn sleep_until(at: Option<Mono>) {
    let Some(at) = at else {
        return std::future::pending().await;
    };
    loop {
        let left = at.0.saturating_sub(now().mono.0);
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(left)).await;
    }
}
