//! Who goes first (`rankMemoryPressure`, `rankDiskPressureFunc`, `rankPIDPressure`; helpers.go).

use std::cmp::Reverse;

use super::signal::{Resource, Signal};
use super::usage::{Candidate, Measured, is_critical, request};

/// A Pod's place among those that may be evicted, and the numbers that it is due to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rank {
    /// Which of the candidates, by their order.
    pub candidate: usize,
    /// What it uses of the resource; none when that can't be read.
    pub usage: Option<i64>,
    /// What it asked for; 0 of what can't be asked for.
    pub request: i64,
    /// Whether it uses more than that.
    pub exceeds: bool,
    /// `spec.priority`.
    pub priority: i32,
    /// True for a Pod that is passed over.
    pub critical: bool,
}

/// The candidates in the order in which they would be evicted for a signal. Ties are broken by namespace and name.
///
/// For inodes a kubelet subtracts the request of ephemeral storage, which is in bytes; here nothing is subtracted.
pub fn rank(candidates: &[Candidate<'_>], signal: Signal, dedicated_imagefs: bool) -> Vec<Rank> {
    let Some(resource) = signal.resource() else {
        return Vec::new();
    };
    let measured = measured(signal, dedicated_imagefs);
    let mut ranks: Vec<Rank> = candidates
        .iter()
        .enumerate()
        .map(|(index, candidate)| place(index, candidate, resource, measured))
        .collect();
    ranks.sort_by_cached_key(|rank| {
        let metadata = &candidates[rank.candidate].pod.metadata;
        let known = rank.usage.is_some();
        let most_first = Reverse(rank.usage.unwrap_or(0).saturating_sub(rank.request));
        let name = (metadata.namespace.clone(), metadata.name.clone());
        match resource {
            Resource::Pids => (false, false, rank.priority, known, most_first, name),
            _ => (known, !rank.exceeds, rank.priority, false, most_first, name),
        }
    });
    ranks
}

fn place(index: usize, candidate: &Candidate<'_>, resource: Resource, measured: Measured) -> Rank {
    let pod = candidate.pod;
    let usage = candidate.usage.as_ref().map(|usage| match resource {
        Resource::Memory => usage.memory,
        Resource::EphemeralStorage => usage.disk(pod, measured).bytes,
        Resource::Inodes => usage.disk(pod, measured).inodes,
        Resource::Pids => usage.processes,
    });
    let usage = usage.map(|amount| i64::try_from(amount).unwrap_or(i64::MAX));
    let request = request(pod, resource);
    Rank {
        candidate: index,
        usage,
        request,
        exceeds: usage.is_some_and(|amount| amount > request),
        priority: pod.spec.priority,
        critical: is_critical(pod),
    }
}

/// What of a Pod lies on the file system that the signal watches: all of it where there is only one.
fn measured(signal: Signal, dedicated_imagefs: bool) -> Measured {
    let images = matches!(signal, Signal::ImagefsAvailable | Signal::ImagefsInodesFree);
    Measured {
        rootfs: !dedicated_imagefs || images,
        local: !dedicated_imagefs || !images,
    }
}
