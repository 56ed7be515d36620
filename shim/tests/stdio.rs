//! Standard streams of all kinds.

mod harness;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use containerd_shim_protos::api::*;
use harness::*;
use serde_json::{Value, json};
use ttrpc::Code;

fn fifo(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o700)).expect("made");
    path
}

/// Opens a FIFO for reading as containerd does, without waiting.
fn reader(path: &Path) -> File {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    let file = file.expect("opened");
    // From here on reading waits for writers.
    nix::fcntl::fcntl(
        &file,
        nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty()),
    )
    .expect("set");
    file
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn fifos_as_containerd_makes_them() {
    let mut shim = Shim::start();
    let script = "read line; echo got $line; cat; echo end >&2";
    let bundle = shim.bundle("c1", config(&["sh", "-c", script]));
    let [stdin, stdout, stderr] = ["in", "out", "err"].map(|name| fifo(&bundle, name));
    let mut request = shim.request("c1", &bundle);
    request.stdin = stdin.display().to_string();
    request.stdout = stdout.display().to_string();
    request.stderr = stderr.display().to_string();
    let (mut out, mut err) = (reader(&stdout), reader(&stderr));
    shim.client.create(context(), &request).expect("created");
    let mut input = OpenOptions::new()
        .write(true)
        .open(&stdin)
        .expect("the shim holds it open");
    shim.start_container("c1").expect("started");
    input.write_all(b"one\ntwo\n").expect("written");
    // The client goes; only CloseIO lets the container see the end.
    drop(input);
    let mut again = OpenOptions::new()
        .write(true)
        .open(&stdin)
        .expect("still open");
    again.write_all(b"three\n").expect("written");
    drop(again);
    let close = CloseIORequest {
        id: "c1".into(),
        stdin: true,
        ..Default::default()
    };
    shim.client.close_io(context(), &close).expect("closed");
    assert_eq!(shim.wait("c1", "").expect("ended").exit_status, 0);
    let (mut out_text, mut err_text) = (String::new(), String::new());
    out.read_to_string(&mut out_text).expect("it ends");
    err.read_to_string(&mut err_text).expect("it ends");
    assert_eq!(
        (out_text.as_str(), err_text.as_str()),
        ("got one\ntwo\nthree\n", "end\n")
    );
    shim.delete("c1", "").expect("deleted");
}

#[test]
fn output_is_kept_for_a_reader_that_comes_after_the_end() {
    let mut shim = Shim::start();
    let bundle = shim.bundle("c1", config(&["echo", "last words"]));
    let stdout = fifo(&bundle, "out");
    let mut request = shim.request("c1", &bundle);
    request.stdout = stdout.display().to_string();
    shim.client.create(context(), &request).expect("created");
    shim.start_container("c1").expect("started");
    shim.wait("c1", "").expect("ended");
    let mut out = reader(&stdout);
    shim.delete("c1", "").expect("deleted");
    let mut text = String::new();
    out.read_to_string(&mut text).expect("it ends");
    assert_eq!(text, "last words\n");
}

#[test]
fn a_reader_that_goes_away_does_not_kill_the_container() {
    let mut shim = Shim::start();
    let script = "echo one; read x < /data/go; echo two; echo three; exit 4";
    let mut spec = config(&["sh", "-c", script]);
    let data = shim.dir.path().join("data");
    std::fs::create_dir(&data).expect("made");
    let go = fifo(&data, "go");
    spec["mounts"].as_array_mut().expect("a list").push(json!({
        "destination": "/data", "type": "bind", "source": data, "options": ["rbind", "rw"],
    }));
    let bundle = shim.bundle("c1", spec);
    let stdout = fifo(&bundle, "out");
    let mut request = shim.request("c1", &bundle);
    request.stdout = stdout.display().to_string();
    let mut out = reader(&stdout);
    shim.client.create(context(), &request).expect("created");
    shim.start_container("c1").expect("started");
    let mut first = [0; 4];
    out.read_exact(&mut first).expect("it writes");
    drop(out);
    std::fs::write(go, "x").expect("it reads");
    assert_eq!(shim.wait("c1", "").expect("no SIGPIPE").exit_status, 4);
    shim.delete("c1", "").expect("deleted");
}

#[test]
fn kubernetes_logs_of_both_streams() {
    let mut shim = Shim::start();
    let long = "head -c 20000 /dev/zero | tr '\\0' x";
    let script = format!("echo one; echo two >&2; {long}; echo; printf rest");
    let bundle = shim.bundle("c1", config(&["sh", "-c", &script]));
    let log = bundle.join("logs/0.log");
    let mut request = shim.request("c1", &bundle);
    request.stdout = format!("cri-log://{}?max-size=1000000&max-files=3", log.display());
    request.stderr = request.stdout.clone();
    shim.client.create(context(), &request).expect("created");
    shim.start_container("c1").expect("started");
    shim.wait("c1", "").expect("ended");
    // All of it is there when Wait returns.
    let text = text(&log);
    let mut records: Vec<(&str, &str, usize)> = text
        .lines()
        .map(|line| {
            let mut parts = line.splitn(4, ' ');
            let time = parts.next().expect("a time");
            assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
            let (stream, tag) = (
                parts.next().expect("a stream"),
                parts.next().expect("a tag"),
            );
            (stream, tag, parts.next().expect("a text").len())
        })
        .collect();
    let error = records
        .iter()
        .position(|record| record.0 == "stderr")
        .expect("it is there");
    assert_eq!(records.remove(error), ("stderr", "F", 3));
    assert_eq!(
        records,
        [
            ("stdout", "F", 3),
            ("stdout", "P", 16384),
            ("stdout", "F", 20000 - 16384),
            ("stdout", "P", 4),
        ]
    );
    assert_eq!(
        std::fs::metadata(&log).expect("there").permissions().mode() & 0o007,
        0
    );
    shim.delete("c1", "").expect("deleted");
}

