//! The examples of the README do what they say, and leave nothing.

use std::fs;
use std::path::Path;

use carob_tests::Home;
use nix::sys::signal::Signal;

/// The manifest with the images as this world has them.
fn example(name: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles/examples");
    let text = fs::read_to_string(dir.join(name)).unwrap();
    assert!(text.contains("image: 127.0.0.1:5050/"), "{name}");
    text.replace("image: 127.0.0.1:5050/", "image: ")
}

fn start(home: &Home, name: &str) -> carob_tests::Program {
    let file = home.file(name, example(name));
    home.start(&["run", file.to_str().unwrap()])
}

#[test]
fn job_succeeds() {
    let home = Home::new();
    let run = start(&home, "job.yaml").finish().expect(0);
    assert_eq!(run.out(), "sum | the sum is 5050\n");
    let states: Vec<_> = run.err().lines().map(str::to_owned).collect();
    assert_eq!(
        states,
        [
            "sum | ContainerCreating",
            "sum | Running",
            "sum | Completed"
        ]
    );
}

#[test]
fn fails_exits_with_the_containers_code() {
    let home = Home::new();
    let run = start(&home, "fails.yaml").finish().expect(3);
    assert_eq!(run.out(), "");
    assert!(run.err().contains("reader | no such record\n"), "{run:?}");
    assert!(
        run.err().contains("reader | Error (exit code 3)\n"),
        "{run:?}"
    );
}

#[test]
fn init_containers_run_in_order_before_the_app() {
    let home = Home::new();
    let run = start(&home, "init.yaml").finish().expect(0);
    let out = run.out();
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[..2], ["main   | first", "main   | second"]);
    // fsGroup 2000 owns what both users wrote.
    for (file, user) in [(" list", " 0 "), (" second", " 1000 ")] {
        let line = lines[2..].iter().find(|l| l.ends_with(file)).unwrap();
        assert!(line.contains(" 2000 ") && line.contains(user), "{line}");
    }
}

#[test]
fn two_pods_of_one_file_run_side_by_side() {
    let home = Home::new();
    let run = start(&home, "two-pods.yaml").finish().expect(0);
    let out = run.out();
    let greeting = out
        .lines()
        .find(|l| l.starts_with("greeter/hello"))
        .unwrap();
    assert!(greeting.contains("| hello from greeter at 10."), "{run:?}");
    for line in [
        "confined/confined | the volume can be written",
        "confined/confined | the root file system cannot",
        "confined/confined | CapEff:\t0000000000000000",
        "confined/confined | NoNewPrivs:\t1",
        "confined/confined | Seccomp:\t2",
    ] {
        assert!(out.lines().any(|l| l == line), "{line} in {run:?}");
    }
}

#[test]
fn web_shares_network_and_volume_and_ends_on_ctrl_c() {
    let home = Home::new();
    let run = start(&home, "web.yaml");
    run.wait_for("busybox | <h1>Welcome to nginx!</h1>");
    run.wait_for("busybox | nginx serves: page 1, written by busybox");
    assert!(!home.left().is_empty(), "the harness sees what runs");
    let run = run.stop(Signal::SIGINT).expect(130);
    assert!(run.out().contains("busybox | going, after "), "{run:?}");
    assert!(run.err().contains("nginx   | Completed\n"), "{run:?}");
    assert!(run.err().contains("busybox | Completed\n"), "{run:?}");
}

#[test]
fn probes_restart_what_is_ill_and_the_hook_says_goodbye() {
    let home = Home::new();
    let run = start(&home, "probes.yaml");
    run.wait_for("probes: Unhealthy: Liveness probe failed: taken ill");
    run.wait_for("web | well again");
    let run = run.stop(Signal::SIGINT).expect(130);
    // Once when it was ill, once now.
    let said = ["goodbye", "stopping", "well again", "goodbye", "stopping"];
    assert_eq!(run.lines_of("web"), said, "{run:?}");
}
