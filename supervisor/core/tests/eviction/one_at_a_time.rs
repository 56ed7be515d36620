//! Machines of any Pods, looked at many times: what never happens.

use carob_core::eviction::{
    CRITICAL_PRIORITY, Candidate, NodeCondition, Observations, PodUsage, Signal, Thresholds,
};
use carob_core::pod::Pod;
use proptest::prelude::*;

use crate::given::{MI, at, hard, left, look, manager, memory_left, pod, texts, using};

#[test]
fn the_next_goes_once_the_last_has_ended() {
    let (a, b) = (pod("a", 0, "0"), pod("b", 1, "0"));
    let mut manager = manager(&hard(&["memory.available<100Mi"]));
    let mut evict = |second, there: &[&Pod]| {
        let outlook = look(&mut manager, &memory_left(1), second);
        let candidates: Vec<_> = there.iter().map(|pod| using(pod, MI)).collect();
        let evictions = manager.evict(&outlook, &candidates, false, at(second));
        evictions.into_iter().map(|e| e.uid).collect::<Vec<_>>()
    };
    assert_eq!(evict(0, &[&a, &b]), ["a"]);
    assert_eq!(evict(1, &[&a, &b]), [""; 0]);
    assert_eq!(evict(29, &[&a, &b]), [""; 0]);
    assert_eq!(evict(29, &[&b]), ["b"]);
    // One that never ends holds the others up for half a minute.
    assert_eq!(evict(58, &[&a, &b]), [""; 0]);
    assert_eq!(evict(59, &[&a, &b]), ["a"]);
}

#[test]
fn critical_pods_are_passed_over() {
    let (critical, other) = (
        pod("critical", CRITICAL_PRIORITY, "0"),
        pod("other", 5, "1Gi"),
    );
    let mut manager = manager(&hard(&["memory.available<100Mi"]));
    let outlook = look(&mut manager, &memory_left(1), 0);
    let candidates = [using(&critical, 900 * MI), using(&other, MI)];
    assert_eq!(
        manager.evict(&outlook, &candidates, false, at(0))[0].uid,
        "other"
    );
    let outlook = look(&mut manager, &memory_left(1), 60);
    assert!(
        manager
            .evict(&outlook, &candidates[..1], false, at(60))
            .is_empty()
    );
}

#[test]
fn images_are_tried_first_where_they_lie() {
    for (signal, dedicated, first) in [
        (Signal::NodefsAvailable, false, true),
        (Signal::NodefsInodesFree, false, true),
        (Signal::ImagefsAvailable, false, true),
        (Signal::NodefsAvailable, true, false),
        (Signal::ImagefsInodesFree, true, true),
        (Signal::MemoryAvailable, false, false),
        (Signal::PidAvailable, false, false),
    ] {
        let mut manager = manager(&hard(&[&format!("{signal}<10%")]));
        let outlook = look(&mut manager, &left(signal, 1), 0);
        assert_eq!(
            outlook.reclaims_images(dedicated),
            first,
            "{signal} {dedicated}"
        );
    }
}

fn thresholds() -> Thresholds {
    Thresholds {
        soft: texts(&["pid.available<30%"]),
        soft_grace_period: texts(&["pid.available=25s"]),
        minimum_reclaim: texts(&["memory.available=10%", "pid.available=5"]),
        ..hard(&[
            "memory.available<10%",
            "nodefs.available<10%",
            "pid.available<10%",
        ])
    }
}

prop_compose! {
    fn some_pod()(priority in prop_oneof![-3..3, Just(CRITICAL_PRIORITY)], request in 0..3u32, memory in proptest::option::of(0..3u64))
        -> (i32, u32, Option<u64>) { (priority, request, memory) }
}

proptest! {
    /// Nothing is evicted without a crossed threshold, never two at once, never a critical one, never anyone before
    /// those whom the ranking puts first; after an eviction the next waits for its end.
    #[test]
    fn of_any_machine(
        given in prop::collection::vec(some_pod(), 0..6),
        looks in prop::collection::vec((0..200i64, 0..200i64, 0..500i64, 1..40u64, any::<bool>()), 1..40),
    ) {
        let pods: Vec<Pod> = given.iter().enumerate().map(|(n, (priority, request, _))| {
            pod(&format!("p{n}"), *priority, &format!("{request}Mi"))
        }).collect();
        let mut there: Vec<usize> = (0..pods.len()).collect();
        let mut manager = manager(&thresholds());
        let mut second = 0;
        let mut ending: Option<(String, u64)> = None;
        let mut pid_since: Option<u64> = None;
        for (memory, disk, pids, passes, ends) in looks {
            second += passes;
            if ends && let Some((uid, _)) = &ending {
                there.retain(|&n| pods[n].metadata.uid != *uid);
            }
            let mut seen: Observations = memory_left(memory);
            seen.extend(left(Signal::NodefsAvailable, disk));
            seen.extend(left(Signal::PidAvailable, pids));
            let outlook = look(&mut manager, &seen, second);
            prop_assert!(outlook.look_again > at(second) && outlook.look_again <= at(second + 10));
            let candidates: Vec<Candidate<'_>> = there.iter().map(|&n| Candidate {
                pod: &pods[n],
                usage: given[n].2.map(|mi| PodUsage { memory: mi * MI, ..PodUsage::default() }),
            }).collect();
            let evictions = manager.evict(&outlook, &candidates, false, at(second));
            // Hysteresis: whatever is well above threshold and reclaim is not answered.
            let low = memory < 200 || disk < 100 || pids < 305;
            pid_since = if pids < 305 { pid_since.or(Some(second)) } else { None };
            prop_assert!(evictions.len() <= 1);
            if memory < 100 {
                prop_assert!(outlook.conditions.contains(&NodeCondition::MemoryPressure));
            }
            let Some(eviction) = evictions.first() else { continue };
            prop_assert!(low);
            if memory >= 200 && disk >= 100 && pids >= 105 {
                // Only the soft threshold is left.
                prop_assert!(pid_since.is_some_and(|since| second - since >= 25));
            }
            if let Some((last, when)) = &ending {
                let still = there.iter().any(|&n| pods[n].metadata.uid == *last);
                prop_assert!(!still || second - when >= 30);
            }
            let (met, _) = outlook.starved().expect("a reason");
            let ranks = carob_core::eviction::rank(&candidates, met.threshold.signal, false);
            let first = ranks.iter().find(|r| !r.critical).expect("someone");
            prop_assert_eq!(&candidates[first.candidate].pod.metadata.uid, &eviction.uid);
            prop_assert!(candidates[first.candidate].pod.spec.priority < CRITICAL_PRIORITY);
            ending = Some((eviction.uid.clone(), second));
        }
    }
}
