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
