//! Pods of a kubelet: containerd's CRI plugin with the shim as a runtime handler.

use std::fs;

use k8s_cri::v1::*;

use crate::client::answer;
use crate::daemon::{Containerd, wait_until};
use crate::left;
use crate::pods::Kubelet;

/// Ends with 5 when it is asked to, and repeats what is written to a file.
const WAITS: &str = "trap 'exit 5' TERM; echo up; while true; do sleep 0.02; done";

#[tokio::test]
async fn a_pod_lives_as_a_kubelet_has_it() {
    let containerd = Containerd::start_cri();
    let mut kubelet = Kubelet::new(&containerd).await;
    let first = kubelet.config("first", &["sh", "-c", WAITS]);
    let first = kubelet.run(first).await;
    let second = kubelet.config("second", &["sh", "-c", "echo out; echo err >&2; exit 3"]);
    let second = kubelet.run(second).await;
    assert_eq!(left::shims(&containerd).len(), 1);

    let status = kubelet.exited(&second).await;
    assert_eq!((status.exit_code, &*status.reason), (3, "Error"));
    assert_eq!(
        log(&containerd, "second.log"),
        ["stderr F err", "stdout F out"]
    );
    let (first_log, rotated) = ("first.log", "first.log.1");
    wait_until("up", || log(&containerd, first_log) == ["stdout F up"]);
    assert_eq!(
        kubelet.status(&first).await.state(),
        ContainerState::ContainerRunning
    );

    let ran = kubelet
        .exec(&first, &["sh", "-c", "echo out; echo err >&2; exit 7"])
        .await;
    assert_eq!(ran.unwrap(), ("out\n".to_owned(), "err\n".to_owned(), 7));
    let request = ContainerStatsRequest {
        container_id: first.clone(),
    };
    let stats = answer(kubelet.runtime.container_stats(request))
        .await
        .unwrap();
    let stats = stats.stats.unwrap();
    assert!(stats.memory.unwrap().working_set_bytes.unwrap().value > 0);
    assert!(stats.cpu.unwrap().usage_core_nano_seconds.unwrap().value > 0);

    let request = UpdateContainerResourcesRequest {
        container_id: first.clone(),
        linux: Some(LinuxContainerResources {
            memory_limit_in_bytes: 48 << 20,
            ..LinuxContainerResources::default()
        }),
        ..UpdateContainerResourcesRequest::default()
    };
    answer(kubelet.runtime.update_container_resources(request))
        .await
        .unwrap();
    let cgroup = format!("pod/{first}");
    let names = ["memory.limit_in_bytes", "memory.max"];
    let limit = containerd.cgroup_file(&cgroup, &names);
    assert_eq!(limit.trim(), (48 << 20).to_string());

    fs::rename(
        containerd.path().join("logs").join(first_log),
        containerd.path().join("logs").join(rotated),
    )
    .unwrap();
    let request = ReopenContainerLogRequest {
        container_id: first.clone(),
    };
    answer(kubelet.runtime.reopen_container_log(request))
        .await
        .unwrap();
    kubelet
        .exec(&first, &["sh", "-c", "echo again >/proc/1/fd/1"])
        .await
        .unwrap();
    wait_until("again", || {
        log(&containerd, first_log) == ["stdout F again"]
    });
    assert_eq!(log(&containerd, rotated), ["stdout F up"]);

    kubelet.stop(&first, 60).await;
    assert_eq!(kubelet.status(&first).await.exit_code, 5);
    kubelet.remove(&first).await;
    assert_eq!(left::shims(&containerd).len(), 1);
    kubelet.remove(&second).await;
    kubelet.end().await;
}

/// The lines of a log without their times, sorted, as standard output and error have no common order.
fn log(containerd: &Containerd, name: &str) -> Vec<String> {
    let text = fs::read_to_string(containerd.path().join("logs").join(name)).unwrap_or_default();
    let without_time = |line: &str| line.split_once(' ').unwrap().1.to_owned();
    let mut lines: Vec<_> = text.lines().map(without_time).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn containers_get_what_cri_asks_for() {
    let containerd = Containerd::start_cri();
    let mut kubelet = Kubelet::new(&containerd).await;
    let container = kubelet.config("first", &["sleep", "1000"]);
    let container = kubelet.run(container).await;
    // An exec has what the container has.
    for status in ["/proc/1/status", "/proc/self/status"] {
        let (status, ..) = kubelet.exec(&container, &["cat", status]).await.unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_whitespace().nth(1))
                .unwrap()
                .to_owned()
        };
        // The default ones with NET_ADMIN and without MKNOD.
        for set in ["CapBnd", "CapEff", "CapPrm"] {
            assert_eq!(field(set), "00000000a00435fb", "{set}");
        }
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(field(set), "0000000000000000", "{set}");
        }
        assert_eq!((&*field("Seccomp:"), &*field("NoNewPrivs")), ("2", "1"));
    }
    let shell = |line: &'static str| ["sh", "-c", line];
    for (line, wanted) in [
        ("cat /proc/keys | wc -c", "0\n"),
        ("ls /sys/firmware | wc -l", "0\n"),
        ("echo 1 >/proc/sys/kernel/domainname; echo $?", "1\n"),
        ("cat /proc/1/oom_score_adj", "999\n"),
        (
            "hostname; wc -l </etc/resolv.conf >/dev/null && echo resolv",
            "pod\nresolv\n",
        ),
        ("ip -o -4 addr show eth0 | wc -l", "1\n"),
        ("df /dev/shm | wc -l", "2\n"),
    ] {
        let ran = kubelet.exec(&container, &shell(line)).await.unwrap();
        assert_eq!(ran.0, wanted, "{line}: {ran:?}");
    }
    kubelet.end().await;
}

#[tokio::test]
async fn f14_a_memory_hog_is_reported_as_such() {
    let containerd = Containerd::start_cri();
    let mut kubelet = Kubelet::new(&containerd).await;
    let hog = kubelet.config("hog", &["sh", "-c", "exec tail /dev/zero"]);
    let hog = kubelet.run(hog).await;
    let status = kubelet.exited(&hog).await;
    assert_eq!((status.exit_code, &*status.reason), (137, "OOMKilled"));
    kubelet.end().await;
}
