//! What a daemon tells Prometheus.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use carob_tests::{Program, pod, shell, with};
use serde_json::json;

use crate::daemon::{Machine, gone, running, up};

/// Where a daemon serves its metrics.
pub fn address(daemon: &Program) -> String {
    let line = daemon.wait_for("metrics are at http://");
    let (_, address) = line.split_once("http://").unwrap();
    address.split('/').next().unwrap().to_owned()
}

/// Status and body of an answer.
pub fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.to_owned(),
    )
}

/// The value of the first series with that name and all these labels.
pub fn value(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (found, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        let is = |(label, value): &(&str, &str)| found.contains(&format!("{label}=\"{value}\""));
        labels.iter().all(is).then(|| value.parse().ok())?
    })
}

const PATHS: [&str; 4] = [
    "/metrics",
    "/metrics/cadvisor",
    "/metrics/resource",
    "/metrics/probes",
];

/// What Prometheus' own checker says of a text.
fn check(text: &str) -> String {
    let mut command = Command::new("promtool");
    let told = Program::start(command.args(["check", "metrics"]), text.as_bytes()).finish();
    format!("{}{}", told.out(), told.err())
}

#[test]
fn metrics_are_those_of_a_kubelet_and_end_with_their_pod() {
    let machine = Machine::new();
    let probe =
        |script: &str| json!({"exec": {"command": ["sh", "-c", script]}, "periodSeconds": 1});
    let main = with(
        shell("main", "trap 'exit 0' TERM; sleep 1000 & wait"),
        json!({
            "livenessProbe": probe("exit 0"),
            "readinessProbe": probe("exit 1"),
            "resources": {"limits": {"memory": "64Mi", "cpu": "500m"}},
        }),
    );
    let crash = shell("crash", "exit 3");
    let web = pod(
        "web",
        json!({"restartPolicy": "Always", "containers": [main, crash]}),
    );
    machine.write("web.yaml", &[web, up("other")]);
    let daemon = machine.start_with(&["--metrics-address", "127.0.0.1:0"]);
    running(&daemon, "other");
    daemon.wait_pod("a crash loop and a failed probe", |pod| {
        pod.name() == "web"
            && pod.container("crash")["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            && pod.is_running("main")
    });
    daemon.wait_for("Unhealthy: Readiness probe failed");
    let address = address(&daemon);
    for path in PATHS {
        let (status, text) = get(&address, path);
        assert_eq!((status, check(&text).as_str()), (200, ""), "{path}");
    }
    let text = |path| get(&address, path).1;
    let own = text("/metrics");
    let web = |more: &[(&'static str, &'static str)]| -> Vec<(&str, &str)> {
        [&[("namespace", "default"), ("pod", "web")], more].concat()
    };
    let at = |name: &str, more: &[(&'static str, &'static str)]| value(&own, name, &web(more));
    assert_eq!(
        at("kube_pod_status_phase", &[("phase", "Running")]),
        Some(1.0)
    );
    assert_eq!(
        at("kube_pod_status_phase", &[("phase", "Failed")]),
        Some(0.0)
    );
    assert_eq!(
        at(
            "kube_pod_container_status_waiting_reason",
            &[("reason", "CrashLoopBackOff")]
        ),
        Some(1.0)
    );
    assert_eq!(
        at(
            "kube_pod_container_status_last_terminated_exitcode",
            &[("container", "crash")]
        ),
        Some(3.0)
    );
    assert_eq!(
        at(
            "kube_pod_container_resource_limits",
            &[("resource", "cpu"), ("unit", "core")]
        ),
        Some(0.5)
    );
    let backoff = at(
        "carob_container_backoff_seconds",
        &[("container", "crash"), ("cause", "crash")],
    );
    assert!(backoff.is_none_or(|left| left <= 300.0), "{backoff:?}");
    assert_eq!(value(&own, "kubelet_running_pods", &[]), Some(2.0));
    let creations = [("operation_type", "run_podsandbox")];
    assert_eq!(
        value(&own, "kubelet_runtime_operations_total", &creations),
        Some(2.0)
    );
    let used = text("/metrics/cadvisor");
    let at = |name: &str, more: &[(&'static str, &'static str)]| value(&used, name, &web(more));
    let main = [("container", "main")];
    assert!(at("container_memory_working_set_bytes", &main) > Some(0.0));
    assert!(at("container_cpu_usage_seconds_total", &main) > Some(0.0));
    assert_eq!(
        at("container_spec_memory_limit_bytes", &main),
        Some((64 << 20) as f64)
    );
    assert!(
        at(
            "container_network_transmit_packets_total",
            &[("interface", "eth0")]
        ) >= Some(0.0)
    );
    assert!(
        value(
            &text("/metrics/resource"),
            "node_cpu_usage_seconds_total",
            &[]
        ) > Some(0.0)
    );
    let probes = text("/metrics/probes");
    let failed = web(&[("probe_type", "Readiness"), ("result", "failed")]);
    assert!(value(&probes, "prober_probe_total", &failed) >= Some(1.0));
    let (status, ready) = get(&address, "/readyz?verbose");
    assert!(status == 200 && ready.contains("[+]adopted ok"), "{ready}");
    assert_eq!(get(&address, "/nothing").0, 404);

    machine.remove("web.yaml");
    for name in ["web", "other"] {
        gone(&daemon, name);
    }
    for path in PATHS {
        let (_, text) = get(&address, path);
        assert!(!text.contains("pod=\"web\""), "{path}: {text}");
    }
    machine.end(daemon, &[]);
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let machine = Machine::new();
    let daemon = machine.start_with(&["--metrics-address", &address]);
    let line = daemon.wait_for("cannot listen");
    assert!(
        line.contains(&address) && line.contains("--metrics-address"),
        "{line}"
    );
    assert_eq!(daemon.finish().code, 125);
    let daemon = machine.start_with(&["--metrics-address", "nowhere"]);
    daemon.wait_for("such as 127.0.0.1:10255");
}