#[test]
fn f8_a_grandchild_that_holds_the_streams_holds_up_nobody() {
    let mut shim = Shim::start();
    let mut spec = config(&["sh", "-c", "echo before; setsid sleep 1000 & exit 3"]);
    // In the machine's PID namespace nothing but the shim ends the grandchild.
    spec["linux"]["namespaces"]
        .as_array_mut()
        .expect("a list")
        .retain(|each| each["type"] != "pid");
    let output = shim.create_with_output("c1", spec).expect("created");
    shim.start_container("c1").expect("started");
    assert_eq!(shim.wait("c1", "").expect("ended").exit_status, 3);
    assert_eq!(text(&output), "before\n");
    shim.delete("c1", "").expect("deleted");
    assert!(shim.cgroups().is_empty());
    wait_until("orphans are reaped", || shim.children().is_empty());
}

#[test]
fn an_exec_that_leaves_a_grandchild_ends() {
    let mut shim = Shim::start();
    shim.create("c1", config(&["sleep", "1000"]))
        .expect("created");
    shim.start_container("c1").expect("started");
    let process = json!({
        "args": ["sh", "-c", "setsid sleep 1000 & echo out"], "cwd": "/", "env": ["PATH=/bin"],
        "user": { "uid": 0, "gid": 0 },
    });
    assert_eq!(shim.run_exec("c1", "e1", &process), (0, "out\n".into()));
}

#[test]
fn a_logging_program_as_containerd_documents_it() {
    let mut shim = Shim::start();
    let program = shim.dir.path().join("logger");
    let script = "#!/bin/sh\nout=$2\nexec 5>&-\n(cat <&4 | sed 's/^/err /' >> $out) &\n\
                  sed 's/^/out /' <&3 >> $out\nwait\necho \"$CONTAINER_ID $CONTAINER_NAMESPACE\" >> $out\n\
                  touch $out.done\n";
    std::fs::write(&program, script).expect("written");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("set");
    let log = shim.dir.path().join("log");
    let bundle = shim.bundle("c1", config(&["sh", "-c", "echo one; echo two >&2"]));
    let mut request = shim.request("c1", &bundle);
    request.stdout = format!("binary://{}?out={}", program.display(), log.display());
    request.stderr = request.stdout.clone();
    shim.client.create(context(), &request).expect("created");
    shim.start_container("c1").expect("started");
    shim.wait("c1", "").expect("ended");
    shim.delete("c1", "").expect("deleted");
    wait_until("the logger ends", || log.with_extension("done").exists());
    let text = text(&log);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let last = format!("c1 {}", shim.namespace);
    assert_eq!(lines, [last.as_str(), "err two", "out one"]);
    wait_until("the logger is reaped", || shim.children().is_empty());

    let bundle = shim.bundle("c2", config(&["true"]));
    let mut request = shim.request("c2", &bundle);
    request.stdout = "binary:///no/such/logger".into();
    let (code, why) = refused(shim.client.create(context(), &request));
    assert_eq!(code, Code::INVALID_ARGUMENT);
    assert!(why.contains("/no/such/logger"), "{why}");
}

fn terminal(shim: &mut Shim, id: &str, args: &[&str], stdout: &str, stdin: &str) {
    let mut spec = config(args);
    spec["process"]["terminal"] = Value::Bool(true);
    spec["process"]["consoleSize"] = json!({ "height": 7, "width": 77 });
    let bundle = shim.bundle(id, spec);
    let mut request = shim.request(id, &bundle);
    request.terminal = true;
    request.stdout = stdout.into();
    request.stdin = stdin.into();
    shim.client.create(context(), &request).expect("created");
}

