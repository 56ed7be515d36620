//! Volumes: emptyDir, hostPath and its types, subPath and what an attacker does with it.

use std::fs;
use std::os::unix::fs::symlink;

use carob_tests::{Home, Pod, eventually, pod, shell, with};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

fn mounted(name: &str, script: &str, mounts: Value) -> Value {
    with(shell(name, script), json!({"volumeMounts": mounts}))
}

#[test]
fn empty_dir_is_shared_by_containers_and_survives_restarts() {
    let home = Home::new();
    let mount = json!([{"name": "v", "mountPath": "/v"}]);
    let writer = mounted(
        "writer",
        "echo data >/v/tmp && mv /v/tmp /v/file",
        mount.clone(),
    );
    let reads = "until [ -e /v/file ]; do :; done; cat /v/file; [ -e /v/again ] || { touch /v/again; exit 1; }";
    let spec = json!({
        "restartPolicy": "OnFailure",
        "volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [writer, mounted("reader", reads, mount)],
    });
    let run = home.run(&pod("shared", spec)).expect(0);
    assert_eq!(run.lines_of("reader"), ["data", "data"]);
}

#[test]
fn empty_dirs_outlive_a_sandbox_that_is_replaced() {
    let home = Home::new();
    let script = "trap 'exit 0' TERM; for d in /disk /memory/sub; do echo here >>$d/log; done; \
                  sleep 1000 & wait";
    let mounts = json!([
        {"name": "disk", "mountPath": "/disk"},
        {"name": "memory", "mountPath": "/memory/sub", "subPath": "sub"},
    ]);
    let spec = json!({
        "restartPolicy": "Always",
        "volumes": [
            {"name": "disk", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory"}},
        ],
        "containers": [mounted("main", script, mounts)],
    });
    let run = home.start_json(&pod("keeps", spec));
    let log = |pod: &Pod, file: &str| {
        let volumes = home.root().join("pods").join(pod.text("/metadata/uid"));
        let path = volumes.join("volumes/kubernetes.io~empty-dir").join(file);
        fs::read_to_string(path).unwrap_or_default()
    };
    for (restarts, lines) in [(0, "here\n"), (1, "here\nhere\n")] {
        let pod = run.wait_pod("running", |p| {
            p.is_running("main") && p.restarts("main") == restarts
        });
        for file in ["disk/log", "memory/sub/log"] {
            eventually(file, || log(&pod, file) == lines);
        }
        if restarts == 0 {
            home.kill_shims();
        }
    }
    // Nothing is left of them: what a world drops is looked at.
    run.stop(Signal::SIGTERM).expect(143);
}

#[test]
fn empty_dir_in_memory_is_a_tmpfs_with_its_limit() {
    let home = Home::new();
    let script = "grep ' /v ' /proc/mounts | cut -d' ' -f3; \
                  dd if=/dev/zero of=/v/big bs=1M count=3 2>/dev/null || echo full; stat -c %s /v/big";
    let spec = json!({
        "volumes": [{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "2Mi"}}],
        "containers": [mounted("main", script, json!([{"name": "v", "mountPath": "/v"}]))],
    });
    let run = home.run(&pod("memory", spec)).expect(0);
    assert_eq!(run.lines_of("main"), ["tmpfs", "full", "2097152"]);
}

#[test]
fn a_volume_can_be_mounted_read_only_beside_writable() {
    let home = Home::new();
    let mounts = json!([
        {"name": "v", "mountPath": "/rw"},
        {"name": "v", "mountPath": "/ro", "readOnly": true},
        {"name": "v", "mountPath": "/etc/deep/below"},
    ]);
    let script = "echo x >/rw/file; touch /ro/no 2>/dev/null || echo refused; cat /ro/file /etc/deep/below/file";
    let spec = json!({
        "volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [mounted("main", script, mounts)],
    });
    let run = home.run(&pod("views", spec)).expect(0);
    assert_eq!(run.lines_of("main"), ["refused", "x", "x"]);
}

#[test]
fn f30_what_is_behind_a_host_path_stays() {
    let home = Home::new();
    let dir = home.path().join("data");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::write(dir.join("sub/canary"), "alive").unwrap();
    let spec = json!({
        "volumes": [{"name": "v", "hostPath": {"path": dir, "type": "Directory"}}],
        "containers": [mounted("main", "cat /v/sub/canary; echo; echo new >/v/new", json!([{"name": "v", "mountPath": "/v"}]))],
    });
    let run = home.run(&pod("host", spec)).expect(0);
    assert_eq!(run.lines_of("main"), ["alive"]);
    assert_eq!(fs::read_to_string(dir.join("sub/canary")).unwrap(), "alive");
    assert_eq!(fs::read_to_string(dir.join("new")).unwrap(), "new\n");
}

