//! One scrape: what is asked of the Pods at that moment, read off the event loop, put into text.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;
use tokio::task::{spawn_blocking, spawn_local, yield_now};

use super::resource::{self, Layers};
use super::target::PodTarget;
use super::{cadvisor, own, pods, probes, process};
use crate::registry::{PodObject, Registry};
use crate::stats::node::Node;

/// Answers scrapes.
#[derive(Clone)]
pub struct Scrape {
    registry: Registry,
    node: Arc<Node>,
    layers: Arc<Layers>,
}

/// Who a Pod is.
pub(super) struct Named {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

impl Scrape {
    /// Of these Pods on this machine.
    pub fn new(registry: Registry, node: Arc<Node>) -> Self {
        Self {
            registry,
            node,
            layers: Arc::default(),
        }
    }

    /// The answer to a path; none when there is nothing of that name.
    ///
    /// # Errors
    /// When a family can't be encoded, or its thread has died.
    pub async fn answer(&self, path: &str) -> anyhow::Result<Option<String>> {
        let families = match path {
            "/metrics" => self.own().await,
            "/metrics/probes" => {
                let (objects, _) = self.registry.list();
                self.forget_others(&objects);
                probes::families(&self.registry.engine().metrics, &named(&objects))
            }
            "/metrics/cadvisor" => self.usage(true).await?,
            "/metrics/resource" => self.usage(false).await?,
            _ => return Ok(None),
        };
        Ok(Some(TextEncoder::new().encode_to_string(&families)?))
    }

    /// `/metrics`.
    async fn own(&self) -> Vec<MetricFamily> {
        let engine = self.registry.engine();
        let asked = Instant::now();
        // A task that is woken now runs after all that wait already.
        let _ = spawn_local(yield_now()).await;
        engine.metrics.lagged(asked);
        let (objects, _) = self.registry.list();
        self.forget_others(&objects);
        let mut families = engine.metrics.gather();
        families.extend(pods::families(&objects));
        families.extend(own::families(&engine.metrics, &named(&objects)));
        families.extend(process::families());
        let mut node = super::family::Family::gauge(
            "kubelet_node_name",
            "The node's name. The count is always 1.",
        );
        node.add(&[("node", &engine.machine.node_name)], 1.0);
        families.extend(node.into_proto());
        families
    }

    /// What Pods use.
    async fn usage(&self, all: bool) -> anyhow::Result<Vec<MetricFamily>> {
        let targets = self.targets();
        let (node, layers) = (self.node.clone(), self.layers.clone());
        #[expect(clippy::cast_precision_loss, reason = "a metric")]
        let now = Timestamp::now().as_second() as f64;
        Ok(spawn_blocking(move || {
            let read = resource::read(node.hierarchies(), targets, all.then_some(&*layers));
            match all {
                true => cadvisor::families(&read, now),
                false => resource::families(&node, &read),
            }
        })
        .await?)
    }

    /// Whose usage is read, and how often memory was short there.
    fn targets(&self) -> Vec<(PodTarget, BTreeMap<String, u64>)> {
        let engine = self.registry.engine();
        let (objects, _) = self.registry.list();
        let tallies = engine.metrics.pods.borrow();
        let ooms = |uid: &str| tallies.get(uid).map(|t| t.ooms.clone()).unwrap_or_default();
        PodTarget::all(&objects, &engine.dirs, &engine.network)
            .into_iter()
            .map(|target| {
                let ooms = ooms(&target.uid);
                (target, ooms)
            })
            .collect()
    }

    /// Counters of Pods that are gone go too.
    fn forget_others(&self, objects: &[Rc<PodObject>]) {
        let metrics = &self.registry.engine().metrics;
        let is_there = |uid: &str| objects.iter().any(|object| object.pod.metadata.uid == uid);
        metrics.forget_others(is_there);
    }
}

fn named(objects: &[Rc<PodObject>]) -> Vec<Named> {
    let name = |object: &Rc<PodObject>| {
        let meta = &object.pod.metadata;
        Named {
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
        }
    };
    objects.iter().map(name).collect()
}
