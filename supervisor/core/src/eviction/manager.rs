//! What to do about what was seen: one look at a time (`synchronize`, eviction_manager.go).

use std::collections::BTreeMap;

use super::signal::{Observation, Observations, Resource, Signal};
use super::storage::{IMMEDIATE_GRACE_SECONDS, has_limits};
use super::threshold::Threshold;
use super::usage::Candidate;
use super::{Eviction, message, over_limits, rank};
use crate::pod::Pod;
use crate::time::Mono;

/// Milliseconds between two looks: of disk and process IDs no kernel tells (`evictionMonitoringPeriod`, kubelet.go).
const LOOK_MS: u64 = 10_000;
/// The same while an evicted Pod ends (`podCleanupPollFreq`).
const ENDING_LOOK_MS: u64 = 1_000;
/// Milliseconds after which an evicted Pod that is still there no longer holds up the next (`podCleanupTimeout`).
const ENDING_MAX_MS: u64 = 30_000;

/// How the machine is to be defended.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What is answered.
    pub thresholds: Vec<Threshold>,
    /// Seconds that a Pod gets at most to end when a soft threshold is met (`evictionMaxPodGracePeriod`).
    pub max_pod_grace_seconds: u64,
    /// Milliseconds that a condition stays after the last crossing (`evictionPressureTransitionPeriod`).
    pub transition_ms: u64,
}

impl Config {
    /// `evictionPressureTransitionPeriod` by default.
    pub const TRANSITION_MS: u64 = 300_000;
}

/// A condition of the machine (`v1.NodeConditionType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeCondition {
    /// Memory is short.
    MemoryPressure,
    /// Space or inodes are.
    DiskPressure,
    /// Process IDs are.
    PidPressure,
}

impl NodeCondition {
    /// As Kubernetes names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MemoryPressure => "MemoryPressure",
            Self::DiskPressure => "DiskPressure",
            Self::PidPressure => "PIDPressure",
        }
    }
}

/// Remembers what was crossed since when. Thresholds are named by their place in the configuration.
#[derive(Debug, Clone)]
pub struct Manager {
    config: Config,
    /// Crossed, or not yet reclaimed far enough, since.
    since: BTreeMap<usize, Mono>,
    /// Those whose grace period is over: they stay until the minimum reclaim is reached as well.
    met: Vec<usize>,
    /// When a condition was last given.
    conditions: BTreeMap<NodeCondition, Mono>,
    /// The Pods that were evicted last, and when.
    ending: Option<(Vec<String>, Mono)>,
}

/// A threshold that is crossed.
#[derive(Debug, Clone, PartialEq)]
pub struct Met {
    /// Which.
    pub threshold: Threshold,
    /// What was seen.
    pub seen: Observation,
    /// Since when.
    pub since: Mono,
    /// True once its grace period is over.
    pub acts: bool,
}

/// What a look has shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// The machine's conditions, in order.
    pub conditions: Vec<NodeCondition>,
    /// All thresholds that are crossed, those on memory first: the first that acts and has a resource is answered.
    pub met: Vec<Met>,
    /// When to look again at the latest.
    pub look_again: Mono,
}

impl Outlook {
    /// What is to be reclaimed; none when all is well or only time is asked for.
    pub fn starved(&self) -> Option<(&Met, Resource)> {
        let acting = self.met.iter().filter(|met| met.acts);
        let mut reclaimable =
            acting.filter_map(|met| Some((met, met.threshold.signal.resource()?)));
        reclaimable.next()
    }

    /// True when unused images and dead containers are to be removed before any Pod: what is short lies where they do.
    pub fn reclaims_images(&self, dedicated_imagefs: bool) -> bool {
        self.starved()
            .is_some_and(|(met, _)| match met.threshold.signal {
                Signal::ImagefsAvailable | Signal::ImagefsInodesFree => true,
                Signal::NodefsAvailable | Signal::NodefsInodesFree => !dedicated_imagefs,
                _ => false,
            })
    }
}

