//! `carob run --bundle`: ready OCI bundles in scripts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use carob_tests::{Home, images};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// A bundle as `runc spec` makes it, with busybox as its root file system and a script to run.
fn bundle(home: &Home, name: &str, script: &str) -> PathBuf {
    let dir = home.path().join(name);
    let rootfs = dir.join("rootfs");
    fs::create_dir_all(&rootfs).unwrap();
    let run = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
    run(Command::new("runc").args(["spec", "--bundle"]).arg(&dir));
    run(Command::new("tar")
        .arg("-xzf")
        .arg(layer())
        .arg("-C")
        .arg(&rootfs));
    change(&dir, |config| {
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sh", "-c", script]);
    });
    dir
}

/// The layer of the busybox image.
fn layer() -> PathBuf {
    let layout = images().join("busybox");
    let read =
        |file: PathBuf| -> Value { serde_json::from_slice(&fs::read(file).unwrap()).unwrap() };
    let blob = |digest: &Value| {
        let hash = digest.as_str().unwrap().trim_start_matches("sha256:");
        layout.join("blobs/sha256").join(hash)
    };
    let index = read(layout.join("index.json"));
    let manifest = read(blob(&index["manifests"][0]["digest"]));
    blob(&manifest["layers"][0]["digest"])
}

fn change(bundle: &Path, edit: impl FnOnce(&mut Value)) {
    let file = bundle.join("config.json");
    let mut config = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    edit(&mut config);
    fs::write(file, config.to_string()).unwrap();
}

/// `run --bundle A --bundle B …`.
fn args(bundles: &[&Path]) -> Vec<String> {
    let flags = bundles
        .iter()
        .flat_map(|b| ["--bundle".into(), b.display().to_string()]);
    std::iter::once("run".to_owned()).chain(flags).collect()
}

fn start(home: &Home, bundles: &[&Path], more: &[&str]) -> carob_tests::Program {
    let args = args(bundles);
    let args: Vec<&str> = args
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect();
    home.start(&args)
}

#[test]
fn streams_and_exit_code_pass_through_byte_for_byte() {
    let home = Home::empty();
    let job = bundle(
        &home,
        "job",
        "printf 'a\\000\\377 no newline'; printf 'to stderr' >&2; exit 42",
    );
    let run = start(&home, &[&job], &[]).finish().expect(42);
    assert_eq!(run.stdout, b"a\0\xff no newline");
    assert_eq!(run.stderr, b"to stderr");
}

#[test]
fn a_job_can_be_part_of_a_shell_script() {
    let home = Home::empty();
    bundle(&home, "job", "echo worked");
    bundle(&home, "broken", "exit 1");
    let script = format!(
        "cd {:?}; {carob:?} run --bundle ./job && echo next; {carob:?} run --bundle broken && echo not this",
        home.path(),
        carob = home.command(),
    );
    let shell = home.start_command(Command::new("sh").args(["-c", &script]), b"");
    assert_eq!(shell.finish().expect(1).out(), "worked\nnext\n");
}

#[test]
fn large_output_comes_whole() {
    let home = Home::empty();
    // The same on both sides, of bytes of all kinds.
    let job = bundle(
        &home,
        "job",
        "for i in 1 2 3 4 5 6 7 8; do cat /bin/busybox; done; seq 1 200000 >&2",
    );
    let busybox = fs::read(job.join("rootfs/bin/busybox")).unwrap();
    let run = start(&home, &[&job], &[]).finish().expect(0);
    assert_eq!(run.stdout.len(), 8 * busybox.len());
    assert!(run.stdout == busybox.repeat(8), "some bytes differ");
    let numbers: Vec<String> = (1..=200_000).map(|n| format!("{n}\n")).collect();
    assert!(
        run.stderr == numbers.concat().into_bytes(),
        "some bytes differ"
    );
}

#[test]
fn two_bundles_are_one_pod_and_share_its_network() {
    let home = Home::empty();
    let serve = "echo hello | nc -l -p 80";
    let fetch = "until nc 127.0.0.1 80 </dev/null 2>/dev/null; do :; done";
    let [server, client] = [("server", serve), ("client", fetch)].map(|(n, s)| bundle(&home, n, s));
    let run = start(&home, &[&server, &client], &[]).finish().expect(0);
    assert_eq!(run.lines_of("client-1"), ["hello"]);
    assert!(run.err().contains("server-0 | Completed"), "{run:?}");
}

