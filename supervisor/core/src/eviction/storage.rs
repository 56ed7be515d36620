//! Pods that use more local storage than they may (`localStorageEviction`, eviction_manager.go).

use super::amount::{Form, text};
use super::signal::Resource;
use super::usage::{Candidate, PodUsage, is_critical, limit};
use super::{Eviction, message};
use crate::pod::{Pod, VolumeSource};

/// Seconds that a Pod gets that must go at once (`immediateEvictionGracePeriodSeconds`).
pub(super) const IMMEDIATE_GRACE_SECONDS: u64 = 1;

/// All Pods above a limit of theirs: of an emptyDir, of the Pod, or of a container. None of them is ranked: each is
/// alone to blame. With `dedicated_imagefs` the writable layers don't count against a container's limit, as they are
/// not on the file system that ephemeral storage comes from.
pub fn over_limits(candidates: &[Candidate<'_>], dedicated_imagefs: bool) -> Vec<Eviction> {
    candidates
        .iter()
        .filter(|candidate| !is_critical(candidate.pod))
        .filter_map(|candidate| {
            let (pod, usage) = (candidate.pod, candidate.usage.as_ref()?);
            let (signal, message) = volume(pod, usage)
                .or_else(|| whole(pod, usage))
                .or_else(|| container(pod, usage, dedicated_imagefs))?;
            Some(Eviction {
                uid: pod.metadata.uid.clone(),
                signal,
                message,
                grace_seconds: IMMEDIATE_GRACE_SECONDS,
                disruption: false,
            })
        })
        .collect()
}

/// True for a Pod that can be above a limit: its disk usage must be known.
pub(super) fn has_limits(pod: &Pod) -> bool {
    let volumes = pod.spec.volumes.iter();
    let mut sizes = volumes.map(|v| size_limit(&v.source));
    sizes.any(|size| size.is_some()) || limit(pod, Resource::EphemeralStorage).is_some()
}

fn size_limit(source: &VolumeSource) -> Option<u64> {
    match source {
        VolumeSource::EmptyDir { size_limit, .. } => size_limit.filter(|&size| size > 0),
        VolumeSource::HostPath { .. } | VolumeSource::Files(_) => None,
    }
}

fn volume(pod: &Pod, usage: &PodUsage) -> Option<(&'static str, String)> {
    pod.spec.volumes.iter().find_map(|volume| {
        let limit = size_limit(&volume.source)?;
        let used = usage.volumes.get(&volume.name)?.bytes;
        let limit_text = text(i64::try_from(limit).unwrap_or(i64::MAX), Form::Binary);
        (used > limit).then(|| {
            (
                "emptydirfs.limit",
                message::empty_dir(&volume.name, &limit_text),
            )
        })
    })
}

fn whole(pod: &Pod, usage: &PodUsage) -> Option<(&'static str, String)> {
    let limit = limit(pod, Resource::EphemeralStorage)?;
    let used = usage.ephemeral(pod).bytes;
    let above = i64::try_from(used).unwrap_or(i64::MAX) > limit;
    let mut containers = pod.spec.all_containers();
    let written =
        containers.find_map(|c| c.resources.limits.get(Resource::EphemeralStorage.as_str()));
    let form = written.map_or(Form::Binary, message::form);
    above.then(|| {
        (
            "ephemeralpodfs.limit",
            message::pod_storage(&text(limit, form)),
        )
    })
}

fn container(
    pod: &Pod,
    usage: &PodUsage,
    dedicated_imagefs: bool,
) -> Option<(&'static str, String)> {
    pod.spec.containers.iter().find_map(|container| {
        let limits = &container.resources.limits;
        let limit = limits.get(Resource::EphemeralStorage.as_str())?;
        let used = usage.containers.get(&container.name)?;
        let bytes = match dedicated_imagefs {
            true => used.logs.bytes,
            false => (used.logs + used.rootfs).bytes,
        };
        let above = !limit.is_zero() && i64::try_from(bytes).unwrap_or(i64::MAX) > limit.value();
        let message = || message::container_storage(&container.name, &message::quantity(limit));
        above.then(|| ("ephemeralcontainerfs.limit", message()))
    })
}
