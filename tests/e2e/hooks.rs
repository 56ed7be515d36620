//! Hooks, the stop signal, and the grace period that they are part of.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use carob_tests::{Home, Shared, eventually, pod, shell, with};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// A container that tells when it is asked to end.
fn ends(name: &str, hooks: Value) -> Value {
    with(
        shell(
            name,
            "trap 'echo term >>/d/log; exit 0' TERM; echo up >>/d/log; sleep 1000 & wait",
        ),
        json!({"lifecycle": hooks}),
    )
}

fn command(script: &str) -> Value {
    json!({"exec": {"command": ["sh", "-c", script]}})
}

#[test]
fn the_next_container_waits_for_post_start() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let hook = command("touch /d/began; until [ -e /d/go ]; do sleep 0.1; done; touch /d/done");
    let first = ends("first", json!({"postStart": hook}));
    let spec = json!({"containers": [first, shell("second", "test -e /d/done")]});
    let run = home.start_json(&shared.pod("waits", spec));
    eventually("the hook", || shared.has("began"));
    shared.put("go");
    // Had it been started before, it would have failed.
    let ended = run.wait_pod("the second's end", |p| {
        !["ContainerCreating", "running"].contains(&p.state("second"))
    });
    assert_eq!(ended.state("second"), "Completed");
    run.stop(Signal::SIGINT).expect(130);
}

#[test]
fn a_container_whose_post_start_fails_is_ended() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let hook = json!({"postStart": command("echo said; echo why >&2; exit 7")});
    let spec = json!({"restartPolicy": "Always", "containers": [ends("main", hook)]});
    let run = home.start_json(&shared.pod("fails", spec));
    run.wait_for("fails: FailedPostStartHook: ");
    let failed = run.wait_pod("the failure", |p| p.state("main") == "PostStartHookError");
    let uid = failed.text("/metadata/uid");
    let message = format!(
        "Exec lifecycle hook ([sh -c echo said; echo why >&2; exit 7]) for Container \"main\" in Pod \
         \"fails_default({uid})\" failed - error: command 'sh -c echo said; echo why >&2; exit 7' \
         exited with 7: why\n, message: \"said\\nwhy\\n\""
    );
    let main = failed.container("main");
    assert_eq!(main["state"]["waiting"]["message"], message);
    assert_eq!(main["lastState"]["terminated"]["exitCode"], 0);
    run.stop(Signal::SIGINT).expect(130);
}

#[test]
fn pre_stop_comes_before_the_stop_signal() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let main = ends("main", json!({"preStop": command("echo hook >>/d/log")}));
    let run = home.start_json(&shared.pod("stops", json!({"containers": [main]})));
    eventually("the container", || shared.read("log") == "up\n");
    run.stop(Signal::SIGINT).expect(130);
    assert_eq!(shared.read("log"), "up\nhook\nterm\n");
}

#[test]
fn f21_a_hanging_pre_stop_uses_up_the_grace_period_and_ends_with_it() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let main = ends(
        "main",
        json!({"preStop": command("echo hook >>/d/log; sleep 1000")}),
    );
    let spec = json!({"terminationGracePeriodSeconds": 3, "containers": [main]});
    let run = home.start_json(&shared.pod("hangs", spec));
    eventually("the container", || shared.read("log") == "up\n");
    let asked = Instant::now();
    run.stop(Signal::SIGINT).expect(130);
    assert!(asked.elapsed() >= Duration::from_secs(3));
    // What is left then is enough to be asked.
    assert_eq!(shared.read("log"), "up\nhook\nterm\n");
}

#[test]
fn a_pre_stop_that_fails_is_told_and_stops_all_the_same() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let main = ends("main", json!({"preStop": command("exit 1")}));
    let run = home.start_json(&shared.pod("told", json!({"containers": [main]})));
    eventually("the container", || shared.read("log") == "up\n");
    let run = run.stop(Signal::SIGINT).expect(130);
    assert!(
        run.err()
            .contains("told: FailedPreStopHook: PreStopHook failed"),
        "{run:?}"
    );
    assert_eq!(shared.read("log"), "up\nterm\n");
}

#[test]
fn sleeping_is_a_hook() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let sleep = json!({"sleep": {"seconds": 1}});
    let main = ends("main", json!({"postStart": sleep, "preStop": sleep}));
    let began = Instant::now();
    let run = home.start_json(&shared.pod("sleeps", json!({"containers": [main]})));
    run.wait_pod("it runs", |p| p.is_running("main"));
    let runs = Instant::now();
    assert!(began.elapsed() >= Duration::from_secs(1));
    run.stop(Signal::SIGINT).expect(130);
    assert!(runs.elapsed() >= Duration::from_secs(1));
    assert_eq!(shared.read("log"), "up\nterm\n");
}

