//! Probes: every handler, and what their results do.

use std::cell::Cell;
use std::fs;

use carob_tests::{Home, Program, Shared, eventually, pod, shell, with};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// A container that ends when it is asked to.
pub fn lives(name: &str) -> Value {
    shell(name, "trap 'exit 0' TERM; sleep 1000 & wait")
}

/// The same that does something first.
pub fn serves(name: &str, script: &str) -> Value {
    shell(
        name,
        &format!("trap 'exit 0' TERM; {script}; sleep 1000 & wait"),
    )
}

fn wait_ready(run: &Program, container: &str, ready: bool) {
    run.wait_pod(&format!("{container} ready: {ready}"), |p| {
        p.is_running(container) && p.container(container)["ready"] == ready
    });
}

/// The Pod becomes ready when `/d/ready` is there, unready when it is not, and the event says why.
fn follows_a_file(container: Value, why: &str) {
    let home = Home::new();
    let shared = Shared::new(&home);
    let run = home.start_json(&shared.pod("flips", json!({"containers": [container]})));
    let unready = run.wait_for(&format!("Readiness probe failed: {why}"));
    assert!(unready.contains("flips: Unhealthy: "), "{unready}");
    shared.put("ready");
    let ready = run.wait_pod("ready", |p| p.condition("Ready") == "True");
    assert_eq!(ready.container("main")["ready"], true);
    assert_eq!(ready.condition("ContainersReady"), "True");
    shared.take("ready");
    let was_ready = Cell::new(false);
    let unready = run.wait_pod("unready again", |p| {
        let ready = p.condition("Ready") == "True";
        was_ready.replace(ready) && !ready
    });
    assert!(unready.is_running("main"), "{unready:?}");
    assert_eq!(unready.container("main")["ready"], false);
    assert_eq!(unready.restarts("main"), 0);
    run.stop(Signal::SIGINT).expect(130);
}

pub fn readiness(container: Value, handler: Value) -> Value {
    // Nobody says how long a busy machine takes.
    let often = json!({"periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 30});
    let probe = with(often, handler);
    with(container, json!({"readinessProbe": probe}))
}

#[test]
fn a_command_makes_ready_and_unready() {
    let command = json!([
        "sh",
        "-c",
        "[ -e /d/ready ] || { echo so; echo and so >&2; exit 3; }"
    ]);
    follows_a_file(
        readiness(lives("main"), json!({"exec": {"command": command}})),
        "so",
    );
}

#[test]
fn a_request_makes_ready_and_unready() {
    let main = with(
        serves("main", "httpd -p 8080 -h /d"),
        json!({"ports": [{"name": "web", "containerPort": 8080}]}),
    );
    let get = json!({"httpGet": {"path": "/ready", "port": "web"}});
    follows_a_file(
        readiness(main, get),
        "HTTP probe failed with statuscode: 404",
    );
}

#[test]
fn a_connection_makes_ready() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let script = "until [ -e /d/go ]; do sleep 0.1; done; httpd -p 8080";
    let main = readiness(serves("main", script), json!({"tcpSocket": {"port": 8080}}));
    let run = home.start_json(&shared.pod("tcp", json!({"containers": [main]})));
    let line = run.wait_for("Readiness probe failed: dial tcp 10.");
    assert!(
        line.ends_with(":8080: connect: connection refused"),
        "{line}"
    );
    shared.put("go");
    wait_ready(&run, "main", true);
    run.stop(Signal::SIGINT).expect(130);
}

#[test]
fn the_pods_address_is_asked_unless_a_host_is_given() {
    let home = Home::new();
    // Listens on the loopback alone.
    let unasked = readiness(
        serves("unasked", "httpd -p 127.0.0.1:8080"),
        json!({"tcpSocket": {"port": 8080}}),
    );
    let asked = readiness(
        lives("asked"),
        json!({"tcpSocket": {"port": 8080, "host": "127.0.0.1"}}),
    );
    let run = home.start_json(&pod("where", json!({"containers": [unasked, asked]})));
    wait_ready(&run, "asked", true);
    run.wait_for("connect: connection refused");
    let run = run.stop(Signal::SIGINT).expect(130);
    assert!(
        run.pods()
            .iter()
            .all(|p| p.at("/status/containerStatuses").is_null()
                || p.container("unasked")["ready"] == false),
        "{run:?}"
    );
}

#[test]
fn other_probes_wait_for_the_startup_probe() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let probe = |script: &str| json!({"exec": {"command": ["sh", "-c", script]}, "periodSeconds": 1, "failureThreshold": 1000, "timeoutSeconds": 30});
    let main = with(
        lives("main"),
        json!({
            "startupProbe": probe("echo no start; [ -e /d/started ]"),
            "livenessProbe": probe("touch /d/lives"),
            "readinessProbe": probe("touch /d/reads"),
        }),
    );
    let run = home.start_json(&shared.pod("slow", json!({"containers": [main]})));
    run.wait_for("slow: Unhealthy: Startup probe failed: no start");
    let waiting = run.wait_pod("it runs", |p| p.is_running("main"));
    assert_eq!(waiting.container("main")["started"], false);
    assert_eq!(waiting.container("main")["ready"], false);
    // Nothing that is still to come is waited for here: these would be wrong at any time.
    assert!(!shared.has("lives") && !shared.has("reads"));
    shared.put("started");
    run.wait_pod("it has started", |p| p.container("main")["started"] == true);
    wait_ready(&run, "main", true);
    eventually("the liveness probe", || shared.has("lives"));
    run.stop(Signal::SIGINT).expect(130);
}