#[test]
fn a_terminal_over_fifos() {
    let mut shim = Shim::start();
    let [stdin, stdout] = ["in", "out"].map(|name| fifo(shim.dir.path(), name));
    let mut out = reader(&stdout);
    let script = "test -t 0 && test -t 1 && test -t 2 && readlink /proc/self/fd/0; read x; echo got $x; stty size";
    terminal(
        &mut shim,
        "c1",
        &["sh", "-c", script],
        &stdout.display().to_string(),
        &stdin.display().to_string(),
    );
    let size = ResizePtyRequest {
        id: "c1".into(),
        width: 132,
        height: 43,
        ..Default::default()
    };
    shim.client.resize_pty(context(), &size).expect("resized");
    shim.start_container("c1").expect("started");
    let mut input = OpenOptions::new()
        .write(true)
        .open(&stdin)
        .expect("the shim holds it open");
    input.write_all(b"word\n").expect("written");
    assert_eq!(shim.wait("c1", "").expect("ended").exit_status, 0);
    let mut text = String::new();
    out.read_to_string(&mut text).expect("it ends");
    assert!(text.contains("/dev/pts/0\r\n"), "{text:?}");
    assert!(text.contains("got word\r\n"), "{text:?}");
    assert!(text.contains("43 132\r\n"), "{text:?}");
    shim.delete("c1", "").expect("deleted");
}

#[test]
fn a_terminal_into_a_log_and_an_exec_with_one() {
    let mut shim = Shim::start();
    let log = shim.dir.path().join("0.log");
    let url = format!("cri-log://{}", log.display());
    terminal(
        &mut shim,
        "c1",
        &["sh", "-c", "stty size; echo hello; sleep 1000"],
        &url,
        "",
    );
    shim.start_container("c1").expect("started");
    wait_until("the log has it", || {
        text(&log).contains(" stdout F hello\r\n")
    });
    assert!(text(&log).contains(" stdout F 7 77\r\n"), "{}", text(&log));
    let process = json!({
        "args": ["sh", "-c", "stty size; test -t 1 && echo tty"], "cwd": "/", "env": ["PATH=/bin"],
        "user": { "uid": 0, "gid": 0 }, "terminal": true,
        "consoleSize": { "width": 100, "height": 30 },
    });
    let (status, text) = shim.run_exec("c1", "e1", &process);
    assert_eq!((status, text.as_str()), (0, "30 100\r\ntty\r\n"));
    shim.kill("c1", "", 9, false).expect("killed");
    shim.wait("c1", "").expect("ended");
    shim.delete("c1", "").expect("deleted");
}

#[test]
fn b50_streams_that_can_not_be_opened_are_named_and_nothing_is_left() {
    let mut shim = Shim::start();
    let plain = shim.dir.path().join("plain");
    std::fs::write(&plain, "").expect("written");
    let before = shim.descriptors();
    for stdout in [
        "/no/such/fifo",
        plain.to_str().expect("text"),
        "ftp://x/y",
        "cri-log:///x?max-size=0",
    ] {
        let bundle = shim.bundle("c1", config(&["true"]));
        let mut request = shim.request("c1", &bundle);
        request.stdout = stdout.into();
        let (code, why) = refused(shim.client.create(context(), &request));
        assert_eq!(code, Code::INVALID_ARGUMENT);
        assert!(why.contains(stdout), "{why}");
        assert_eq!(refused(shim.state("c1", "")).0, Code::NOT_FOUND);
    }
    assert_eq!(shim.descriptors(), before);
    assert!(shim.children().is_empty() && shim.cgroups().is_empty());
}

#[test]
fn a_user_that_is_not_root_may_open_its_streams_again() {
    let mut shim = Shim::start();
    let mut spec = config(&[
        "sh",
        "-c",
        "echo one > /dev/stdout; echo two > /proc/self/fd/2",
    ]);
    spec["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    let (status, text) = shim.run_container("c1", spec);
    assert_eq!((status, text.as_str()), (0, "one\ntwo\n"));
}

#[test]
fn c18_b50_endless_writers_cost_no_memory_and_hold_up_nobody() {
    let mut shim = Shim::start();
    let bundle = shim.bundle("c1", config(&["yes"]));
    let mut request = shim.request("c1", &bundle);
    request.stdout = format!(
        "cri-log://{}?max-size=100000&max-files=2",
        bundle.join("log").display()
    );
    shim.client.create(context(), &request).expect("created");
    shim.start_container("c1").expect("started");
    let process = json!({ "args": ["yes"], "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } });
    // Nobody reads what the exec prints.
    let stdout = fifo(&bundle, "exec-out");
    shim.exec("c1", "e1", &process, &stdout.display().to_string())
        .expect("added");
    shim.start_process("c1", "e1").expect("started");
    let before = memory_of(shim.pid);
    let rotated = || {
        let names = std::fs::read_dir(&bundle).expect("listed").flatten();
        let newest =
            names.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"log."));
        newest.map(|entry| entry.file_name()).max()
    };
    for _ in 0..3 {
        let last = rotated();
        wait_until("the log is rotated", || rotated() > last);
        shim.state("c1", "").expect("it answers");
    }
    let after = memory_of(shim.pid);
    assert!(after < before + 4096, "{before} KiB, then {after}");
    shim.kill("c1", "e1", 9, false).expect("killed");
    assert_eq!(shim.wait("c1", "e1").expect("ended").exit_status, 137);
    shim.delete("c1", "e1").expect("deleted");
    shim.kill("c1", "", 9, false).expect("killed");
    shim.wait("c1", "").expect("ended");
    shim.delete("c1", "").expect("deleted");
}
