//! Who goes first.

use carob_core::eviction::{Candidate, PodUsage, Signal, rank};
use carob_core::pod::{Container, Medium, Volume, VolumeSource};

use crate::given::{MI, bytes, on_disk, order, pod, request_of, using};

#[test]
fn memory_above_the_request_goes_before_any_priority() {
    let (within, above) = (pod("within", -5, "100Mi"), pod("above", 1000, "10Mi"));
    let candidates = [using(&within, 90 * MI), using(&above, 11 * MI)];
    assert_eq!(
        order(&candidates, Signal::MemoryAvailable),
        ["above", "within"]
    );
    // Exactly what was asked for is not above it.
    let candidates = [using(&within, 90 * MI), using(&above, 10 * MI)];
    assert_eq!(
        order(&candidates, Signal::MemoryAvailable),
        ["within", "above"]
    );
}

#[test]
fn of_those_above_the_lower_priority_goes_first() {
    let (low, high) = (pod("low", 1, "0"), pod("high", 2, "0"));
    let candidates = [using(&high, 900 * MI), using(&low, MI)];
    assert_eq!(order(&candidates, Signal::MemoryAvailable), ["low", "high"]);
}

#[test]
fn of_one_priority_the_most_above_its_request_goes_first() {
    let (a, b) = (pod("a", 0, "100Mi"), pod("b", 0, "10Mi"));
    let candidates = [using(&a, 150 * MI), using(&b, 100 * MI)];
    assert_eq!(order(&candidates, Signal::MemoryAvailable), ["b", "a"]);
    // Within their requests: the one that is nearest to it.
    let candidates = [using(&a, 95 * MI), using(&b, 2 * MI)];
    assert_eq!(order(&candidates, Signal::MemoryPressure), ["a", "b"]);
}

#[test]
fn a_pod_without_figures_goes_first() {
    let (known, unknown) = (pod("known", -1, "0"), pod("unknown", 9, "1Gi"));
    let candidates = [
        using(&known, 900 * MI),
        Candidate {
            pod: &unknown,
            usage: None,
        },
    ];
    for signal in [
        Signal::MemoryAvailable,
        Signal::NodefsAvailable,
        Signal::NodefsInodesFree,
    ] {
        assert_eq!(order(&candidates, signal), ["unknown", "known"], "{signal}");
    }
    // But of process IDs the priority is asked for before.
    assert_eq!(
        order(&candidates, Signal::PidAvailable),
        ["known", "unknown"]
    );
}

#[test]
fn process_ids_by_priority_then_by_number() {
    let pods = [
        pod("low", 0, "1Gi"),
        pod("many", 5, "0"),
        pod("few", 5, "0"),
    ];
    let candidates: Vec<_> = pods
        .iter()
        .zip([1, 50, 40])
        .map(|(pod, processes)| Candidate {
            pod,
            usage: Some(PodUsage {
                processes,
                ..PodUsage::default()
            }),
        })
        .collect();
    assert_eq!(
        order(&candidates, Signal::PidAvailable),
        ["low", "many", "few"]
    );
}

#[test]
fn requests_count_containers_together_or_the_largest_init_container() {
    let mut one = pod("one", 0, "30Mi");
    let mut init = Container::new("init", "image:1");
    request_of(&mut init, "memory", "50Mi");
    let mut sidecar = Container {
        sidecar: true,
        ..Container::new("sidecar", "image:1")
    };
    request_of(&mut sidecar, "memory", "10Mi");
    let request = |pod: &carob_core::pod::Pod| {
        rank(&[using(pod, 0)], Signal::MemoryAvailable, false)[0].request
    };
    one.spec.init_containers = vec![init.clone()];
    assert_eq!(request(&one), 50 << 20);
    one.spec.init_containers = vec![sidecar.clone(), init.clone()];
    assert_eq!(request(&one), 60 << 20);
    one.spec.init_containers = vec![init, sidecar];
    assert_eq!(request(&one), 50 << 20);
}

#[test]
fn disk_counts_layers_logs_and_volumes_of_the_pod() {
    let mut own = pod("own", 0, "0");
    own.spec.volumes = [("disk", Medium::Disk), ("memory", Medium::Memory)]
        .map(|(name, medium)| Volume {
            name: name.to_owned(),
            source: VolumeSource::EmptyDir {
                medium,
                size_limit: None,
            },
        })
        .to_vec();
    let mut candidate = on_disk(&own, 1, 20);
    let usage = candidate.usage.as_mut().expect("usage");
    usage.volumes = [("disk", 300), ("memory", 4000), ("nobody's", 50_000)]
        .map(|(name, used)| (name.to_owned(), bytes(used)))
        .into();
    let used = |signal, dedicated| rank(&[candidate.clone()], signal, dedicated)[0].usage;
    assert_eq!(used(Signal::NodefsAvailable, false), Some(321));
    assert_eq!(used(Signal::ImagefsAvailable, false), Some(321));
    // On file systems of their own: logs and volumes here, writable layers there.
    assert_eq!(used(Signal::NodefsAvailable, true), Some(320));
    assert_eq!(used(Signal::ImagefsAvailable, true), Some(1));
    assert_eq!(used(Signal::NodefsInodesFree, true), Some(2));
    assert_eq!(used(Signal::ImagefsInodesFree, true), Some(1));
}

#[test]
fn disk_above_the_request_goes_first() {
    let (mut asked, not) = (pod("asked", -1, "0"), pod("not", 1, "0"));
    request_of(&mut asked.spec.containers[0], "ephemeral-storage", "1Gi");
    let candidates = [on_disk(&asked, 900 * MI, 0), on_disk(&not, 0, 1)];
    assert_eq!(
        order(&candidates, Signal::NodefsAvailable),
        ["not", "asked"]
    );
    // Of inodes nothing can be asked for.
    assert_eq!(
        order(&candidates, Signal::NodefsInodesFree),
        ["asked", "not"]
    );
}

#[test]
fn nobody_is_ranked_for_what_no_eviction_helps_against() {
    let one = pod("one", 0, "0");
    for signal in [Signal::IoPressure, Signal::CpuPressure] {
        assert!(rank(&[using(&one, MI)], signal, false).is_empty());
    }
}