#[test]
fn a_sidecar_that_has_not_started_holds_up_the_next_container() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let probe = json!({"exec": {"command": ["test", "-e", "/d/go"]}, "periodSeconds": 1, "failureThreshold": 1000, "timeoutSeconds": 30});
    let sidecar = with(
        lives("sidecar"),
        json!({"restartPolicy": "Always", "startupProbe": probe}),
    );
    let spec = json!({"initContainers": [sidecar], "containers": [shell("main", "test -e /d/go")]});
    let run = home.start_json(&shared.pod("held", spec));
    run.wait_for("Startup probe failed");
    shared.put("go");
    // Had it been started before, it would have failed.
    run.finish().expect(0);
}

#[test]
fn a_container_that_does_not_live_is_restarted_alone() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let probe = json!({
        "exec": {"command": ["sh", "-c", "cat /d/bad && exit 1 || exit 0"]},
        "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 30,
    });
    let main = with(
        shell(
            "main",
            "trap 'rm /d/bad; exit 9' TERM; echo up >>/d/ups; sleep 1000 & wait",
        ),
        json!({"livenessProbe": probe}),
    );
    let spec = json!({"restartPolicy": "Always", "containers": [main, lives("other")]});
    let run = home.start_json(&shared.pod("sick", spec));
    run.wait_pod("both run", |p| {
        p.is_running("main") && p.is_running("other")
    });
    eventually("its first line", || shared.read("ups") == "up\n");
    shared.put("bad");
    run.wait_for("sick: Unhealthy: Liveness probe failed: there");
    let again = run.wait_pod("a restart", |p| {
        p.is_running("main") && p.restarts("main") == 1
    });
    let last = &again.container("main")["lastState"]["terminated"];
    assert_eq!(
        (&last["exitCode"], &last["reason"]),
        (&json!(9), &json!("Error"))
    );
    assert_eq!(again.restarts("other"), 0);
    run.stop(Signal::SIGINT).expect(130);
}

#[test]
fn a_probe_has_a_grace_period_of_its_own() {
    let home = Home::new();
    let probe = json!({
        "exec": {"command": ["false"]},
        "periodSeconds": 1, "failureThreshold": 1, "terminationGracePeriodSeconds": 1,
    });
    let stubborn = shell("main", "trap '' TERM; while true; do sleep 1000; done");
    let main = with(stubborn, json!({"startupProbe": probe}));
    let spec = json!({
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 100_000, "containers": [main],
    });
    let run = home.start_json(&pod("stubborn", spec));
    let again = run.wait_pod("a restart", |p| p.restarts("main") == 1);
    assert_eq!(
        again.container("main")["lastState"]["terminated"]["exitCode"],
        137
    );
    // The second request is one for force: the Pod's own grace period is long.
    run.signal(Signal::SIGINT);
    run.stop(Signal::SIGTERM).expect(143);
}

#[test]
fn c18_a_command_that_never_stops_writing_costs_little() {
    let home = Home::new();
    let main = readiness(
        lives("main"),
        json!({"exec": {"command": ["yes"]}, "timeoutSeconds": 1}),
    );
    let run = home.start_json(&pod("floods", json!({"containers": [main]})));
    run.wait_for("Readiness probe failed: command \"yes\" timed out");
    let status = fs::read_to_string(format!("/proc/{}/status", run.pid())).unwrap();
    let most = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let most = most.unwrap().trim().trim_end_matches(" kB").parse::<u64>();
    assert!(most.unwrap() < 200 << 10, "{status}");
    run.stop(Signal::SIGINT).expect(130);
}

#[test]
fn a_command_that_is_not_there_says_nothing_of_the_container() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let probe = |command: &str| json!({"exec": {"command": [command]}, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 30});
    let main = with(
        lives("main"),
        json!({"livenessProbe": probe("nope"), "readinessProbe": probe("true")}),
    );
    let run = home.start_json(&shared.pod(
        "absent",
        json!({"restartPolicy": "Always", "containers": [main]}),
    ));
    let line = run.wait_for("Liveness probe errored and resulted in ");
    assert!(line.contains("failed to exec in container"), "{line}");
    wait_ready(&run, "main", true);
    let run = run.stop(Signal::SIGINT).expect(130);
    assert_eq!(run.last_pod().restarts("main"), 0);
}

#[test]
fn redirects_to_another_host_are_good_but_told() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let script = "mkdir -p /w/cgi-bin; cp /d/moved /w/cgi-bin; chmod +x /w/cgi-bin/moved; httpd -p 8080 -h /w";
    let answer = "HTTP/1.1 302 Found\\r\\nLocation: http://example.com/\\r\\nContent-Length: 2\\r\\n\\r\\nhm";
    fs::write(
        shared.path().join("moved"),
        format!("#!/bin/sh\nprintf '{answer}'\n"),
    )
    .unwrap();
    let get = json!({"httpGet": {"port": 8080, "path": "/cgi-bin/moved"}});
    let main = readiness(serves("main", script), get);
    let run = home.start_json(&shared.pod("moved", json!({"containers": [main]})));
    run.wait_for(
        "moved: ProbeWarning: Readiness probe warning: Probe terminated redirects, Response body: hm",
    );
    wait_ready(&run, "main", true);
    run.stop(Signal::SIGINT).expect(130);
}
