//! Containers run with containerd's own client, `ctr`.

use crate::daemon::{BUSYBOX, Containerd, RUNTIME, wait_until};

/// A shell that ends with 5 when it is asked to, after it has said that it is there.
const WAITS: &str = "trap 'exit 5' TERM; echo up; sleep 1000 & wait";

#[test]
fn output_and_exit_code_come_back() {
    let containerd = Containerd::start();
    let command = ["sh", "-c", "echo out; echo err >&2; exit 7"];
    let ran = containerd.run(&["--rm"], "c1", &command).expect(7);
    assert_eq!(ran.out(), "out\n");
    // ctr may have a warning of its own before it.
    assert_eq!(ran.err().lines().last(), Some("err"));
    // The same name again.
    containerd.run(&["--rm"], "c1", &["true"]).expect(0);
    // Output to a file.
    let log = containerd.path().join("log");
    let uri = format!("file://{}", log.display());
    let said = ["sh", "-c", "echo logged"];
    containerd
        .run(&["--rm", "--log-uri", &uri], "c1", &said)
        .expect(0);
    assert_eq!(std::fs::read_to_string(log).unwrap(), "logged\n");
}

#[test]
fn input_reaches_the_container_and_ends() {
    let containerd = Containerd::start();
    let run = ["run", "--rm", "--runtime", RUNTIME];
    let args = [&run[..], &[BUSYBOX, "c1", "sha256sum"]].concat();
    let input: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let ran = carob_tests::Program::start(&mut containerd.ctr_command(&args), &input).finish();
    let sum = sha256(&input);
    assert_eq!(ran.expect(0).out(), format!("{sum}  -\n"));
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    let hash = sha2::Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The line of `ctr task ls` about the only task: its status.
fn status(containerd: &Containerd) -> String {
    let tasks = containerd.ctr(&["task", "ls"]).expect(0).out();
    let line = tasks.lines().nth(1).unwrap_or_default().to_owned();
    line.split_whitespace()
        .last()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_detached_container_is_paused_resumed_entered_killed_and_deleted() {
    let containerd = Containerd::start();
    let log = containerd.path().join("log");
    let uri = format!("file://{}", log.display());
    let options = ["--detach", "--log-uri", &uri];
    containerd
        .run(&options, "c1", &["sh", "-c", WAITS])
        .expect(0);
    // From here on it hears the signal.
    wait_until("up", || {
        std::fs::read_to_string(&log).is_ok_and(|said| said == "up\n")
    });
    assert_eq!(status(&containerd), "RUNNING");

    let command = ["sh", "-c", "hostname; echo no >&2; exit 3"];
    let exec = ["task", "exec", "--exec-id", "e1", "c1"];
    let exec = containerd.ctr(&[&exec[..], &command].concat()).expect(3);
    assert!(exec.err().contains("no\n"), "{exec:?}");

    containerd.ctr(&["task", "pause", "c1"]).expect(0);
    assert_eq!(status(&containerd), "PAUSED");
    containerd.ctr(&["task", "resume", "c1"]).expect(0);
    assert_eq!(status(&containerd), "RUNNING");

    let processes = containerd.ctr(&["task", "ps", "c1"]).expect(0).out();
    // The shell and its sleep, below a headline.
    assert_eq!(processes.lines().count(), 3, "{processes}");
    let metrics = containerd.ctr(&["task", "metrics", "c1"]).expect(0).out();
    assert!(metrics.contains("pids.current"), "{metrics}");

    let refused = containerd.ctr(&["task", "checkpoint", "c1"]).expect(1);
    assert!(refused.err().contains("not supported"), "{refused:?}");
    let refused = containerd.ctr(&["task", "delete", "c1"]).expect(1);
    assert!(refused.err().contains("must be stopped"), "{refused:?}");

    containerd
        .ctr(&["task", "kill", "--signal", "TERM", "c1"])
        .expect(0);
    wait_until("stopped", || status(&containerd) == "STOPPED");
    let deleted = containerd.ctr(&["task", "delete", "c1"]).expect(0);
    assert!(deleted.err().contains("exit code 5"), "{deleted:?}");
    containerd.ctr(&["container", "delete", "c1"]).expect(0);
}

#[test]
fn what_cannot_be_started_is_named_and_leaves_nothing() {
    let containerd = Containerd::start();
    let missing = containerd.run(&["--rm"], "c1", &["/nowhere"]).expect(1);
    assert!(missing.err().contains("/nowhere"), "{missing:?}");
    containerd.run(&["--rm"], "c1", &["true"]).expect(0);
}

#[test]
fn a_user_namespace_has_its_own_root() {
    let containerd = Containerd::start();
    let mapped = ["--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536"];
    let options = [&["--rm"], &mapped[..]].concat();
    let look = [
        "sh",
        "-c",
        "id -u; cat /proc/self/[ug]id_map; stat -c %u:%g /bin/sh",
    ];
    let ran = containerd.run(&options, "c1", &look).expect(0);
    let words: Vec<_> = ran.out().split_whitespace().map(str::to_owned).collect();
    let wanted = ["0", "0", "200000", "65536", "0", "100000", "65536", "0:0"];
    assert_eq!(words, wanted);
}

#[test]
fn a_root_is_moved_where_it_cannot_be_pivoted() {
    let containerd = Containerd::start();
    let look = ["sh", "-c", "ls -d /* | tr '\\n' ' '; touch /here"];
    let ran = containerd
        .run(&["--rm", "--no-pivot"], "c1", &look)
        .expect(0);
    assert!(ran.out().starts_with("/bin /dev /etc"), "{ran:?}");
}
