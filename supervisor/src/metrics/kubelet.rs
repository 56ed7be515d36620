//! What Carob does, counted as it does it, under a kubelet's names (`pkg/kubelet/metrics/metrics.go`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Instant;

use carob_core::action::Action;
use carob_core::event::Event;
use carob_core::pod::Pod;
use carob_core::state::PodState;
use carob_core::status::{Phase, PodStatus};
use carob_core::time::Now;
use prometheus::proto::MetricFamily;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
};

use super::tally::Tally;

/// Seconds (`prometheus.DefBuckets`).
const DURATIONS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Seconds (`podStartupDurationBuckets`).
const STARTS: &[f64] = &[
    0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0,
    300.0, 360.0, 480.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0,
];
/// Seconds that a container takes to stop.
const STOPS: &[f64] = &[
    0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];
/// Seconds until the event loop gets to what is new.
const LAGS: &[f64] = &[0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0];

const POST_START: &str = "postStart";
const PRE_STOP: &str = "preStop";

/// All that is counted.
pub struct Metrics {
    registry: Registry,
    pub(super) operations: IntCounterVec,
    pub(super) operation_errors: IntCounterVec,
    pub(super) operation_seconds: HistogramVec,
    pub(super) started_pods: IntCounter,
    pub(super) started_pod_errors: IntCounter,
    pub(super) started_containers: IntCounterVec,
    pub(super) started_container_errors: IntCounterVec,
    pub(super) pod_start: Histogram,
    pub(super) pod_start_sli: Histogram,
    pub(super) worker: HistogramVec,
    pub(super) worker_start: Histogram,
    pub(super) pull: HistogramVec,
    pub(super) fallbacks: IntCounter,
    pub(super) stop: HistogramVec,
    pub(super) hooks: HistogramVec,
    pub(super) lag: Histogram,
    pub(super) evictions: IntCounterVec,
    pub(super) eviction_age: HistogramVec,
    pub(super) pods: RefCell<BTreeMap<String, Tally>>,
}

impl Metrics {
    /// Everything at zero.
    ///
    /// # Errors
    /// When a name is used twice.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            let made = IntCounter::new(name, help)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let made = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let made =
                Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let histograms = |name: &str, help: &str, buckets: &[f64], labels: &[&str]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let made = HistogramVec::new(opts, labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        Ok(Self {
            operations: counters(
                "kubelet_runtime_operations_total",
                "Cumulative number of runtime operations by operation type.",
                &["operation_type"],
            )?,
            operation_errors: counters(
                "kubelet_runtime_operations_errors_total",
                "Cumulative number of runtime operation errors by operation type.",
                &["operation_type"],
            )?,
            operation_seconds: histograms(
                "kubelet_runtime_operations_duration_seconds",
                "Duration in seconds of runtime operations by operation type.",
                DURATIONS,
                &["operation_type"],
            )?,
            started_pods: counter(
                "kubelet_started_pods_total",
                "Cumulative number of pods started.",
            )?,
            started_pod_errors: counter(
                "kubelet_started_pods_errors_total",
                "Cumulative number of errors when starting pods.",
            )?,
            started_containers: counters(
                "kubelet_started_containers_total",
                "Cumulative number of containers started.",
                &["container_type"],
            )?,
            started_container_errors: counters(
                "kubelet_started_containers_errors_total",
                "Cumulative number of errors when starting containers.",
                &["container_type", "code"],
            )?,
            pod_start: histogram(
                "kubelet_pod_start_duration_seconds",
                "Duration in seconds from seeing a pod for the first time to all of its containers running.",
                STARTS,
            )?,
            pod_start_sli: histogram(
                "kubelet_pod_start_sli_duration_seconds",
                "The same without the time in which images were pulled.",
                STARTS,
            )?,
            worker: histograms(
                "kubelet_pod_worker_duration_seconds",
                "Duration in seconds of a single decision for a pod, with its record written, by operation type.",
                DURATIONS,
                &["operation_type"],
            )?,
            worker_start: histogram(
                "kubelet_pod_worker_start_duration_seconds",
                "Duration in seconds from seeing a pod to starting a worker.",
                DURATIONS,
            )?,
            pull: histograms(
                "kubelet_image_pull_duration_seconds",
                "Duration in seconds to pull an image.",
                &[
                    1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 180.0, 300.0, 600.0, 900.0, 1200.0, 1800.0,
                    2700.0, 3600.0,
                ],
                &["image_size_in_bytes"],
            )?,
            fallbacks: counter(
                "kubelet_lifecycle_handler_http_fallbacks_total",
                "The number of times lifecycle handlers successfully fell back to http from https.",
            )?,
            stop: histograms(
                "carob_container_stop_duration_seconds",
                "Seconds from a container's stop signal to its end: the grace time used, by whether it had to be killed.",
                STOPS,
                &["killed"],
            )?,
            hooks: histograms(
                "carob_hook_duration_seconds",
                "Seconds that lifecycle hooks took.",
                STOPS,
                &["hook", "result"],
            )?,
            lag: histogram(
                "carob_event_loop_lag_seconds",
                "Seconds until the event loop got to something new; measured at each scrape.",
                LAGS,
            )?,
            evictions: counters(
                "kubelet_evictions",
                "Cumulative number of pod evictions by eviction signal.",
                &["eviction_signal"],
            )?,
            eviction_age: histograms(
                "kubelet_eviction_stats_age_seconds",
                "Time between when stats are collected and when a pod is evicted based on those stats.",
                DURATIONS,
                &["eviction_signal"],
            )?,
            pods: RefCell::default(),
            registry,
        })
    }

