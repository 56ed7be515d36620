//! Defends the machine: looks at what is left, and ends Pods before the kernel has to. What to do is decided in
//! `carob_core::eviction`.

mod reclaim;
mod usage;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use carob_core::event::Event;
use carob_core::eviction::{
    Candidate, Config, Eviction, ImagePolicy, Manager, NodeCondition, Observations, Outlook, Signal,
};
use carob_core::time::Mono;
use tokio::task::{JoinHandle, spawn_blocking, spawn_local};

use crate::clock::Clock;
use crate::registry::{PodObject, Registry};
use crate::stats::node::Node;
use crate::stats::trigger::Trigger;
use reclaim::Images;

/// How the machine is defended.
#[derive(Debug, Clone)]
pub struct Settings {
    /// When, and how gently.
    pub config: Config,
    /// Only tell what would be done.
    pub dry_run: bool,
    /// When images go.
    pub images: ImagePolicy,
}

/// Looks on until it is dropped.
pub struct Pressure(JoinHandle<()>);

impl Drop for Pressure {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Pressure {
    /// Begins to look.
    ///
    /// # Errors
    /// When the clock can't be read or the images can't be opened.
    pub fn begin(settings: Settings, registry: Registry, node: Arc<Node>) -> anyhow::Result<Self> {
        let watcher = Watcher {
            images: Images::open(&registry.engine().dirs, settings.images)?,
            clock: Clock::new()?,
            manager: Manager::new(settings.config),
            dry_run: settings.dry_run,
            registry,
            node,
        };
        Ok(Self(spawn_local(watcher.run())))
    }
}

struct Watcher {
    registry: Registry,
    node: Arc<Node>,
    clock: Clock,
    manager: Manager,
    images: Images,
    dry_run: bool,
}

impl Watcher {
    async fn run(mut self) {
        let stalls = Trigger::pressure(self.node.hierarchies(), self.node.within());
        if let Err(error) = &stalls {
            tracing::debug!(%error, "the kernel does not tell of stalls: memory is looked at every 10 seconds");
        }
        let mut stalls = stalls.ok();
        let mut told: Vec<NodeCondition> = Vec::new();
        loop {
            // Before anything is measured: else a Pod that ends in between is taken for gone while what it used is seen.
            let pods = self.pods();
            let (seen, at) = self.observe().await;
            let outlook = self.manager.look(&seen, self.now());
            if outlook.conditions != told {
                tell(&told, &outlook.conditions);
                told.clone_from(&outlook.conditions);
                self.registry.set_conditions(told.clone());
            }
            let next = match self.act(outlook.clone(), &pods, at).await {
                true => Manager::look_after_eviction(self.now()),
                false => outlook.look_again,
            };
            // Memory may run out between two looks: the kernel tells of the stalls before.
            let broken = tokio::select! {
                () = self.clock.sleep_until(Some(next)) => false,
                woken = woken(stalls.as_ref()) => woken.is_err(),
            };
            if broken {
                stalls = None;
            }
        }
    }

    async fn observe(&self) -> (Observations, Instant) {
        let node = self.node.clone();
        let at = Instant::now();
        let seen = spawn_blocking(move || node.observe()).await;
        (seen.unwrap_or_default(), at)
    }

    /// All Pods of which something is left.
    fn pods(&self) -> Vec<Rc<PodObject>> {
        let (mut objects, _) = self.registry.list();
        objects.retain(|object| {
            let is_over = object.status.phase.is_terminal();
            !is_over || self.registry.is_ending(&object.pod.metadata.uid)
        });
        objects
    }

    /// Does what is to be done; true when someone was evicted.
    async fn act(&mut self, mut outlook: Outlook, live: &[Rc<PodObject>], at: Instant) -> bool {
        let dedicated = self.node.has_dedicated_imagefs();
        self.images.look(live, self.now());
        let limited = live
            .iter()
            .any(|object| Manager::watches_disk_of(&object.pod));
        if outlook.starved().is_none() {
            self.images
                .collect(&self.node, self.now(), self.dry_run)
                .await;
            if !limited {
                return false;
            }
        }
        if let Some((met, resource)) = outlook.starved() {
            let threshold = met.threshold.to_string();
            tracing::warn!(
                threshold,
                "EvictionThresholdMet: Attempting to reclaim {}",
                resource.as_str()
            );
            if outlook.reclaims_images(dedicated) {
                self.images.remove_all(self.now(), self.dry_run).await;
                let (seen, _) = self.observe().await;
                if self.manager.reclaimed(&seen) {
                    return false;
                }
                outlook = self.manager.look(&seen, self.now());
            }
        }
        let disk = outlook
            .starved()
            .is_some_and(|(met, _)| is_disk(met.threshold.signal));
        let usages = usage::measure(&self.registry, &self.node, live, disk).await;
        let candidates: Vec<_> = live
            .iter()
            .zip(usages)
            .map(|(object, usage)| Candidate {
                pod: &object.pod,
                usage,
            })
            .collect();
        let evictions = self
            .manager
            .evict(&outlook, &candidates, dedicated, self.now());
        for eviction in &evictions {
            self.evict(eviction, at);
        }
        !evictions.is_empty()
    }

    fn evict(&self, eviction: &Eviction, seen: Instant) {
        let name = self
            .registry
            .by_uid(&eviction.uid)
            .map(|o| o.full_name())
            .unwrap_or_default();
        if self.dry_run {
            tracing::warn!(
                signal = eviction.signal,
                "dry run: Pod {name} would be evicted: {}",
                eviction.message
            );
            return;
        }
        tracing::warn!(
            signal = eviction.signal,
            "Pod {name} is evicted: {}",
            eviction.message
        );
        let event = Event::Evict {
            message: eviction.message.clone(),
            grace_seconds: eviction.grace_seconds,
            disruption: eviction.disruption,
            rejected: false,
        };
        if self.registry.tell_pod(&eviction.uid, event) {
            let metrics = &self.registry.engine().metrics;
            metrics.evicted(eviction.signal, seen);
        }
    }

    fn now(&self) -> Mono {
        self.clock.now().mono
    }
}

fn is_disk(signal: Signal) -> bool {
    matches!(
        signal,
        Signal::NodefsAvailable
            | Signal::NodefsInodesFree
            | Signal::ImagefsAvailable
            | Signal::ImagefsInodesFree
    )
}

async fn woken(trigger: Option<&Trigger>) -> std::io::Result<()> {
    match trigger {
        Some(trigger) => trigger.wait().await,
        None => std::future::pending().await,
    }
}

fn tell(before: &[NodeCondition], after: &[NodeCondition]) {
    for condition in after.iter().filter(|c| !before.contains(c)) {
        tracing::warn!("the machine has the condition {}", condition.as_str());
    }
    for condition in before.iter().filter(|c| !after.contains(c)) {
        tracing::info!(
            "the machine no longer has the condition {}",
            condition.as_str()
        );
    }
}
