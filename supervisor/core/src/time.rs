//! Time as the decisions see it: an argument, in two kinds that are never mixed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A reading of `CLOCK_BOOTTIME` in milliseconds. Every timer counts in it, so setting the wall clock
/// moves none, and time asleep counts as time.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Mono(pub u64);

impl Mono {
    /// Further than time goes.
    pub const NEVER: Self = Self(u64::MAX);

    /// This many milliseconds later; the end of time when that is further than time goes.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// This many seconds later, like [`plus_ms`](Self::plus_ms).
    #[must_use]
    pub fn plus_secs(self, secs: u64) -> Self {
        self.plus_ms(secs.saturating_mul(1000))
    }

    /// Milliseconds since `earlier`; zero when that is not earlier.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The moment of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For timers.
    pub mono: Mono,
    /// For the timestamps that people read.
    pub wall: Timestamp,
}

/// Milliseconds as Go writes a `time.Duration`: `312ms`, `1.5s`, `1m0.25s`.
pub fn go_duration(ms: u64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let (seconds, rest) = (ms / 1000 % 60, ms % 1000);
    let mut text = String::new();
    if hours > 0 {
        text += &format!("{hours}h");
    }
    if hours > 0 || minutes > 0 {
        text += &format!("{minutes}m");
    }
    text += &seconds.to_string();
    if rest > 0 {
        text += format!(".{rest:03}").trim_end_matches('0');
    }
    text + "s"
}

#[cfg(test)]
mod tests {
    use super::go_duration;

    #[test]
    fn durations_read_as_go_writes_them() {
        for (ms, text) in [
            (0, "0s"),
            (312, "312ms"),
            (1_000, "1s"),
            (1_500, "1.5s"),
            (60_000, "1m0s"),
            (60_250, "1m0.25s"),
            (90_000, "1m30s"),
            (3_600_000, "1h0m0s"),
            (7_265_000, "2h1m5s"),
            (10_800_005, "3h0m0.005s"),
        ] {
            assert_eq!(go_duration(ms), text);
        }
    }
}
