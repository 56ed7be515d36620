//! Several supervisors on one machine don't collide.

use std::process::Command;

use carob_tests::{Home, Program, pod, shell};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const SLEEPS: &str = "trap 'exit 0' TERM; echo up; sleep 1000 & wait";

fn sleeps(name: &str) -> Value {
    pod(name, json!({"containers": [shell("main", SLEEPS)]}))
}

fn start(home: &Home, command: &mut Command, pod: &Value) -> Program {
    home.start_command(command.args(["run", "-"]), pod.to_string().as_bytes())
}

#[test]
fn different_states_may_have_pods_of_one_name() {
    let (one, two) = (Home::new(), Home::new());
    let runs = [&one, &two].map(|home| start(home, &mut home.command(), &sleeps("same")));
    for run in &runs {
        run.wait_for("main | up");
    }
    let [first, second] = runs;
    first.stop(Signal::SIGINT).expect(130);
    assert!(one.left().is_empty(), "{:?}", one.left());
    assert!(!two.left().is_empty(), "the other runs on");
    second.stop(Signal::SIGINT).expect(130);
}

#[test]
fn one_state_may_have_several_supervisors() {
    let home = Home::new();
    let first = start(&home, &mut home.command(), &sleeps("first"));
    first.wait_for("main | up");
    let second = start(&home, &mut home.command(), &sleeps("second"));
    second.wait_for("main | up");
    let quick = pod("quick", json!({"containers": [shell("main", "exit 4")]}));
    home.run(&quick).expect(4);
    first.stop(Signal::SIGINT).expect(130);
    let third = pod("third", json!({"containers": [shell("main", "exit 5")]}));
    home.run(&third).expect(5);
    second.stop(Signal::SIGINT).expect(130);
}

#[test]
fn a_name_that_runs_already_is_refused() {
    let home = Home::new();
    let first = start(&home, &mut home.command(), &sleeps("taken"));
    first.wait_for("main | up");
    let refused = home.run(&sleeps("taken")).expect(125);
    assert_eq!(
        refused.err(),
        "carob: Pod default/taken is already running here; stop it first, or give this one another name, \
         namespace or --state\n"
    );
    // The namespace is part of the name.
    let mut other = pod("taken", json!({"containers": [shell("main", "exit 4")]}));
    other["metadata"]["namespace"] = json!("other");
    home.run(&other).expect(4);
    // All or nothing.
    let refused = home
        .start_pods(&[sleeps("new"), sleeps("taken")], &[])
        .finish();
    assert!(refused.expect(125).err().contains("default/taken"));
    first.stop(Signal::SIGINT).expect(130);
}

#[test]
fn a_shared_root_is_no_reason_to_prune_the_others_pods() {
    let home = Home::new();
    let first = start(&home, &mut home.command(), &sleeps("mine"));
    first.wait_for("main | up");
    let other = home.path().join("other-state");
    let pruned = home
        .command_with(&home.root(), &other)
        .arg("prune")
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&pruned.stdout),
        "nothing was left behind\n"
    );
    assert_eq!(String::from_utf8_lossy(&pruned.stderr), "");
    let mut command = home.command_with(&home.root(), &other);
    let second = start(&home, &mut command, &sleeps("mine"));
    second.wait_for("main | up");
    second.stop(Signal::SIGINT).expect(130);
    first.stop(Signal::SIGINT).expect(130);
}

#[test]
fn pods_reach_each_other_and_the_host_reaches_them() {
    let home = Home::new();
    let serve = "mkdir /www; echo hello >/www/index.html; \
                 httpd -h /www -p 80; trap 'exit 0' TERM; sleep 1000 & wait";
    let server = pod("server", json!({"containers": [shell("main", serve)]}));
    let server = home.start_json(&server);
    let up = server.wait_pod("it runs", |p| p.is_running("main"));
    let ip = up.text("/status/podIP");
    let fetch = format!("until wget -q -O - http://{ip}/; do :; done");
    let client = pod("client", json!({"containers": [shell("main", &fetch)]}));
    let client = home.run(&client).expect(0);
    assert_eq!(client.out(), "main | hello\n");
    // Now it listens.
    let mut stream = std::net::TcpStream::connect((ip, 80)).unwrap();
    std::io::Write::write_all(&mut stream, b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let answer = std::io::read_to_string(stream).unwrap();
    assert!(answer.ends_with("hello\n"), "{answer}");
    server.stop(Signal::SIGINT).expect(130);
}
