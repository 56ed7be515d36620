//! What the outside sees of a Pod: Kubernetes' own `PodStatus`, generated from the state as a kubelet
//! generates it.

mod condition;
mod container;
mod event_log;
mod phase;
mod pod_event;
mod time;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use condition::{ConditionStatus, PodCondition};
pub use container::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus,
};
pub use event_log::{EventLog, LoggedEvent};
pub use pod_event::{EventType, PodEvent};
pub use time::Time;

use crate::pod::{Pod, QosClass};
use crate::state::{Evicted, Memory, Observed, StopCause};
use crate::time::Now;

/// Message of a Pod that outlived its `activeDeadlineSeconds` (active_deadline.go).
pub(crate) const DEADLINE_MESSAGE: &str =
    "Pod was active on the node longer than the specified deadline";

/// `v1.PodStatus`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// Where in its life the Pod is.
    pub phase: Phase,
    /// In a kubelet's order.
    pub conditions: Vec<PodCondition>,
    /// Why the Pod is in its phase, for people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
    /// The same in a word, such as `DeadlineExceeded`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// The machine's main address.
    #[serde(rename = "hostIP", skip_serializing_if = "Option::is_none", default)]
    pub host_ip: Option<IpAddr>,
    /// All of the machine's.
    #[serde(rename = "hostIPs", skip_serializing_if = "Vec::is_empty", default)]
    pub host_ips: Vec<Ip>,
    /// The Pod's main address.
    #[serde(rename = "podIP", skip_serializing_if = "Option::is_none", default)]
    pub pod_ip: Option<IpAddr>,
    /// All of the Pod's.
    #[serde(rename = "podIPs", skip_serializing_if = "Vec::is_empty", default)]
    pub pod_ips: Vec<Ip>,
    /// When the Pod was accepted.
    pub start_time: Time,
    /// In the order of the manifest.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub init_container_statuses: Vec<ContainerStatus>,
    /// Sorted by name, as a kubelet sorts them.
    pub container_statuses: Vec<ContainerStatus>,
    /// How the Pod is ranked when memory is short.
    pub qos_class: QosClass,
}

impl PodStatus {
    /// The Pod has failed, and why: of one that was ended for a reason of the machine's.
    pub fn fail(&mut self, reason: &str, message: &str) {
        self.phase = Phase::Failed;
        self.reason = Some(reason.to_owned());
        self.message = Some(message.to_owned());
    }
}

/// `v1.PodIP` and `v1.HostIP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// The address.
    pub ip: IpAddr,
}

/// `status.phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Not all of its containers have been started.
    Pending,
    /// All were, and at least one runs or will again.
    Running,
    /// All ended well and stay so.
    Succeeded,
    /// All ended, at least one not well; or the Pod was failed.
    Failed,
}

impl Phase {
    /// True when the Pod never leaves it.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// Generates the status, noting in `memory` since when each condition is as it is and the final phase.
/// A Pod that is `gone` is in a terminal phase, and so are its containers (`TerminatePod`,
/// status_manager.go).
pub(crate) fn generate(
    pod: &Pod,
    observed: &Observed,
    memory: &mut Memory,
    gone: bool,
    now: Now,
) -> PodStatus {
    let mut init_container_statuses: Vec<_> = pod
        .spec
        .init_containers
        .iter()
        .map(|c| container::status(pod, c, observed, memory))
        .collect();
    let mut container_statuses: Vec<_> = pod
        .spec
        .containers
        .iter()
        .map(|c| container::status(pod, c, observed, memory))
        .collect();
    if gone {
        container::close(&mut init_container_statuses, &mut container_statuses);
    }
    let mut phase = phase::phase(
        pod,
        &init_container_statuses,
        &container_statuses,
        observed,
        memory,
    );
    if gone && !phase.is_terminal() {
        phase = Phase::Failed;
    }
    if phase.is_terminal() {
        memory.final_phase = Some(phase);
    }
    let conditions = condition::generate(
        pod,
        &init_container_statuses,
        &container_statuses,
        phase,
        observed,
        memory,
        now,
    );
    container_statuses.sort_by(|a, b| a.name.cmp(&b.name));
    let (reason, message) = why(memory).unzip();
    let list = |ips: &[IpAddr]| ips.iter().map(|&ip| Ip { ip }).collect();
    PodStatus {
        phase,
        conditions,
        message,
        reason,
        host_ip: observed.host_ips.first().copied(),
        host_ips: list(&observed.host_ips),
        pod_ip: observed.pod_ips.first().copied(),
        pod_ips: list(&observed.pod_ips),
        start_time: Time(memory.start_time),
        init_container_statuses,
        container_statuses,
        qos_class: QosClass::of(&pod.spec),
    }
}

/// Why the Pod as a whole was failed, in a word and for people.
fn why(memory: &Memory) -> Option<(String, String)> {
    match memory.stop?.cause {
        StopCause::DeadlineExceeded => {
            Some(("DeadlineExceeded".to_owned(), DEADLINE_MESSAGE.to_owned()))
        }
        StopCause::Evicted => {
            let evicted = memory.eviction.as_ref()?;
            Some((Evicted::REASON.to_owned(), evicted.status_message()))
        }
        _ => None,
    }
}
