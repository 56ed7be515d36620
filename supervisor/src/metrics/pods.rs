//! The state of Pods, under kube-state-metrics' names (`docs/metrics/workload/pod-metrics.md` there).

use std::rc::Rc;

use carob_core::pod::{Container, QosClass};
use carob_core::registry::Origin;
use carob_core::status::{ConditionStatus, ContainerStatus, Phase};
use jiff::Timestamp;
use prometheus::proto::MetricFamily;

use super::family::Family;
use crate::registry::PodObject;

/// All phases: a series each, as dashboards expect.
const PHASES: [(&str, Phase); 4] = [
    ("Pending", Phase::Pending),
    ("Succeeded", Phase::Succeeded),
    ("Failed", Phase::Failed),
    ("Running", Phase::Running),
];

struct Row<'a> {
    object: &'a PodObject,
    base: [(&'a str, &'a str); 3],
}

impl<'a> Row<'a> {
    fn new(object: &'a PodObject) -> Self {
        let meta = &object.pod.metadata;
        let base = [
            ("namespace", meta.namespace.as_str()),
            ("pod", &meta.name),
            ("uid", &meta.uid),
        ];
        Self { object, base }
    }

    fn labels(&self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        [&self.base, more].concat()
    }
}

pub(super) fn families(pods: &[Rc<PodObject>]) -> Vec<MetricFamily> {
    let rows: Vec<Row<'_>> = pods.iter().map(|object| Row::new(object)).collect();
    let mut families = whole(&rows);
    families.extend(running(&rows));
    for init in [false, true] {
        let prefix = if init {
            "kube_pod_init_container"
        } else {
            "kube_pod_container"
        };
        families.extend(containers(&rows, prefix, init));
    }
    families
        .into_iter()
        .filter_map(Family::into_proto)
        .collect()
}

