//! A Pod that is to be run here: a new one, or one that a supervisor that was killed has left.

mod start;

use anyhow::Context;
use carob_core::config::ObjectSet;
use carob_core::pod::Pod;
use carob_core::registry::Origin;
use carob_core::state::PodState;

pub use start::{Inbox, remove_logs};

use crate::backend::Home;
use crate::clock::Clock;
use crate::dirs::Dirs;
pub use crate::executor::Source;
use crate::executor::Streams;
use crate::failpoint::boundary;
use crate::record::{AtEnd, Claim, Ended, Record, RecordError, View};

/// All that an actor needs to begin or to go on. While it lasts nobody else runs the Pod.
pub struct Life {
    /// The Pod.
    pub pod: Pod,
    /// Where its containers come from.
    pub source: Source,
    /// Where its containers are.
    pub home: Home,
    /// Its clock.
    pub clock: Clock,
    /// Where its decisions are.
    pub state: PodState,
    /// The right to run it.
    pub claim: Claim,
    /// Whether it has begun before.
    pub past: Past,
    /// Who asked for it.
    pub origin: Origin,
    /// The ConfigMaps and Secrets that it brings.
    pub objects: ObjectSet,
    /// How it ended, when it is through: then there is nothing to run.
    pub ended: Option<Ended>,
    /// Set when it was being ended with the machine.
    pub shutdown: Option<AtEnd>,
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

/// Why a Pod can't begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// Its clock can't be had.
    #[error("cannot tell which boot this is: {0}")]
    Boot(std::io::Error),
    /// It can't be claimed.
    #[error(transparent)]
    Record(#[from] RecordError),
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
    pub fn begin(
        dirs: &Dirs,
        pod: Pod,
        source: Source,
        origin: Origin,
        home: &Home,
    ) -> Result<Self, BeginError> {
        let clock = Clock::new().map_err(BeginError::Boot)?;
        let state = PodState::new(&pod, clock.now());
        boundary();
        let claim = Claim::new(
            dirs,
            &View::new(&pod, &source, origin, home, clock.mark(), &state),
        )?;
        boundary();
        Ok(Self {
            pod,
            source,
            home: home.clone(),
            clock,
            state,
            claim,
            past: Past::None,
            origin,
            objects: ObjectSet::default(),
            ended: None,
            shutdown: None,
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
            home,
            clock,
            state,
            origin,
            ended,
            shutdown,
        } = Record::load(dirs, uid)?;
        let objects = claim.objects()?;
        let (clock, same_boot) = Clock::resume(&clock).context("cannot tell which boot this is")?;
        Ok(Some(Self {
            pod,
            source,
            home,
            clock,
            state,
            claim,
            past: match same_boot {
                true => Past::SameBoot,
                false => Past::EarlierBoot,
            },
            origin,
            objects,
            ended,
            shutdown,
        }))
    }

    /// Gives the Pod those ConfigMaps and Secrets that it refers to, also for whoever goes on with it.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn bring(&mut self, objects: &ObjectSet) -> Result<(), RecordError> {
        self.objects = objects.of_pod(&self.pod);
        self.claim.keep_objects(&self.objects)
    }

    /// Why nobody can go on with a Pod that was taken over; none when someone can.
    pub fn cannot_go_on(&self, home: &Home) -> Option<String> {
        let why = match (&self.source, &self.ended) {
            (_, Some(_)) => Some("it is through"),
            (Source::Bundles(_, Streams::Pipes(_)), None) => {
                Some("its output went to the supervisor that was killed and nowhere else")
            }
            _ if self.home != *home => {
                let options = self.home.options();
                return Some(format!("its containers are elsewhere (give {options})"));
            }
            _ => None,
        };
        why.map(str::to_owned)
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