#[test]
fn the_exit_code_of_several_is_that_of_the_first_that_failed() {
    let home = Home::empty();
    let [a, b, c] = ["exit 0", "exit 6", "exit 7"].map(|s| bundle(&home, &s.replace(' ', "-"), s));
    start(&home, &[&a, &c, &b], &[]).finish().expect(7);
}

#[test]
fn one_bundle_can_be_there_twice() {
    let home = Home::empty();
    let job = bundle(&home, "job", "echo once");
    let run = start(&home, &[&job, &job], &[]).finish().expect(0);
    assert_eq!(
        (run.lines_of("job-0"), run.lines_of("job-1")),
        (vec!["once".into()], vec!["once".into()])
    );
}

#[test]
fn json_is_one_line_that_tells_how_it_ended() {
    let home = Home::empty();
    let job = bundle(&home, "job", "echo out; echo err >&2; exit 3");
    let run = start(&home, &[&job], &["--json"]).finish().expect(3);
    assert_eq!(run.err(), "", "{run:?}");
    assert_eq!(run.out().lines().count(), 1, "{run:?}");
    let result: Value = serde_json::from_str(&run.out()).unwrap();
    assert_eq!(result["phase"], "Failed");
    let container = &result["containers"][0];
    assert_eq!(container["exitCode"], 3);
    assert_eq!(container["bundle"], job.to_str().unwrap());
    assert_eq!(container["state"]["terminated"]["reason"], "Error");
    let log = fs::read_to_string(container["log"].as_str().unwrap()).unwrap();
    assert!(
        log.contains(" stdout F out\n") && log.contains(" stderr F err\n"),
        "{log}"
    );
}

#[test]
fn signals_end_it_gracefully() {
    let home = Home::empty();
    let job = bundle(
        &home,
        "job",
        "trap 'echo bye; exit 0' TERM; echo up; sleep 1000 & wait",
    );
    let run = start(&home, &[&job], &[]);
    run.wait_for("up");
    let run = run.stop(Signal::SIGINT).expect(130);
    assert_eq!(run.out(), "up\nbye\n");
    start(&home, &[&job], &["--timeout", "1s"])
        .finish()
        .expect(124);
}

#[test]
fn a_bundle_keeps_its_own_settings() {
    let home = Home::empty();
    let job = bundle(
        &home,
        "job",
        "id -u; pwd; echo $OWN; touch /x 2>/dev/null || echo read-only; grep CapEff /proc/self/status",
    );
    change(&job, |config| {
        config["process"]["user"] = json!({"uid": 33, "gid": 33});
        config["process"]["cwd"] = json!("/tmp");
        config["process"]["env"] = json!(["PATH=/bin", "OWN=set"]);
        config["hostname"] = json!("ignored");
    });
    let run = start(&home, &[&job], &[]).finish().expect(0);
    assert_eq!(
        run.out(),
        "33\n/tmp\nset\nread-only\nCapEff:\t0000000000000000\n"
    );
}