fn whole(rows: &[Row<'_>]) -> Vec<Family> {
    let mut info = Family::gauge("kube_pod_info", "Information about pod.");
    let mut owner = Family::gauge("kube_pod_owner", "Information about the Pod's owner.");
    let mut phase = Family::gauge("kube_pod_status_phase", "The pods current phase.");
    let mut ready = Family::gauge(
        "kube_pod_status_ready",
        "Describes whether the pod is ready to serve requests.",
    );
    let mut reason = Family::gauge("kube_pod_status_reason", "The pod status reasons.");
    let mut qos = Family::gauge("kube_pod_status_qos_class", "The pods current qosClass.");
    let mut created = Family::gauge("kube_pod_created", "Unix creation timestamp.");
    let mut started = Family::gauge(
        "kube_pod_start_time",
        "Start time in unix timestamp for a pod.",
    );
    let mut deleted = Family::gauge("kube_pod_deletion_timestamp", "Unix deletion timestamp.");
    let mut policy = Family::gauge(
        "kube_pod_restart_policy",
        "Describes the restart policy in use by this pod.",
    );
    for row in rows {
        let (object, status) = (row.object, &row.object.status);
        let ip = |ip: Option<std::net::IpAddr>| ip.map(|ip| ip.to_string()).unwrap_or_default();
        let (host_ip, pod_ip) = (ip(status.host_ip), ip(status.pod_ip));
        let priority = object.pod.spec.priority.to_string();
        let (kind, name) = match object.origin {
            // As kube-state-metrics shows a kubelet's static Pods.
            Origin::File => ("Node", &*object.node_name),
            _ => ("<none>", "<none>"),
        };
        let network = if object.pod.spec.host_network {
            "true"
        } else {
            "false"
        };
        info.add(
            &row.labels(&[
                ("host_ip", &host_ip),
                ("pod_ip", &pod_ip),
                ("node", &object.node_name),
                ("created_by_kind", kind),
                ("created_by_name", name),
                ("priority_class", &priority),
                ("host_network", network),
            ]),
            1.0,
        );
        owner.add(
            &row.labels(&[
                ("owner_kind", kind),
                ("owner_name", name),
                ("owner_is_controller", "true"),
            ]),
            1.0,
        );
        for (name, value) in PHASES {
            phase.add(&row.labels(&[("phase", name)]), flag(status.phase == value));
        }
        let is_ready = status.conditions.iter().find(|c| c.kind == "Ready");
        let is_ready = is_ready.map(|c| c.status);
        for (name, value) in [
            ("true", Some(ConditionStatus::True)),
            ("false", Some(ConditionStatus::False)),
            ("unknown", None),
        ] {
            ready.add(&row.labels(&[("condition", name)]), flag(is_ready == value));
        }
        for name in [
            "Evicted",
            "NodeAffinity",
            "NodeLost",
            "Shutdown",
            "UnexpectedAdmissionError",
        ] {
            reason.add(
                &row.labels(&[("reason", name)]),
                flag(status.reason.as_deref() == Some(name)),
            );
        }
        for (name, value) in [
            ("BestEffort", QosClass::BestEffort),
            ("Burstable", QosClass::Burstable),
            ("Guaranteed", QosClass::Guaranteed),
        ] {
            qos.add(
                &row.labels(&[("qos_class", name)]),
                flag(status.qos_class == value),
            );
        }
        created.add(&row.labels(&[]), seconds(object.created));
        started.add(&row.labels(&[]), seconds(status.start_time.0));
        if let Some(deletion) = object.deletion {
            deleted.add(&row.labels(&[]), seconds(deletion.at));
        }
        let name = format!("{:?}", object.pod.spec.restart_policy);
        policy.add(&row.labels(&[("type", &name)]), 1.0);
    }
    vec![
        info, owner, phase, ready, reason, qos, created, started, deleted, policy,
    ]
}

/// A kubelet's own two (`pkg/kubelet/metrics/metrics.go`).
fn running(rows: &[Row<'_>]) -> Vec<Family> {
    let mut pods = Family::gauge(
        "kubelet_running_pods",
        "Number of pods that have a running pod sandbox.",
    );
    let mut containers = Family::gauge(
        "kubelet_running_containers",
        "Number of containers currently running.",
    );
    let sandbox = |row: &&Row<'_>| {
        let conditions = &row.object.status.conditions;
        let made = conditions
            .iter()
            .find(|c| c.kind == "PodReadyToStartContainers");
        made.is_some_and(|c| c.status == ConditionStatus::True)
    };
    #[expect(clippy::cast_precision_loss, reason = "a metric")]
    let count = |n: usize| n as f64;
    pods.add(&[], count(rows.iter().filter(sandbox).count()));
    let statuses = || {
        rows.iter().flat_map(|row| {
            let status = &row.object.status;
            status
                .init_container_statuses
                .iter()
                .chain(&status.container_statuses)
        })
    };
    let running = statuses().filter(|s| s.state.running.is_some()).count();
    let exited = statuses().filter(|s| s.state.terminated.is_some()).count();
    containers.add(&[("container_state", "running")], count(running));
    containers.add(&[("container_state", "exited")], count(exited));
    vec![pods, containers]
}

fn containers(rows: &[Row<'_>], prefix: &str, init: bool) -> Vec<Family> {
    let gauge = |name: &str, help: &str| Family::gauge(&format!("{prefix}_{name}"), help);
    let mut info = gauge("info", "Information about a container in a pod.");
    let mut running = gauge(
        "status_running",
        "Describes whether the container is currently in running state.",
    );
    let mut waiting = gauge(
        "status_waiting",
        "Describes whether the container is currently in waiting state.",
    );
    let mut waiting_reason = gauge(
        "status_waiting_reason",
        "Describes the reason the container is currently in waiting state.",
    );
    let mut terminated = gauge(
        "status_terminated",
        "Describes whether the container is currently in terminated state.",
    );
    let mut terminated_reason = gauge(
        "status_terminated_reason",
        "Describes the reason the container is currently in terminated state.",
    );
    let mut last_reason = gauge(
        "status_last_terminated_reason",
        "Describes the last reason the container was in terminated state.",
    );
    let mut last_code = gauge(
        "status_last_terminated_exitcode",
        "Describes the exit code for the last container in terminated state.",
    );
    let mut last_time = gauge(
        "status_last_terminated_timestamp",
        "Last terminated time for a pod container in unix timestamp.",
    );
    let mut ready = gauge(
        "status_ready",
        "Describes whether the containers readiness check succeeded.",
    );
    let mut started = gauge(
        "state_started",
        "Start time in unix timestamp for a pod container.",
    );
    let mut restarts = Family::counter(
        &format!("{prefix}_status_restarts_total"),
        "The number of container restarts per container.",
    );
    let mut requests = gauge(
        "resource_requests",
        "The number of requested request resource by a container.",
    );
    let mut limits = gauge(
        "resource_limits",
        "The number of requested limit resource by a container.",
    );
    for row in rows {
        let (spec, status) = (&row.object.pod.spec, &row.object.status);
        let (specs, statuses) = match init {
            true => (&spec.init_containers, &status.init_container_statuses),
            false => (&spec.containers, &status.container_statuses),
        };
        for status in statuses {
            let labels = |more: &[(&'static str, &str)]| -> Vec<(&str, String)> {
                let base = row.labels(&[("container", &status.name)]);
                let all = base.into_iter().chain(more.iter().copied());
                all.map(|(name, value)| (name, value.to_owned())).collect()
            };
            let put = |family: &mut Family, more: &[(&'static str, &str)], value| {
                let owned = labels(more);
                let borrowed: Vec<_> = owned.iter().map(|(n, v)| (*n, v.as_str())).collect();
                family.add(&borrowed, value);
            };
            let image_spec = specs
                .iter()
                .find(|c| c.name == status.name)
                .map_or("", |c| &c.image);
            put(
                &mut info,
                &[
                    ("image", &status.image),
                    ("image_spec", image_spec),
                    ("image_id", &status.image_id),
                    (
                        "container_id",
                        status.container_id.as_deref().unwrap_or_default(),
                    ),
                ],
                1.0,
            );
            let state = &status.state;
            put(&mut running, &[], flag(state.running.is_some()));
            put(&mut waiting, &[], flag(state.waiting.is_some()));
            put(&mut terminated, &[], flag(state.terminated.is_some()));
            put(&mut ready, &[], flag(status.ready));
            put(&mut restarts, &[], f64::from(status.restart_count));
            if let Some(waits) = &state.waiting {
                put(&mut waiting_reason, &[("reason", &waits.reason)], 1.0);
            }
            if let Some(end) = &state.terminated {
                put(&mut terminated_reason, &[("reason", &end.reason)], 1.0);
            }
            if let Some(at) = begun(status) {
                put(&mut started, &[], seconds(at));
            }
            if let Some(last) = &status.last_state.terminated {
                put(&mut last_reason, &[("reason", &last.reason)], 1.0);
                put(&mut last_code, &[], f64::from(last.exit_code));
                if let Some(at) = last.finished_at {
                    put(&mut last_time, &[], seconds(at.0));
                }
            }
        }
        for container in specs {
            resources(&mut requests, row, container, false);
            resources(&mut limits, row, container, true);
        }
    }
    vec![
        info,
        running,
        waiting,
        waiting_reason,
        terminated,
        terminated_reason,
        last_reason,
        last_code,
        last_time,
        ready,
        started,
        restarts,
        requests,
        limits,
    ]
}

/// Cores for the CPU, bytes for all else that has a size; names as kube-state-metrics cleans them.
fn resources(family: &mut Family, row: &Row<'_>, container: &Container, limits: bool) {
    let list = match limits {
        true => &container.resources.limits,
        false => &container.resources.requests,
    };
    for (name, amount) in list {
        #[expect(clippy::cast_precision_loss, reason = "a metric")]
        let (unit, value) = match name.as_str() {
            "cpu" => ("core", amount.milli_value() as f64 / 1000.0),
            _ => ("byte", amount.value() as f64),
        };
        let resource = name.replace(['-', '.', '/'], "_");
        let labels = row.labels(&[
            ("container", &container.name),
            ("node", &row.object.node_name),
            ("resource", &resource),
            ("unit", unit),
        ]);
        family.add(&labels, value);
    }
}

fn begun(status: &ContainerStatus) -> Option<Timestamp> {
    let state = &status.state;
    let running = state.running.as_ref().map(|r| r.started_at.0);
    running.or_else(|| state.terminated.as_ref()?.started_at.map(|at| at.0))
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "a metric")]
fn seconds(at: Timestamp) -> f64 {
    at.as_second() as f64
}
