//! The two clocks that the decisions are given: one for timers, one for timestamps.
//!
//! Timers count in `CLOCK_BOOTTIME`, which goes on while the machine sleeps and which nobody can set. It begins anew
//! with each boot, so a Pod that outlives one counts with an offset of its own: its timers go on.

use std::fs;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use carob_core::time::{Mono, Now};
use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Where the kernel has the boot's ID (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Timers of all Pods fire together, at most so much late (`timerslack` of prctl(2) is the kernel's same idea): what
/// wakes the supervisor for one Pod then serves many. A kubelet looks once a second. Milliseconds.
const SLACK: i64 = 50;

/// One Pod's clocks.
#[derive(Debug, Clone)]
pub struct Clock {
    boot: Rc<str>,
    /// What is added to `CLOCK_BOOTTIME`. Milliseconds.
    offset: i64,
}

/// A moment by which the clock of a Pod is found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    boot: String,
    offset: i64,
    mono: Mono,
    wall: Timestamp,
}

/// Both of the machine's clocks at one moment.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// `CLOCK_BOOTTIME` in milliseconds.
    boottime: i64,
    wall: Timestamp,
}

impl Reading {
    fn now() -> Self {
        Self {
            boottime: millis(since_boot()),
            wall: Timestamp::now(),
        }
    }
}

impl Clock {
    /// The clocks of a Pod that begins now.
    ///
    /// # Errors
    /// When `/proc` can't be read.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            boot: fs::read_to_string(BOOT_ID)?.trim().into(),
            offset: 0,
        })
    }

    /// The clocks of a Pod that goes on; true when it is still the boot of the mark.
    ///
    /// # Errors
    /// When `/proc` can't be read.
    pub fn resume(mark: &Mark) -> io::Result<(Self, bool)> {
        let mut clock = Self::new()?;
        let same_boot = *clock.boot == *mark.boot;
        clock.offset = match same_boot {
            true => mark.offset,
            false => mark.offset_after_boot(Reading::now()),
        };
        Ok((clock, same_boot))
    }

    /// Both clocks, now.
    pub fn now(&self) -> Now {
        self.at(Reading::now())
    }

    /// What to write down so that the clock can be found again.
    pub fn mark(&self) -> Mark {
        let Now { mono, wall } = self.now();
        Mark {
            boot: self.boot.to_string(),
            offset: self.offset,
            mono,
            wall,
        }
    }

    /// Returns when `at` has come, or up to 50 ms later; at once when it has passed, never without one.
    pub async fn sleep_until(&self, at: Option<Mono>) {
        let Some(at) = at else {
            return std::future::pending().await;
        };
        while let Some(left) = self.left(at, Reading::now()) {
            tokio::time::sleep(left).await;
        }
    }

    /// How long to sleep until `at`; nothing when it has come.
    fn left(&self, at: Mono, now: Reading) -> Option<Duration> {
        if self.at(now).mono >= at {
            return None;
        }
        let at = i64::try_from(at.0).unwrap_or(i64::MAX);
        let boottime = at.saturating_sub(self.offset);
        let late = (SLACK - boottime.rem_euclid(SLACK)) % SLACK;
        let left = boottime.saturating_add(late).saturating_sub(now.boottime);
        Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }

    fn at(&self, reading: Reading) -> Now {
        let mono = reading.boottime.saturating_add(self.offset);
        Now {
            mono: Mono(u64::try_from(mono).unwrap_or(0)),
            wall: reading.wall,
        }
    }
}

impl Mark {
    /// The offset with which timers go on in another boot: only the wall clock knows how long the machine was
    /// off. Where it knows nothing (it is behind the mark), the machine was not off.
    fn offset_after_boot(&self, now: Reading) -> i64 {
        let off = now.wall.duration_since(self.wall).as_millis().max(0);
        let mono = i128::from(self.mono.0) + off - i128::from(now.boottime);
        i64::try_from(mono).unwrap_or(i64::MAX)
    }
}

/// How long this boot has lasted.
pub fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .expect("every Linux since 2.6.39 has CLOCK_BOOTTIME")
        .into()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(boottime: i64, wall: i64) -> Reading {
        Reading {
            boottime,
            wall: Timestamp::from_millisecond(wall).unwrap(),
        }
    }

    fn mark(boot: &str, mono: u64, wall: i64) -> Mark {
        Mark {
            boot: boot.to_owned(),
            offset: 500,
            mono: Mono(mono),
            wall: Timestamp::from_millisecond(wall).unwrap(),
        }
    }

    const HOUR: i64 = 3_600_000;

    #[test]
    fn f15_a_step_of_the_wall_clock_moves_no_timer() {
        let clock = Clock::new().unwrap();
        let before = clock.at(reading(7_000, 100 * HOUR));
        for step in [-HOUR, HOUR] {
            let after = clock.at(reading(7_010, 100 * HOUR + 10 + step));
            assert_eq!(after.mono.since(before.mono), 10);
            assert_eq!(
                after.wall.as_millisecond() - before.wall.as_millisecond(),
                10 + step
            );
        }
    }

    #[test]
    fn timers_fire_together_a_little_late_and_never_early() {
        let mut clock = Clock::new().unwrap();
        for offset in [0, 777, -333] {
            clock.offset = offset;
            let mono = |boottime: i64| Mono(u64::try_from(boottime + offset).unwrap());
            let left = |at, now| clock.left(mono(at), reading(now, 0)).map(|d| d.as_millis());
            assert_eq!(left(5_000, 5_000), None);
            assert_eq!(left(5_000, 5_001), None);
            for (at, then) in [
                (5_000, 5_000),
                (5_001, 5_050),
                (5_049, 5_050),
                (5_050, 5_050),
            ] {
                assert_eq!(left(at, 4_990), Some(then - 4_990), "{at} {offset}");
            }
        }
        assert!(clock.left(Mono::NEVER, reading(5_000, 0)) > Some(Duration::from_hours(1)));
    }

    #[test]
    fn f15_nor_does_one_between_two_supervisors() {
        let clock = Clock::new().unwrap();
        let mut marked = clock.mark();
        for step in [-HOUR, HOUR] {
            marked.wall += jiff::SignedDuration::from_millis(step);
            let (next, same_boot) = Clock::resume(&marked).unwrap();
            assert!(same_boot);
            assert_eq!(next.offset, clock.offset);
        }
    }

    #[test]
    fn f16_timers_go_on_in_another_boot() {
        let marked = mark("another boot", 9_000, 50 * HOUR);
        let after = |boottime, wall| {
            let now = reading(boottime, wall);
            let clock = Clock {
                boot: "this boot".into(),
                offset: marked.offset_after_boot(now),
            };
            clock.at(now).mono.0
        };
        // It was off for a minute, and has been up for two seconds or for longer than the last time.
        assert_eq!(after(2_000, 50 * HOUR + 60_000), 69_000);
        assert_eq!(after(999_000, 50 * HOUR + 60_000), 69_000);
        // Its clock's battery is empty.
        assert_eq!(after(2_000, 0), 9_000);
        let (_, same_boot) = Clock::resume(&marked).unwrap();
        assert!(!same_boot);
    }
}