#[test]
fn b18_host_path_types_that_fit() {
    let home = Home::new();
    let base = home.path().join("types");
    fs::create_dir(&base).unwrap();
    fs::write(base.join("file"), "").unwrap();
    symlink("file", base.join("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(base.join("socket")).unwrap();
    let volume = |name: &str, path: &str, kind: &str| {
        let path = if path.starts_with('/') {
            path.into()
        } else {
            base.join(path)
        };
        json!({"name": name, "hostPath": {"path": path, "type": kind}})
    };
    let volumes = json!([
        volume("any", "file", ""),
        volume("file", "file", "File"),
        volume("link", "link", "File"),
        volume("new-file", "made/file", "FileOrCreate"),
        volume("new-dir", "made-dir", "DirectoryOrCreate"),
        volume("socket", "socket", "Socket"),
        volume("char", "/dev/null", "CharDevice"),
    ]);
    fs::create_dir(base.join("made")).unwrap();
    let names: Vec<&str> = volumes
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["name"].as_str().unwrap())
        .collect();
    let mounts: Vec<Value> = names
        .iter()
        .map(|n| json!({"name": n, "mountPath": format!("/m/{n}")}))
        .collect();
    let main = mounted("main", "cd /m; stat -c '%n %F' *", mounts.into());
    let run = home
        .run(&pod(
            "fits",
            json!({"volumes": volumes, "containers": [main]}),
        ))
        .expect(0);
    let lines = run.lines_of("main");
    for line in [
        "new-dir directory",
        "socket socket",
        "char character special file",
        "new-file regular empty file",
    ] {
        assert!(lines.contains(&line.to_owned()), "{line} in {lines:?}");
    }
    assert!(base.join("made/file").is_file() && base.join("made-dir").is_dir());
}

#[test]
fn b18_host_path_types_that_do_not_fit_keep_the_pod_waiting() {
    let home = Home::new();
    let file = home.file("file", "");
    for (path, kind) in [
        (file.clone(), "Directory"),
        (file.clone(), "Socket"),
        (file.clone(), "BlockDevice"),
        (home.path().to_owned(), "File"),
        (home.path().join("missing"), "Directory"),
        (home.path().join("missing"), "File"),
        (file, "DirectoryOrCreate"),
    ] {
        let spec = json!({
            "volumes": [{"name": "v", "hostPath": {"path": path, "type": kind}}],
            "containers": [mounted("main", "echo never", json!([{"name": "v", "mountPath": "/v"}]))],
        });
        let run = home.start_pods(&[pod("unfit", spec)], &[]);
        let line = run.wait_for(path.to_str().unwrap());
        assert!(
            line.starts_with("unfit: ") && line.contains("hostPath"),
            "{line}"
        );
        let run = run.stop(Signal::SIGINT).expect(130);
        assert_eq!(run.out(), "", "{run:?}");
    }
}

#[test]
fn sub_paths_are_files_or_directories_of_the_volume() {
    let home = Home::new();
    let prepare = mounted(
        "prepare",
        "mkdir -p /v/a/b; echo deep >/v/a/b/file; echo other >/v/other",
        json!([{"name": "v", "mountPath": "/v"}]),
    );
    let mounts = json!([
        {"name": "v", "mountPath": "/dir", "subPath": "a/b"},
        {"name": "v", "mountPath": "/etc/one", "subPath": "a/b/file"},
        {"name": "v", "mountPath": "/new", "subPath": "made/here"},
        {"name": "v", "mountPath": "/named", "subPathExpr": "of-$(POD)"},
    ]);
    let script = "ls /dir; cat /etc/one; ls /new | wc -l; echo mine >/named/file; ls -a /dir/.. | grep -c other";
    let env = json!({"env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]});
    let check = mounted(
        "check",
        "until [ -e /v/of-parts/file ]; do :; done; ls -d /v/made/here",
        json!([{"name": "v", "mountPath": "/v"}]),
    );
    let spec = json!({
        "volumes": [{"name": "v", "emptyDir": {}}],
        "initContainers": [prepare],
        "containers": [with(mounted("main", &format!("{script} || true"), mounts), env), check],
    });
    let run = home.run(&pod("parts", spec)).expect(0);
    assert_eq!(run.lines_of("main"), ["file", "deep", "0", "0"]);
    assert_eq!(run.lines_of("check"), ["/v/made/here"]);
}

#[test]
fn c25_a_sub_path_never_leads_out_of_its_volume() {
    let home = Home::new();
    let canary = home.path().join("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("secret"), "secret").unwrap();
    let plant = format!(
        "ln -s / /v/root; ln -s {} /v/canary; ln -s ../../../.. /v/up; ln -s loop /v/loop; ln -s /etc/passwd /v/file",
        canary.display()
    );
    for sub_path in ["root", "root/etc", "canary", "up", "up/etc", "loop", "file"] {
        let main = mounted(
            "main",
            "cat /evil/secret /evil/shadow /evil; touch /evil/planted",
            json!([{"name": "v", "mountPath": "/evil", "subPath": sub_path}]),
        );
        let spec = json!({
            "volumes": [{"name": "v", "emptyDir": {}}],
            "initContainers": [mounted("plant", &plant, json!([{"name": "v", "mountPath": "/v"}]))],
            "containers": [main],
        });
        let run = home.start_json(&pod("escape", spec));
        let waits = run.wait_pod("it is refused", |p| {
            p.state("main") == "CreateContainerConfigError"
        });
        let message = waits.container("main")["state"]["waiting"]["message"].to_string();
        assert!(
            message.contains("subPath") && message.contains(sub_path),
            "{message}"
        );
        run.stop(Signal::SIGINT).expect(130);
    }
    assert_eq!(fs::read_dir(&canary).unwrap().count(), 1);
}
