//! Pods with a usage, machines with little left.

use carob_core::eviction::{
    Candidate, Config, ContainerUsage, DiskUsage, Manager, Observation, Observations, Outlook,
    PodUsage, Signal, Thresholds,
};
use carob_core::pod::{Container, Metadata, Pod, PodSpec};
use carob_core::time::Mono;

pub const MI: u64 = 1 << 20;

/// A Pod of one container `c`, with a priority and a memory request.
pub fn pod(name: &str, priority: i32, request: &str) -> Pod {
    let mut container = Container::new("c", "image:1");
    request_of(&mut container, "memory", request);
    Pod {
        metadata: Metadata::new(name, name),
        spec: PodSpec {
            priority,
            ..PodSpec::new(vec![container])
        },
    }
}

pub fn request_of(container: &mut Container, resource: &str, amount: &str) {
    let amount = amount.parse().expect("a quantity");
    container
        .resources
        .requests
        .insert(resource.to_owned(), amount);
}

pub fn limit_of(container: &mut Container, resource: &str, amount: &str) {
    let amount = amount.parse().expect("a quantity");
    container
        .resources
        .limits
        .insert(resource.to_owned(), amount);
}

/// The Pod using so much memory, all of it in `c`.
pub fn using(pod: &Pod, memory: u64) -> Candidate<'_> {
    let usage = ContainerUsage {
        memory,
        ..ContainerUsage::default()
    };
    Candidate {
        pod,
        usage: Some(PodUsage {
            memory,
            processes: 1,
            containers: [("c".to_owned(), usage)].into(),
            ..PodUsage::default()
        }),
    }
}

/// The Pod using so much disk: writable layer and logs of `c`.
pub fn on_disk(pod: &Pod, rootfs: u64, logs: u64) -> Candidate<'_> {
    let usage = ContainerUsage {
        memory: 0,
        rootfs: bytes(rootfs),
        logs: bytes(logs),
    };
    Candidate {
        pod,
        usage: Some(PodUsage {
            containers: [("c".to_owned(), usage)].into(),
            ..PodUsage::default()
        }),
    }
}

pub fn bytes(bytes: u64) -> DiskUsage {
    DiskUsage { bytes, inodes: 1 }
}

/// The names in the order in which they would go.
pub fn order(candidates: &[Candidate<'_>], signal: Signal) -> Vec<String> {
    let ranks = carob_core::eviction::rank(candidates, signal, false);
    let name = |candidate: usize| candidates[candidate].pod.metadata.name.clone();
    ranks.iter().map(|rank| name(rank.candidate)).collect()
}

pub fn manager(thresholds: &Thresholds) -> Manager {
    Manager::new(Config {
        thresholds: thresholds.parse().expect("thresholds"),
        max_pod_grace_seconds: 20,
        transition_ms: Config::TRANSITION_MS,
    })
}

pub fn hard(statements: &[&str]) -> Thresholds {
    Thresholds {
        hard: texts(statements),
        ..Thresholds::default()
    }
}

pub fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// So much is left of a thousand MiB, or of a thousand.
pub fn left(signal: Signal, available: i64) -> Observations {
    let mebibytes = matches!(
        signal,
        Signal::MemoryAvailable | Signal::NodefsAvailable | Signal::ImagefsAvailable
    );
    let unit = if mebibytes { MI as i64 } else { 1 };
    let seen = Observation {
        available: available * unit,
        capacity: 1000 * unit,
    };
    [(signal, seen)].into()
}

pub fn memory_left(mebibytes: i64) -> Observations {
    left(Signal::MemoryAvailable, mebibytes)
}

pub fn look(manager: &mut Manager, seen: &Observations, second: u64) -> Outlook {
    manager.look(seen, at(second))
}

pub fn at(second: u64) -> Mono {
    Mono(second * 1000)
}
