//! What the status of an evicted Pod says, word for word as a kubelet's (the `…Fmt` of helpers.go).

use super::amount::{Form, text};
use super::signal::{Observation, Resource};
use super::threshold::Threshold;
use super::usage::Candidate;
use crate::pod::Quantity;

/// For a Pod that goes because the machine is short of something.
pub(super) fn low(
    resource: Resource,
    threshold: &Threshold,
    seen: Observation,
    candidate: &Candidate<'_>,
) -> String {
    let mut message = format!("The node was low on resource: {}. ", resource.as_str());
    let limit = threshold.limit_text(seen.capacity);
    let left = match threshold.signal.is_pressure() {
        true => "stalled",
        false => "available",
    };
    let available = threshold.amount_text(seen.available);
    message += &format!("Threshold quantity: {limit}, {left}: {available}. ");
    let Some(usage) = &candidate.usage else {
        return message;
    };
    let spec = &candidate.pod.spec;
    for container in spec.containers.iter().chain(&spec.init_containers) {
        let Some(used) = usage.containers.get(&container.name) else {
            continue;
        };
        let used = match resource {
            Resource::Memory => used.memory,
            Resource::EphemeralStorage => (used.rootfs + used.logs).bytes,
            Resource::Inodes | Resource::Pids => continue,
        };
        let used = i64::try_from(used).unwrap_or(i64::MAX);
        let request = container.resources.requests.get(resource.as_str());
        if used > request.map_or(0, Quantity::value) {
            message += &format!(
                "Container {} was using {}, request is {}, has larger consumption of {}. ",
                container.name,
                text(used, Form::Binary),
                request.map_or_else(|| "0".to_owned(), quantity),
                resource.as_str(),
            );
        }
    }
    message
}

pub(super) fn empty_dir(volume: &str, limit: &str) -> String {
    format!("Usage of EmptyDir volume \"{volume}\" exceeds the limit \"{limit}\". ")
}

pub(super) fn pod_storage(limit: &str) -> String {
    format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. ")
}

pub(super) fn container_storage(container: &str, limit: &str) -> String {
    format!("Container {container} exceeded its local ephemeral storage limit \"{limit}\". ")
}

/// A quantity in the form in which it was written, with the suffix that Kubernetes would give it.
pub(super) fn quantity(quantity: &Quantity) -> String {
    text(quantity.value(), form(quantity))
}

/// The form in which a quantity was written.
pub(super) fn form(quantity: &Quantity) -> Form {
    match quantity.to_string().ends_with('i') {
        true => Form::Binary,
        false => Form::Decimal,
    }
}
