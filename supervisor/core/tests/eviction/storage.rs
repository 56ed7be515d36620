//! Pods above their own limits of local storage.

use carob_core::eviction::{Manager, over_limits};
use carob_core::pod::{Medium, Volume, VolumeSource};

use crate::given::{MI, at, bytes, hard, limit_of, look, manager, memory_left, on_disk, pod};

fn empty_dir(medium: Medium, size_limit: u64) -> Volume {
    Volume {
        name: "v".to_owned(),
        source: VolumeSource::EmptyDir {
            medium,
            size_limit: Some(size_limit),
        },
    }
}

#[test]
fn an_empty_dir_above_its_size_limit() {
    for medium in [Medium::Disk, Medium::Memory] {
        let mut pod = pod("p", 0, "0");
        pod.spec.volumes = vec![empty_dir(medium, 10 * MI)];
        assert!(Manager::watches_disk_of(&pod));
        let mut candidate = on_disk(&pod, 0, 0);
        for (used, message) in [
            (10 * MI, None),
            (
                10 * MI + 1,
                Some("Usage of EmptyDir volume \"v\" exceeds the limit \"10Mi\". "),
            ),
        ] {
            let usage = candidate.usage.as_mut().expect("usage");
            usage.volumes.insert("v".to_owned(), bytes(used));
            let evictions = over_limits(std::slice::from_ref(&candidate), false);
            let got = evictions.first();
            assert_eq!(got.map(|e| &*e.message), message);
            assert_eq!(got.map(|e| e.signal), message.map(|_| "emptydirfs.limit"));
            assert!(got.is_none_or(|e| !e.disruption && e.grace_seconds == 1));
        }
    }
}

#[test]
fn a_size_limit_of_nothing_is_none() {
    let mut pod = pod("p", 0, "0");
    pod.spec.volumes = vec![empty_dir(Medium::Disk, 0)];
    let mut candidate = on_disk(&pod, 0, 0);
    let usage = candidate.usage.as_mut().expect("usage");
    usage.volumes.insert("v".to_owned(), bytes(MI));
    assert!(over_limits(&[candidate], false).is_empty() && !Manager::watches_disk_of(&pod));
}

#[test]
fn a_container_above_its_limit() {
    let mut pod = pod("p", 0, "0");
    let mut other = carob_core::pod::Container::new("other", "image:1");
    limit_of(&mut other, "ephemeral-storage", "1Gi");
    pod.spec.containers.push(other);
    limit_of(&mut pod.spec.containers[0], "ephemeral-storage", "2Mi");
    assert!(over_limits(&[on_disk(&pod, MI, MI)], false).is_empty());
    let evictions = over_limits(&[on_disk(&pod, MI, MI + 1)], false);
    assert_eq!(
        (evictions[0].signal, &*evictions[0].message),
        (
            "ephemeralcontainerfs.limit",
            "Container c exceeded its local ephemeral storage limit \"2Mi\". "
        )
    );
    // Writable layers on a file system of their own are no local storage.
    assert!(over_limits(&[on_disk(&pod, 9 * MI, MI)], true).is_empty());
}

#[test]
fn a_pod_above_what_its_containers_may_use_together() {
    let mut pod = pod("p", 0, "0");
    limit_of(&mut pod.spec.containers[0], "ephemeral-storage", "2M");
    let mut candidate = on_disk(&pod, 1_000_000, 0);
    candidate.usage.as_mut().expect("usage").generated = bytes(1_000_001);
    let evictions = over_limits(&[candidate], false);
    assert_eq!(
        (evictions[0].signal, &*evictions[0].message),
        (
            "ephemeralpodfs.limit",
            "Pod ephemeral local storage usage exceeds the total limit of containers 2M. "
        )
    );
}

#[test]
fn all_of_them_go_at_once_and_before_any_ranking() {
    let limited = |name| {
        let mut pod = pod(name, 1000, "0");
        limit_of(&mut pod.spec.containers[0], "ephemeral-storage", "1Mi");
        pod
    };
    let (a, b, other) = (limited("a"), limited("b"), pod("other", -1, "0"));
    let candidates = [
        on_disk(&other, 0, 0),
        on_disk(&a, 2 * MI, 0),
        on_disk(&b, 2 * MI, 0),
    ];
    let mut manager = manager(&hard(&["memory.available<100Mi"]));
    let outlook = look(&mut manager, &memory_left(1), 0);
    let evictions = manager.evict(&outlook, &candidates, false, at(0));
    let uids: Vec<_> = evictions.iter().map(|e| &*e.uid).collect();
    assert_eq!(uids, ["a", "b"]);
}

#[test]
fn critical_pods_may_use_what_they_like() {
    let mut pod = pod("p", 2_000_000_000, "0");
    limit_of(&mut pod.spec.containers[0], "ephemeral-storage", "1Mi");
    assert!(over_limits(&[on_disk(&pod, 2 * MI, 0)], false).is_empty());
}
