//! SIGKILL of the supervisor at every boundary between two things that it does, and SIGTERM at any moment.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use carob_tests::{Home, Pod, pod, shell, with};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const UP: &str = "trap 'exit 0' TERM; sleep 1000 & wait";
const NAMES: [&str; 3] = ["side", "one", "two"];

/// An init container that leaves a line in a volume, a sidecar, and two containers.
fn all_kinds() -> Value {
    let mounts = json!({"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]});
    let spec = json!({
        "volumes": [{"name": "shared", "emptyDir": {}}],
        "initContainers": [
            with(shell("init", "echo init >>/shared/log"), mounts),
            with(shell("side", UP), json!({"restartPolicy": "Always"})),
        ],
        "containers": [shell("one", UP), shell("two", UP)],
    });
    pod("every", spec)
}

fn all_run(pod: &Pod) -> bool {
    NAMES.iter().all(|name| pod.is_running(name))
}

/// What is there of a Pod that runs: one of everything, begun once.
fn is_one(home: &Home, pod: &Pod, at: u32) {
    for name in NAMES.iter().chain(&["init"]) {
        assert_eq!(pod.restarts(name), 0, "{name} after dying at {at}: {pod:?}");
    }
    assert_eq!(home.shims().len(), 1, "shims after dying at {at}");
    let uid = pod.text("/metadata/uid");
    let bundles = fs::read_dir(home.state().join("bundles").join(uid)).unwrap();
    let sandboxes = bundles.filter(|bundle| {
        let name = bundle.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("_sandbox.")
    });
    assert_eq!(sandboxes.count(), 1, "sandboxes after dying at {at}");
    let volume = format!("pods/{uid}/volumes/kubernetes.io~empty-dir/shared/log");
    let log = fs::read_to_string(home.root().join(volume)).unwrap();
    assert_eq!(log, "init\n", "after dying at {at}");
}

/// Kills a supervisor at every `step`th boundary of a Pod's life, which ends by a deletion; each time another one
/// goes on.
fn die_at_every(step: u32, first: u32) {
    let home = Home::new();
    let manifest = all_kinds().to_string();
    for at in (first..).step_by(step as usize) {
        let mut command = home.command();
        command.args(["run", "-", "-o", "json"]);
        command.env("CAROB_DIE_AT", at.to_string());
        let run = home.start_command(&mut command, manifest.as_bytes());
        if run.wait_pod_or_end("all run", all_run).is_some() {
            run.signal(Signal::SIGTERM);
        }
        let ended = run.finish();
        if ended.code == 143 {
            assert!(
                at > 60,
                "it did not die at boundary {at}: are the programs built without debug assertions?"
            );
            return;
        }
        let ended = ended.expect(137);
        let next = home.start(&["run", "--adopt", "-o", "json"]);
        let code = match next.wait_pod_or_end("all run", all_run) {
            Some(pod) => {
                is_one(&home, &pod, at);
                next.signal(Signal::SIGTERM);
                143
            }
            // It had been deleted before, or never begun.
            None => 0,
        };
        let next = next.finish();
        assert_eq!(
            next.code, code,
            "after dying at {at}:\n{ended:?}\nthen\n{next:?}"
        );
        assert_eq!(home.left(), Vec::<String>::new(), "after dying at {at}");
    }
}

#[test]
fn f02_dying_at_any_boundary_1() {
    die_at_every(4, 1);
}

#[test]
fn f02_dying_at_any_boundary_2() {
    die_at_every(4, 2);
}

#[test]
fn f02_dying_at_any_boundary_3() {
    die_at_every(4, 3);
}

#[test]
fn f02_dying_at_any_boundary_4() {
    die_at_every(4, 4);
}

#[test]
fn f28_sigterm_at_any_moment_of_a_start_leaves_nothing() {
    let home = Home::new();
    let small = pod("small", json!({"containers": [shell("main", UP)]}));
    for moment in 0..100 {
        let run = home.start_json(&small);
        // Over the whole start, in no order.
        sleep(Duration::from_millis(moment * 37 % 100 * 4));
        run.stop(Signal::SIGTERM).expect(143);
    }
}
