//! `/metrics/probes`: what probes have found (`pkg/kubelet/prober/prober_manager.go`).

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;

use super::family::Family;
use super::kubelet::Metrics;
use super::scrape::Named;

pub(super) fn families(metrics: &Metrics, pods: &[Named]) -> Vec<MetricFamily> {
    let mut total = Family::counter(
        "prober_probe_total",
        "Cumulative number of a liveness, readiness or startup probe for a container by result.",
    );
    let mut seconds = Family::histogram(
        "prober_probe_duration_seconds",
        "Duration in seconds for a probe response.",
    );
    let tallies = metrics.pods.borrow();
    for pod in pods {
        let Some(tally) = tallies.get(&pod.uid) else {
            continue;
        };
        for ((container, kind), probes) in &tally.probes {
            for (result, count) in [
                ("successful", probes.successful),
                ("failed", probes.failed),
                ("unknown", probes.unknown),
            ] {
                if count > 0 {
                    #[expect(clippy::cast_precision_loss, reason = "a metric")]
                    let count = count as f64;
                    let labels = [
                        ("container", container.as_str()),
                        ("namespace", &pod.namespace),
                        ("pod", &pod.name),
                        ("pod_uid", &pod.uid),
                        ("probe_type", kind.as_str()),
                        ("result", result),
                    ];
                    total.add(&labels, count);
                }
            }
            let made = probes
                .durations
                .as_ref()
                .map(|durations| durations.collect());
            for metric in made.into_iter().flatten().flat_map(|mut f| f.take_metric()) {
                let labels = [
                    ("container", container.as_str()),
                    ("namespace", &pod.namespace),
                    ("pod", &pod.name),
                    ("probe_type", kind.as_str()),
                ];
                seconds.add_histogram(&labels, metric.get_histogram().clone());
            }
        }
    }
    [total, seconds]
        .into_iter()
        .filter_map(Family::into_proto)
        .collect()
}