#[test]
fn a_bundles_directory_is_left_as_it_was() {
    let home = Home::empty();
    let job = bundle(&home, "job", "true");
    let list = |dir: &Path| {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let before = (
        list(&job),
        list(&job.join("rootfs")),
        fs::read(job.join("config.json")).unwrap(),
    );
    start(&home, &[&job], &[]).finish().expect(0);
    let after = (
        list(&job),
        list(&job.join("rootfs")),
        fs::read(job.join("config.json")).unwrap(),
    );
    assert_eq!(before.0, after.0);
    assert_eq!(before.1, after.1);
    assert_eq!(before.2, after.2);
}

#[test]
fn a_program_that_is_not_there_is_told() {
    let home = Home::empty();
    let job = bundle(&home, "job", "");
    change(&job, |config| {
        config["process"]["args"] = json!(["no-such"])
    });
    let run = start(&home, &[&job], &[]).finish().expect(128);
    assert!(
        run.err().contains("no-such") && run.err().contains("not found"),
        "{run:?}"
    );
    assert!(
        run.err().starts_with("carob: ") && run.err().lines().count() == 1,
        "{run:?}"
    );
    let run = start(&home, &[&job], &["--json"]).finish().expect(128);
    let result: Value = serde_json::from_str(&run.out()).unwrap();
    assert_eq!(
        result["containers"][0]["state"]["terminated"]["reason"],
        "StartError"
    );
}

#[test]
fn a_reader_that_goes_away_does_not_end_the_job() {
    let home = Home::empty();
    let job = bundle(&home, "job", "seq 1 100000; echo done >/done");
    change(&job, |config| config["root"]["readonly"] = json!(false));
    let script = format!("{:?} run --bundle {job:?} | head -n1", home.command());
    let shell = home.start_command(Command::new("sh").args(["-c", &script]), b"");
    assert_eq!(shell.finish().expect(0).out(), "1\n");
    assert_eq!(
        fs::read_to_string(job.join("rootfs/done")).unwrap(),
        "done\n"
    );
}

/// What is said to a bundle that must be refused: one sentence; nothing is made.
fn refused(home: &Home, bundles: &[&Path]) -> String {
    let run = start(home, bundles, &[]).finish().expect(125);
    assert_eq!(run.out(), "");
    assert_eq!(run.err().lines().count(), 1, "{run:?}");
    assert_eq!(home.left(), Vec::<String>::new());
    let sentence = run.err().trim_end().to_owned();
    assert!(sentence.starts_with("carob: "), "{sentence}");
    sentence
}

#[test]
fn b47_bad_bundles_get_one_sentence_and_leave_nothing() {
    let home = Home::empty();
    let good = bundle(&home, "good", "echo never");
    let text = fs::read_to_string(good.join("config.json")).unwrap();
    let bad = home.path().join("bad");
    let check = |what: &str, config: Option<&str>, rootfs: &dyn Fn(&Path), word: &str| {
        fs::create_dir(&bad).unwrap();
        rootfs(&bad.join("rootfs"));
        if let Some(config) = config {
            fs::write(bad.join("config.json"), config).unwrap();
        }
        // Neither alone nor beside a good one.
        for bundles in [&[&*bad][..], &[&*good, &*bad]] {
            let sentence = refused(&home, bundles);
            assert!(
                sentence.contains(bad.to_str().unwrap()) && sentence.contains(word),
                "{what}: {sentence}"
            );
        }
        fs::remove_dir_all(&bad).unwrap();
    };
    let dir = |path: &Path| fs::create_dir(path).unwrap();
    let with = |pointer: &str, value: Value| {
        let mut config: Value = serde_json::from_str(&text).unwrap();
        *config.pointer_mut(pointer).unwrap() = value;
        config.to_string()
    };
    check("no config.json", None, &dir, "config.json");
    check("empty", Some(""), &dir, "EOF");
    check("truncated", Some(&text[..text.len() / 2]), &dir, "EOF");
    check("not JSON", Some("hello"), &dir, "config.json");
    check(
        "another version",
        Some(&with("/ociVersion", json!("99.0.0"))),
        &dir,
        "99.0.0",
    );
    check(
        "unknown namespace",
        Some(&with("/linux/namespaces/0/type", json!("astral"))),
        &dir,
        "astral",
    );
    check(
        "no args",
        Some(&with("/process/args", json!([]))),
        &dir,
        "process.args",
    );
    check(
        "empty args",
        Some(&with("/process/args", json!([""]))),
        &dir,
        "process.args",
    );
    check(
        "no cwd",
        Some(&with("/process/cwd", json!(""))),
        &dir,
        "process.cwd",
    );
    check(
        "relative cwd",
        Some(&with("/process/cwd", json!("tmp"))),
        &dir,
        "process.cwd",
    );
    check(
        "no process",
        Some(&with("/process", Value::Null)),
        &dir,
        "process",
    );
    check("no rootfs", Some(&text), &|_: &Path| (), "root.path");
    check(
        "rootfs is a file",
        Some(&text),
        &|path: &Path| fs::write(path, "").unwrap(),
        "root.path",
    );
    let link = |path: &Path| std::os::unix::fs::symlink("/", path).unwrap();
    check(
        "rootfs is a symbolic link",
        Some(&text),
        &link,
        "symbolic link",
    );
    let missing = home.path().join("missing");
    assert!(refused(&home, &[&missing]).contains("cannot find the bundle"));
}
