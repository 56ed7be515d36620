//! Exponential back-off without jitter, as client-go's `flowcontrol.Backoff` counts it.

use serde::{Deserialize, Serialize};

use crate::time::Mono;

/// First delay and limit of a back-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Milliseconds after the first failure.
    pub base_ms: u64,
    /// Milliseconds at most.
    pub cap_ms: u64,
}

/// Restarts of a container (`MaxCrashLoopBackOff`, kubelet.go).
pub const CRASH: Policy = Policy {
    base_ms: 10_000,
    cap_ms: 300_000,
};

/// Pulls of an image (`imageBackOff`, kubelet.go).
pub const IMAGE: Policy = Policy {
    base_ms: 10_000,
    cap_ms: 300_000,
};

/// Making and removing the sandbox and removing containers. A kubelet tries again after 10–15 s each time
/// (`backOffPeriod`, pod_workers.go). These are calls within one machine, whose failures often pass in a
/// moment (an address still in use, a busy mount): the first tries come sooner, none later than a kubelet's.
pub const RETRY: Policy = Policy {
    base_ms: 1_000,
    cap_ms: 10_000,
};

/// A container that could not be created (a kubelet's `backOffPeriod`, constant).
pub const CREATE_RETRY_MS: u64 = 10_000;

/// The delay that one thing has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Milliseconds to wait.
    pub delay_ms: u64,
    /// When the delay was last raised.
    pub updated: Mono,
}

impl Backoff {
    /// Raises the delay: the base at first or when `event` (such as an exit) came more than twice the limit
    /// after the last raise, else the double.
    #[must_use]
    pub fn next(entry: Option<Self>, policy: Policy, event: Mono, now: Mono) -> Self {
        let delay_ms = match entry {
            Some(old) if !old.expired(policy, event) => {
                old.delay_ms.saturating_mul(2).min(policy.cap_ms)
            }
            _ => policy.base_ms,
        };
        Self {
            delay_ms,
            updated: now,
        }
    }

    /// When the thing that last failed at `event` may be tried again.
    pub fn until(self, policy: Policy, event: Mono) -> Mono {
        if self.expired(policy, event) {
            event
        } else {
            event.plus_ms(self.delay_ms)
        }
    }

    fn expired(self, policy: Policy, event: Mono) -> bool {
        event.since(self.updated) > 2 * policy.cap_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap() {
        let (mut entry, mut now, mut delays) = (None, Mono(0), Vec::new());
        for _ in 0..8 {
            let next = Backoff::next(entry, CRASH, now, now);
            delays.push(next.delay_ms / 1000);
            now = next.until(CRASH, now);
            entry = Some(next);
        }
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn a_good_run_of_more_than_twice_the_cap_resets() {
        let entry = Backoff {
            delay_ms: 160_000,
            updated: Mono(1_000),
        };
        let kept = Backoff::next(Some(entry), CRASH, Mono(601_000), Mono(601_000));
        assert_eq!(kept.delay_ms, 300_000);
        let event = Mono(601_001);
        assert_eq!(entry.until(CRASH, event), event);
        assert_eq!(
            Backoff::next(Some(entry), CRASH, event, event).delay_ms,
            10_000
        );
    }
}