/// Answers each connection to this machine with the next text; returns what came.
fn serve(answers: &'static [&'static str]) -> (u16, JoinHandle<Vec<String>>) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let served = thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = server.accept().unwrap();
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            asked.push(String::from_utf8_lossy(&buffer[..count]).into_owned());
        }
        asked
    });
    (port, served)
}

const NO: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A Pod with the machine's own network whose postStart hook asks a server of this test.
fn asks(shared: &Shared, name: &str, port: u16, more: Value) -> Value {
    let get = with(
        json!({"host": "127.0.0.1", "port": port, "path": "/hook"}),
        more,
    );
    let main = ends("main", json!({"postStart": {"httpGet": get}}));
    shared.pod(name, json!({"hostNetwork": true, "containers": [main]}))
}

#[test]
fn any_response_is_good_for_a_hook() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let (port, served) = serve(&[NO]);
    let run = home.start_json(&asks(&shared, "asks", port, json!({})));
    run.wait_pod("it is ready", |p| p.condition("Ready") == "True");
    run.stop(Signal::SIGINT).expect(130);
    let asked = &served.join().unwrap()[0];
    assert!(asked.starts_with("GET /hook HTTP/1.1\r\n"), "{asked}");
    assert!(
        asked.contains("User-Agent: kube-lifecycle/1.36\r\n"),
        "{asked}"
    );
}

#[test]
fn a_hook_with_tls_falls_back_to_none_without_its_secrets() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let (port, served) = serve(&["HTTP/1.1 400 Bad Request\r\n\r\n", OK]);
    let headers =
        json!([{"name": "Authorization", "value": "secret"}, {"name": "X-A", "value": "b"}]);
    let more = json!({"scheme": "HTTPS", "httpHeaders": headers});
    let run = home.start_json(&asks(&shared, "falls", port, more));
    run.wait_pod("it is ready", |p| p.condition("Ready") == "True");
    run.wait_for("falls: LifecycleHTTPFallback: ");
    run.stop(Signal::SIGINT).expect(130);
    let asked = &served.join().unwrap()[1];
    assert!(
        asked.contains("X-A: b\r\n") && !asked.contains("secret"),
        "{asked}"
    );
}

#[test]
fn a_connection_is_no_hook() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let main = ends("main", json!({"postStart": {"tcpSocket": {"port": 80}}}));
    let spec = json!({"restartPolicy": "Always", "containers": [main]});
    let run = home.start_json(&shared.pod("tcp", spec));
    run.wait_for("Cannot run handler: invalid handler: ");
    run.stop(Signal::SIGINT).expect(130);
}

#[test]
fn f22_a_hook_under_way_holds_up_no_deletion() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let main = ends(
        "main",
        json!({"postStart": command("touch /d/began; sleep 1000")}),
    );
    let run = home.start_json(&shared.pod("begins", json!({"containers": [main]})));
    eventually("the hook", || shared.has("began"));
    run.stop(Signal::SIGINT).expect(130);
}

#[test]
fn f22_force_waits_for_no_hook() {
    let home = Home::new();
    let shared = Shared::new(&home);
    let main = ends(
        "main",
        json!({"preStop": command("touch /d/began; sleep 1000")}),
    );
    let spec = json!({"terminationGracePeriodSeconds": 100_000, "containers": [main]});
    let run = home.start_json(&shared.pod("forced", spec));
    run.wait_pod("it runs", |p| p.is_running("main"));
    run.signal(Signal::SIGINT);
    eventually("the hook", || shared.has("began"));
    // The second request is one for force.
    run.stop(Signal::SIGTERM).expect(143);
}

#[test]
fn the_manifest_may_choose_the_stop_signal() {
    let home = Home::new();
    let main = with(
        shell("main", "trap 'exit 7' USR1; echo up; sleep 1000 & wait"),
        json!({"lifecycle": {"stopSignal": "SIGUSR1"}}),
    );
    let spec = json!({"os": {"name": "linux"}, "containers": [main]});
    let run = home.start_pods(&[pod("signal", spec)], &[]);
    run.wait_for("main | up");
    let run = run.stop(Signal::SIGINT).expect(130);
    assert!(run.err().contains("main | Error (exit code 7)"), "{run:?}");
}
