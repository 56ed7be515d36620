//! What an evicted Pod's status says, and how long it gets.

use carob_core::eviction::{Candidate, Eviction, Observation, Signal, Thresholds};
use carob_core::pod::Pod;

use crate::given::{MI, hard, left, look, manager, memory_left, on_disk, pod, texts, using};

fn first(thresholds: &Thresholds, signal: Signal, candidate: Candidate<'_>) -> Eviction {
    let mut manager = manager(thresholds);
    let outlook = look(&mut manager, &left(signal, 10), 0);
    let outlook = match outlook.starved() {
        Some(_) => outlook,
        None => look(&mut manager, &left(signal, 10), 3600),
    };
    let mut evictions = manager.evict(&outlook, &[candidate], false, crate::given::at(3600));
    evictions.pop().expect("an eviction")
}

#[test]
fn memory_names_each_container_above_its_request() {
    let pod = pod("p", 0, "64Mi");
    let eviction = first(
        &hard(&["memory.available<100Mi"]),
        Signal::MemoryAvailable,
        using(&pod, 200 * MI),
    );
    assert_eq!(
        eviction.message,
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 10Mi. Container c was using 200Mi, request is 64Mi, has larger consumption of memory. "
    );
    assert_eq!((eviction.grace_seconds, eviction.disruption), (1, true));
    assert_eq!(eviction.signal, "memory.available");
}

#[test]
fn a_container_within_its_request_is_not_named() {
    let pod = pod("p", 0, "64Mi");
    let eviction = first(
        &hard(&["memory.available<10%"]),
        Signal::MemoryAvailable,
        using(&pod, 64 * MI),
    );
    assert_eq!(
        eviction.message,
        // A tenth in single precision, as a kubelet has it.
        "The node was low on resource: memory. Threshold quantity: 104857601, available: 10Mi. "
    );
}

#[test]
fn disk_counts_layer_and_logs() {
    let pod = pod("p", 0, "64Mi");
    let eviction = first(
        &hard(&["nodefs.available<15Mi"]),
        Signal::NodefsAvailable,
        on_disk(&pod, MI, 1000),
    );
    assert_eq!(
        eviction.message,
        "The node was low on resource: ephemeral-storage. Threshold quantity: 15Mi, available: 10Mi. Container c was using 1049576, request is 0, has larger consumption of ephemeral-storage. "
    );
}

#[test]
fn inodes_and_process_ids_name_no_container() {
    let pod = pod("p", 0, "0");
    for (signal, says) in [
        (
            Signal::PidAvailable,
            "The node was low on resource: pids. Threshold quantity: 1k, available: 10. ",
        ),
        (
            Signal::NodefsInodesFree,
            "The node was low on resource: inodes. Threshold quantity: 1k, available: 10. ",
        ),
    ] {
        let eviction = first(
            &hard(&[&format!("{signal}<1k")]),
            signal,
            on_disk(&pod, MI, MI),
        );
        assert_eq!(eviction.message, says);
    }
}

#[test]
fn a_pod_without_figures_is_told_of_the_machine_only() {
    let pod: Pod = pod("p", 0, "0");
    let unknown = Candidate {
        pod: &pod,
        usage: None,
    };
    let eviction = first(
        &hard(&["memory.available<1Gi"]),
        Signal::MemoryAvailable,
        unknown,
    );
    assert_eq!(
        eviction.message,
        "The node was low on resource: memory. Threshold quantity: 1Gi, available: 10Mi. "
    );
}

#[test]
fn stalls_are_given_in_percent() {
    let pod = pod("p", 0, "0");
    let mut manager = manager(&hard(&["memory.pressure>10%"]));
    let stalled = Observation {
        available: 2505,
        capacity: 10_000,
    };
    let outlook = look(&mut manager, &[(Signal::MemoryPressure, stalled)].into(), 0);
    let evictions = manager.evict(&outlook, &[using(&pod, 0)], false, crate::given::at(0));
    assert_eq!(
        evictions[0].message,
        "The node was low on resource: memory. Threshold quantity: 10.00%, stalled: 25.05%. "
    );
}

#[test]
fn a_soft_threshold_gives_the_shorter_of_both_grace_periods() {
    let thresholds = Thresholds {
        soft: texts(&["memory.available<100Mi"]),
        soft_grace_period: texts(&["memory.available=1h"]),
        ..Thresholds::default()
    };
    for (own, given) in [(30, 20), (5, 5), (0, 1)] {
        let mut pod = pod("p", 0, "0");
        pod.spec.termination_grace_period_seconds = own;
        let eviction = first(&thresholds, Signal::MemoryAvailable, using(&pod, MI));
        assert_eq!(eviction.grace_seconds, given);
    }
    let mut manager = manager(&thresholds);
    assert!(look(&mut manager, &memory_left(1), 0).starved().is_none());
}