    /// An action has been carried out.
    pub fn acted(&self, pod: &Pod, action: &Action, begun: Instant) {
        let seconds = begun.elapsed().as_secs_f64();
        if let Some(operation) = operation(action) {
            self.operations.with_label_values(&[operation]).inc();
            let histogram = self.operation_seconds.with_label_values(&[operation]);
            histogram.observe(seconds);
        }
        match action {
            Action::Probe {
                container, kind, ..
            } => self.tally(pod, |tally| tally.probed(container, *kind, seconds)),
            Action::PostStart { container, .. } => self.hooked(pod, container, POST_START, seconds),
            Action::PreStop { container, .. } => self.hooked(pod, container, PRE_STOP, seconds),
            _ => {}
        }
    }

    /// Something has happened to a Pod.
    pub fn happened(&self, pod: &Pod, event: &Event) {
        let failed = |operation: &str| self.operation_errors.with_label_values(&[operation]).inc();
        let kind = |name: &str| match pod.spec.init_containers.iter().any(|c| c.name == name) {
            true => "init_container",
            false => "container",
        };
        match event {
            Event::SandboxCreated { .. } => self.started_pods.inc(),
            Event::SandboxFailed { .. } => {
                failed("run_podsandbox");
                self.started_pod_errors.inc();
            }
            Event::SandboxRemoveFailed { .. } => failed("remove_podsandbox"),
            Event::PullStarted { .. } => self.tally(pod, Tally::pulls),
            Event::PostStartDone {
                container, failure, ..
            } => {
                self.tally(pod, |tally| {
                    tally.hook(container, POST_START, failure.is_none())
                });
            }
            Event::PreStopDone {
                container, failure, ..
            } => {
                self.tally(pod, |tally| {
                    tally.hook(container, PRE_STOP, failure.is_none())
                });
            }
            Event::ImageReady {
                pulled: Some(pulled),
                ..
            } => {
                self.tally(pod, Tally::pulled);
                #[expect(clippy::cast_precision_loss, reason = "a metric")]
                let seconds = pulled.took_ms as f64 / 1000.0;
                let size = size_class(pulled.bytes);
                self.pull.with_label_values(&[size]).observe(seconds);
            }
            Event::ImageFailed { .. } => failed("pull_image"),
            Event::ContainerStarted { container, .. } => {
                self.started_containers
                    .with_label_values(&[kind(container)])
                    .inc();
            }
            Event::ContainerFailed {
                container, reason, ..
            } => {
                failed("start_container");
                let labels = [kind(container), reason.as_str()];
                self.started_container_errors
                    .with_label_values(&labels)
                    .inc();
            }
            Event::ContainerRemoveFailed { .. } => failed("remove_container"),
            Event::SignalFailed { .. } => failed("stop_container"),
            Event::HookFellBack { .. } => self.fallbacks.inc(),
            Event::ContainerOom { container, .. } => self.tally(pod, |tally| tally.oom(container)),
            Event::Probed {
                container,
                kind,
                result,
                ..
            } => {
                self.tally(pod, |tally| tally.probe_result(container, *kind, *result));
            }
            _ => {}
        }
    }

