//! A Pod that is to be run here: a new one, or one that a supervisor that was killed has left.

use anyhow::Context;
use carob_core::pod::Pod;
use carob_core::state::PodState;

use crate::clock::Clock;
use crate::dirs::Dirs;
pub use crate::executor::Source;
use crate::failpoint::boundary;
use crate::record::{Claim, Record, RecordError, View};

/// All that an actor needs to begin or to go on. While it lasts nobody else runs the Pod.
pub struct Life {
    /// The Pod.
    pub pod: Pod,
    /// Where its containers come from.
    pub source: Source,
    /// Its clock.
    pub clock: Clock,
    /// Where its decisions are.
    pub state: PodState,
    /// The right to run it.
    pub claim: Claim,
    /// Whether it has begun before.
    pub past: Past,
}

/// Where a Pod's past lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// It has none.
    None,
    /// In this boot: what the record names may still run.
    SameBoot,
    /// In an earlier one: nothing that the record names is there.
    EarlierBoot,
}

impl Life {
    /// Claims the Pods in turn, all or none.
    ///
    /// # Errors
    /// The first that `claim` gives.
    pub fn all_or_none(
        pods: Vec<Pod>,
        claim: impl Fn(Pod) -> anyhow::Result<Self>,
    ) -> anyhow::Result<Vec<Self>> {
        let mut lives = Vec::new();
        for pod in pods {
            match claim(pod) {
                Ok(life) => lives.push(life),
                Err(error) => {
                    Self::abandon(lives)?;
                    return Err(error);
                }
            }
        }
        Ok(lives)
    }

    /// Claims a new Pod.
    ///
    /// # Errors
    /// When a Pod of its name is here already.
    pub fn begin(dirs: &Dirs, pod: Pod, source: Source) -> anyhow::Result<Self> {
        let clock = Clock::new().context("cannot tell which boot this is")?;
        let state = PodState::new(&pod, clock.now());
        boundary();
        let claim = Claim::new(dirs, &View::new(&pod, &source, clock.mark(), &state))?;
        boundary();
        Ok(Self {
            pod,
            source,
            clock,
            state,
            claim,
            past: Past::None,
        })
    }

    /// Takes a Pod over; `None` when a supervisor has it.
    ///
    /// # Errors
    /// When its record can't be read.
    pub fn take_over(dirs: &Dirs, uid: &str) -> anyhow::Result<Option<Self>> {
        // Read only once nobody else writes it.
        let Some(claim) = Claim::take_over(dirs, uid)? else {
            return Ok(None);
        };
        let Record {
            pod,
            source,
            clock,
            state,
            ..
        } = Record::load(dirs, uid)?;
        let (clock, same_boot) = Clock::resume(&clock).context("cannot tell which boot this is")?;
        Ok(Some(Self {
            pod,
            source,
            clock,
            state,
            claim,
            past: match same_boot {
                true => Past::SameBoot,
                false => Past::EarlierBoot,
            },
        }))
    }

    /// Nothing was done for these Pods: new ones are forgotten, others are left as they were.
    ///
    /// # Errors
    /// When a record can't be removed.
    pub fn abandon(lives: Vec<Self>) -> Result<(), RecordError> {
        for life in lives {
            if life.past == Past::None {
                life.claim.release()?;
            }
        }
        Ok(())
    }
}
