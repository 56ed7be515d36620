//! What nobody else exports: what containers wait for, and why they were ended.

use std::time::Instant;

use prometheus::proto::MetricFamily;

use super::family::Family;
use super::kubelet::Metrics;
use super::scrape::Named;

pub(super) fn families(metrics: &Metrics, pods: &[Named]) -> Vec<MetricFamily> {
    let mut build = Family::gauge(
        "carob_build_info",
        "A metric with the value 1 and the version of Carob.",
    );
    build.add(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let mut backoff = Family::gauge(
        "carob_container_backoff_seconds",
        "Seconds until a container is tried again, by what failed: its runs (crash), its image or its creation.",
    );
    let mut kills = Family::counter(
        "carob_container_kills_total",
        "How often a container was ended by Carob, by the reason.",
    );
    let tallies = metrics.pods.borrow();
    let now = Instant::now();
    for pod in pods {
        let Some(tally) = tallies.get(&pod.uid) else {
            continue;
        };
        let labels = |container, name, value| {
            [
                ("namespace", pod.namespace.as_str()),
                ("pod", &pod.name),
                ("uid", &pod.uid),
                ("container", container),
                (name, value),
            ]
        };
        for (container, what, until) in &tally.backoffs {
            let left = until.saturating_duration_since(now).as_secs_f64();
            backoff.add(&labels(container, "cause", what), left);
        }
        for ((container, why), count) in &tally.kills {
            #[expect(clippy::cast_precision_loss, reason = "a metric")]
            let count = *count as f64;
            kills.add(&labels(container, "reason", why), count);
        }
    }
    [build, backoff, kills]
        .into_iter()
        .filter_map(Family::into_proto)
        .collect()
}