impl Manager {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            since: BTreeMap::new(),
            met: Vec::new(),
            conditions: BTreeMap::new(),
            ending: None,
        }
    }

    /// How it was configured.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Takes in what was seen.
    pub fn look(&mut self, seen: &Observations, now: Mono) -> Outlook {
        let crossed: Vec<_> = (0..self.config.thresholds.len())
            .filter(|&index| self.crossed(index, seen, self.met.contains(&index)))
            .collect();
        self.since.retain(|index, _| crossed.contains(index));
        for &index in &crossed {
            self.since.entry(index).or_insert(now);
            if let Some(condition) = self.config.thresholds[index].signal.condition() {
                self.conditions.insert(condition, now);
            }
        }
        let lingers = self.config.transition_ms;
        self.conditions
            .retain(|_, &mut last| last == now || now.since(last) < lingers);
        let over =
            |index: &usize| now.since(self.since[index]) >= self.config.thresholds[*index].grace_ms;
        self.met = crossed.iter().copied().filter(over).collect();
        Outlook {
            conditions: self.conditions.keys().copied().collect(),
            met: self.all_met(seen),
            look_again: self.look_again(now),
        }
    }

    /// True when what was seen after images were removed is enough: no threshold is crossed, with its minimum reclaim.
    pub fn reclaimed(&self, seen: &Observations) -> bool {
        !(0..self.config.thresholds.len()).any(|index| {
            let acts = self.config.thresholds[index].signal.resource().is_some();
            acts && self.crossed(index, seen, true)
        })
    }

    /// Whether the disk usage of this Pod must be known at each look.
    pub fn watches_disk_of(pod: &Pod) -> bool {
        has_limits(pod)
    }

    /// Who goes now. Pods above their own limits all at once; else one Pod, and none while the last one still ends.
    pub fn evict(
        &mut self,
        outlook: &Outlook,
        candidates: &[Candidate<'_>],
        dedicated_imagefs: bool,
        now: Mono,
    ) -> Vec<Eviction> {
        if let Some((uids, at)) = &self.ending {
            let there = candidates
                .iter()
                .any(|c| uids.contains(&c.pod.metadata.uid));
            if there && now.since(*at) < ENDING_MAX_MS {
                return Vec::new();
            }
            self.ending = None;
        }
        let mut evictions = over_limits(candidates, dedicated_imagefs);
        if evictions.is_empty() {
            evictions.extend(self.first(outlook, candidates, dedicated_imagefs));
        }
        if !evictions.is_empty() {
            let uids = evictions.iter().map(|e| e.uid.clone()).collect();
            self.ending = Some((uids, now));
        }
        evictions
    }

    /// When to look again while evicted Pods end.
    pub fn look_after_eviction(now: Mono) -> Mono {
        now.plus_ms(ENDING_LOOK_MS)
    }

    /// The first in rank that is not critical.
    fn first(
        &self,
        outlook: &Outlook,
        candidates: &[Candidate<'_>],
        dedicated_imagefs: bool,
    ) -> Option<Eviction> {
        let (met, resource) = outlook.starved()?;
        let signal = met.threshold.signal;
        let ranks = rank(candidates, signal, dedicated_imagefs);
        let first = ranks.iter().find(|rank| !rank.critical)?;
        let candidate = &candidates[first.candidate];
        let own = candidate.pod.spec.termination_grace_period_seconds;
        Some(Eviction {
            uid: candidate.pod.metadata.uid.clone(),
            signal: signal.as_str(),
            message: message::low(resource, &met.threshold, met.seen, candidate),
            grace_seconds: match met.threshold.is_hard() {
                true => IMMEDIATE_GRACE_SECONDS,
                false => own
                    .min(self.config.max_pod_grace_seconds)
                    .max(IMMEDIATE_GRACE_SECONDS),
            },
            disruption: true,
        })
    }

    fn crossed(&self, index: usize, seen: &Observations, reclaiming: bool) -> bool {
        let threshold = &self.config.thresholds[index];
        seen.get(&threshold.signal)
            .is_some_and(|&seen| threshold.crossed(seen, reclaiming))
    }

    fn all_met(&self, seen: &Observations) -> Vec<Met> {
        let met = self.since.iter().filter_map(|(index, &since)| {
            let threshold = &self.config.thresholds[*index];
            Some(Met {
                threshold: threshold.clone(),
                seen: *seen.get(&threshold.signal)?,
                since,
                acts: self.met.contains(index),
            })
        });
        let mut met: Vec<Met> = met.collect();
        // Stable: within a resource the hard ones are first, as they are configured first.
        met.sort_by_key(|met| met.threshold.signal.resource() != Some(Resource::Memory));
        met
    }

    /// The next look as usual, or when a grace period or the lingering of a condition is over.
    fn look_again(&self, now: Mono) -> Mono {
        let graces = self
            .since
            .iter()
            .map(|(index, since)| since.plus_ms(self.config.thresholds[*index].grace_ms));
        let lingering = self.conditions.values();
        let lingering = lingering.map(|last| last.plus_ms(self.config.transition_ms));
        graces
            .chain(lingering)
            .filter(|&at| at > now)
            .fold(now.plus_ms(LOOK_MS), Mono::min)
    }
}