    /// A decision was made for a Pod: what it waits for, and whom it ends.
    pub fn decided(
        &self,
        pod: &Pod,
        state: &PodState,
        status: &PodStatus,
        now: Now,
        begun: Instant,
    ) {
        let kind = match (status.phase, state.memory.stop) {
            (_, Some(_)) => "kill",
            (Phase::Pending, None) => "create",
            _ => "update",
        };
        let worker = self.worker.with_label_values(&[kind]);
        worker.observe(begun.elapsed().as_secs_f64());
        self.tally(pod, |tally| {
            tally.started(state, status, now, self);
            tally.decided(pod, state, now, self);
        });
    }

    /// A Pod is evicted for a signal that was seen some time ago.
    pub fn evicted(&self, signal: &str, seen: Instant) {
        self.evictions.with_label_values(&[signal]).inc();
        let age = self.eviction_age.with_label_values(&[signal]);
        age.observe(seen.elapsed().as_secs_f64());
    }

    /// The event loop was so late.
    pub fn lagged(&self, since: Instant) {
        self.lag.observe(since.elapsed().as_secs_f64());
    }

    /// Only these Pods are still there.
    pub fn forget_others(&self, is_there: impl Fn(&str) -> bool) {
        self.pods.borrow_mut().retain(|uid, _| is_there(uid));
    }

    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// One that nobody waited for to its end has no result.
    fn hooked(&self, pod: &Pod, container: &str, hook: &'static str, seconds: f64) {
        self.tally(pod, |tally| {
            let result = match tally.hooks.remove(&(container.to_owned(), hook)) {
                Some(true) => "success",
                Some(false) => "failure",
                None => "abandoned",
            };
            let histogram = self.hooks.with_label_values(&[hook, result]);
            histogram.observe(seconds);
        });
    }

    fn tally(&self, pod: &Pod, change: impl FnOnce(&mut Tally)) {
        let mut pods = self.pods.borrow_mut();
        match pods.get_mut(&pod.metadata.uid) {
            Some(tally) => change(tally),
            None => change(pods.entry(pod.metadata.uid.clone()).or_default()),
        }
    }
}

/// What a kubelet calls it; it is asked of the container runtime there.
fn operation(action: &Action) -> Option<&'static str> {
    Some(match action {
        Action::CreateSandbox { .. } => "run_podsandbox",
        Action::RemoveSandbox { .. } => "remove_podsandbox",
        Action::EnsureImage { .. } => "pull_image",
        Action::CreateContainer { .. } => "create_container",
        Action::StartContainer { .. } => "start_container",
        Action::RemoveContainer { .. } => "remove_container",
        Action::Signal { .. } => "stop_container",
        Action::Probe { .. } | Action::PostStart { .. } | Action::PreStop { .. } => return None,
    })
}

/// `GetImageSizeBucket`, `pkg/kubelet/metrics/metrics.go`.
fn size_class(bytes: u64) -> &'static str {
    const MIB: u64 = 1 << 20;
    match bytes {
        0 => "N/A",
        size if size < 10 * MIB => "0-10MB",
        size if size < 100 * MIB => "10MB-100MB",
        size if size < 500 * MIB => "100MB-500MB",
        size if size < 1024 * MIB => "500MB-1GB",
        size if size < 5 * 1024 * MIB => "1GB-5GB",
        size if size < 10 * 1024 * MIB => "5GB-10GB",
        size if size < 20 * 1024 * MIB => "10GB-20GB",
        size if size < 30 * 1024 * MIB => "20GB-30GB",
        size if size < 40 * 1024 * MIB => "30GB-40GB",
        size if size < 60 * 1024 * MIB => "40GB-60GB",
        size if size < 100 * 1024 * MIB => "60GB-100GB",
        _ => "GT100GB",
    }
}
