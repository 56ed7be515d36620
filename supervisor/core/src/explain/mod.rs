//! What the engine would do with a Pod, told as a timeline: the same decisions, in a world of a few lines.
//!
//! ```text
//! --simulate ──script──► habits ──► world ──events──► PodState ──decisions──► narrator ──► timeline
//!                                     ▲──────────────────actions──────────────┘
//! ```

pub(crate) mod duration;
mod narrator;
mod script;
mod words;
mod world;

pub use duration::{format_ms, parse_ms};
pub use narrator::{Entry, Narrator};
pub use script::{Habits, Script, ScriptError};

use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};

use crate::decide::Outcome;
use crate::pod::Pod;
use crate::state::PodState;
use crate::status::PodStatus;
use crate::time::{Mono, Now};
use world::World;

/// More steps than any timeline that a person reads.
const MAX_STEPS: usize = 200_000;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// In order.
    pub entries: Vec<Entry>,
    /// Milliseconds from the Pod's acceptance to its end, or to where the simulation stops.
    pub end_ms: u64,
    /// How it ended; none when it goes on.
    pub outcome: Option<Outcome>,
    /// The status at the end.
    pub status: Rc<PodStatus>,
}

/// Lives the Pod as `script` has it, for so many milliseconds.
pub fn simulate(pod: &Pod, script: &Script, for_ms: u64) -> Timeline {
    let born = Mono(0);
    let mut now = Now {
        mono: born,
        wall: Timestamp::UNIX_EPOCH,
    };
    let mut state = PodState::new(pod, now);
    let mut world = World::new(pod, script);
    let mut narrator = Narrator::default();
    let mut entries = Vec::new();
    let mut steps = 0;
    loop {
        let decision = state.step(pod, now);
        narrator.tell(now.mono.since(born), &decision, &mut entries);
        for action in decision.actions {
            world.act(action, now);
        }
        steps += 1;
        let next = world.next_at().into_iter().chain(decision.wake_at).min();
        let next = next.filter(|&at| at <= born.plus_ms(for_ms) && steps < MAX_STEPS);
        let (Some(at), None) = (next, decision.done) else {
            let end_ms = match decision.done {
                Some(_) => now.mono.since(born),
                None => for_ms,
            };
            return Timeline {
                entries,
                end_ms,
                outcome: decision.done,
                status: decision.status,
            };
        };
        let passed = at.since(now.mono);
        now.mono = now.mono.max(at);
        now.wall += SignedDuration::from_millis(i64::try_from(passed).unwrap_or(i64::MAX));
        if let Some(event) = world.next_event(now) {
            state.observe(pod, event, now);
        }
    }
}
