//! Configurations made here, run by runc: what the container sees is what the Pod asked for.
//!
//! runc is a second opinion, not the runtime that Carob uses; a configuration that only our own shim
//! understood would be no bundle.

#![allow(clippy::unwrap_used, reason = "a test ends there")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use carob_bundles::image::config::ImageConfig;
use carob_bundles::image::users::Users;
use carob_bundles::pause;
use carob_bundles::spec::{self, ContainerInput, Machine, PodFiles, SandboxInput, VolumeBind};
use carob_core::parse::parse_manifest;
use carob_core::pod::Pod;
use oci_spec::runtime::Spec;
use tempfile::TempDir;

/// A Pod on its way through runc; everything is gone when it is dropped.
struct Running {
    dir: TempDir,
    id: String,
    pod: Pod,
    machine: Machine,
    pid: u32,
}

impl Running {
    /// Parses the manifest and starts its sandbox.
    fn new(manifest: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut uid = || "0ddba11".to_owned();
        let parsed = parse_manifest(manifest.as_bytes(), "pod.yaml", &mut uid).unwrap();
        let mut running = Self {
            dir: tempfile::tempdir().unwrap(),
            id: format!("carob-test-{}-{number}", std::process::id()),
            pod: parsed.pods[0].clone(),
            machine: Machine::detect().unwrap(),
            pid: 0,
        };
        let rootfs = pause::install(&running.path("pause")).unwrap();
        let config = spec::sandbox(&SandboxInput {
            pod: &running.pod,
            id: &running.id,
            hostname: "web",
            rootfs: &rootfs,
            cgroups_path: &running.cgroup("sandbox"),
        });
        let bundle = running.bundle("sandbox", config.unwrap());
        let pid_file = running.path("pid");
        let started = running
            .runc("run", &["--detach", "--pid-file"])
            .arg(&pid_file)
            .arg("--bundle")
            .arg(bundle)
            .arg(&running.id)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        assert!(started.unwrap().success());
        running.pid = fs::read_to_string(pid_file).unwrap().parse().unwrap();
        running
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn cgroup(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/{}/{name}", self.id))
    }

    /// Runs `find` on what is left of its cgroups.
    fn cgroups(&self, action: &[&str]) -> String {
        let found = Command::new("find")
            .args(["/sys/fs/cgroup", "-depth", "-type", "d", "-path"])
            .arg(format!("*/{}*", self.id))
            .args(action)
            .output();
        String::from_utf8(found.unwrap().stdout).unwrap()
    }

    fn runc(&self, command: &str, arguments: &[&str]) -> Command {
        let mut runc = Command::new("runc");
        runc.arg("--root")
            .arg(self.path("state"))
            .arg(command)
            .args(arguments);
        runc
    }

    fn bundle(&self, name: &str, config: Spec) -> PathBuf {
        let bundle = self.path(name);
        fs::create_dir_all(&bundle).unwrap();
        let mut config = serde_json::to_value(config).unwrap();
        // Carob's shim raises what it may not set; runc gives up on it.
        let score = config["process"]["oomScoreAdj"].as_i64().unwrap();
        config["process"]["oomScoreAdj"] = score.max(0).into();
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        bundle
    }

    /// Runs `script` with busybox in the Pod's first container and returns what it printed.
    fn sh(&self, name: &str, image: &ImageConfig, mounts: &[VolumeBind], script: &str) -> String {
        let output = self.output(name, image, mounts, script);
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}{errors}");
        text
    }

    fn output(
        &self,
        name: &str,
        image: &ImageConfig,
        mounts: &[VolumeBind],
        script: &str,
    ) -> Output {
        let bundle = self.path(name);
        make_rootfs(&bundle.join("rootfs"));
        let file = |name: &str, text: &str| {
            let path = self.path(name);
            fs::write(&path, text).unwrap();
            path
        };
        let shm = self.path("shm");
        fs::create_dir_all(&shm).unwrap();
        let (hosts, hostname) = (
            file("hosts", "127.0.0.1 localhost\n"),
            file("hostname", "web\n"),
        );
        let log = file("termination-log", "");
        let script = ["/bin/sh", "-ec", script].map(str::to_owned);
        let config = spec::container(&ContainerInput {
            pod: &self.pod,
            container: &self.pod.spec.containers[0],
            image,
            image_name: "busybox",
            users: &users(),
            command: &script,
            args: &[],
            env: &[("GREETING".to_owned(), "hello world".to_owned())],
            hostname: "web",
            sandbox_id: &self.id,
            sandbox_pid: self.pid,
            cgroups_path: &self.cgroup(name),
            files: PodFiles {
                hosts: Some(&hosts),
                hostname: Some(&hostname),
                resolv_conf: None,
                shm: Some(&shm),
            },
            termination_log: Some(&log),
            mounts,
            seccomp_root: Path::new("/nonexistent"),
            seccomp_default: false,
            pids_limit: Some(100),
            machine: &self.machine,
        });
        self.bundle(name, config.unwrap());
        let output = self
            .runc("run", &["--bundle"])
            .arg(bundle)
            .arg(format!("{}-{name}", self.id))
            .stdin(Stdio::null())
            .output();
        output.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let deleted = self.runc("delete", &["--force", &self.id]).status();
        // Others' cgroups come and go under `find`, which says so by its exit code.
        let _ = self.cgroups(&["-exec", "rmdir", "{}", ";"]);
        if !std::thread::panicking() {
            assert!(deleted.unwrap().success());
            assert_eq!(self.cgroups(&["-print"]), "");
        }
    }
}

fn make_rootfs(rootfs: &Path) {
    fs::create_dir_all(rootfs.join("bin")).unwrap();
    for dir in ["dev", "etc", "proc", "sys"] {
        fs::create_dir(rootfs.join(dir)).unwrap();
    }
    let found = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    fs::copy(
        found.expect("busybox-static is installed"),
        rootfs.join("bin/busybox"),
    )
    .unwrap();
    symlink("busybox", rootfs.join("bin/sh")).unwrap();
}

fn users() -> Users {
    serde_json::from_value(serde_json::json!({
        "passwd": [{ "name": "web", "uid": 33, "gid": 33, "home": "/srv" }],
        "group": [{ "name": "log", "gid": 4, "members": ["web"] }],
    }))
    .unwrap()
}

const PLAIN: &str =
    "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, image: i}]}}";

/// A container with these fields, in YAML's flow style, and a Pod with those.
fn pod(container: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, \
         spec: {{containers: [{{name: c, image: i, {container}}}], {spec}}}}}"
    )
}

#[test]
fn a_plain_container_in_its_pod() {
    let pod = Running::new(PLAIN);
    let script = "
        busybox id -u; busybox id -g; busybox id -G; busybox hostname; busybox cat /etc/hostname
        echo $HOSTNAME $HOME $GREETING; busybox pwd
        busybox grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status
        for ns in net ipc uts; do busybox readlink /proc/self/ns/$ns; done
        echo last words >/dev/termination-log; busybox touch /dev/shm/shared /written
        echo $$; busybox cat /proc/1/oom_score_adj
        busybox wc -c </proc/interrupts";
    let image = ImageConfig {
        working_dir: "/etc".into(),
        ..ImageConfig::default()
    };
    let text = pod.sh("main", &image, &[], script);
    let namespace = |name: &str| {
        let path = format!("/proc/{}/ns/{name}", pod.pid);
        fs::read_link(path).unwrap().to_str().unwrap().to_owned()
    };
    let lines: Vec<_> = text.lines().map(|line| line.replace('\t', " ")).collect();
    let expected = [
        "0",
        "0",
        "0",
        "web",
        "web",
        "web / hello world",
        "/etc",
        "CapInh: 0000000000000000",
        "CapPrm: 00000000a80425fb",
        "CapEff: 00000000a80425fb",
        "CapBnd: 00000000a80425fb",
        "CapAmb: 0000000000000000",
        "NoNewPrivs: 0",
        "Seccomp: 0",
        &namespace("net"),
        &namespace("ipc"),
        &namespace("uts"),
        "1",
        "1000",
        "0",
    ];
    assert_eq!(lines, expected);
    assert_eq!(
        fs::read_to_string(pod.path("termination-log")).unwrap(),
        "last words\n"
    );
    assert!(pod.path("shm/shared").exists() && pod.path("main/rootfs/written").exists());
}

#[test]
fn a_locked_down_container() {
    let pod = Running::new(&pod(
        "securityContext: {runAsNonRoot: true, runAsUser: 33, allowPrivilegeEscalation: false, \
         readOnlyRootFilesystem: true, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}, \
         seccompProfile: {type: RuntimeDefault}}",
        "securityContext: {fsGroup: 2000, supplementalGroups: [3000]}, shareProcessNamespace: true",
    ));
    let script = "
        busybox id -u; busybox id -g; busybox grep -E '^Groups' /proc/self/status; echo $HOME
        busybox grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp:)' /proc/self/status
        busybox touch /x 2>&1 || true; busybox touch /etc/hosts 2>&1 || true
        busybox unshare -U busybox true 2>&1 || true
        busybox cat /proc/1/cmdline";
    let text = pod.sh("main", &ImageConfig::default(), &[], script);
    let lines: Vec<_> = text.lines().map(|line| line.replace('\t', " ")).collect();
    let expected = [
        "33",
        "33",
        "Groups: 4 33 2000 3000 ",
        "/srv",
        // What a process of another user than root has of them is nothing.
        "CapEff: 0000000000000000",
        "CapBnd: 0000000000000400",
        "NoNewPrivs: 1",
        "Seccomp: 2",
        "touch: /x: Read-only file system",
        "touch: /etc/hosts: Read-only file system",
        "unshare: unshare(0x10000000): Operation not permitted",
        "/pause\0",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_privileged_container() {
    let pod = Running::new(&pod("securityContext: {privileged: true}", ""));
    let script = "
        busybox grep -E '^(CapEff|Seccomp:)' /proc/self/status
        busybox grep ' /sys ' /proc/self/mounts | busybox cut -d ' ' -f 4 | busybox cut -d , -f 1
        busybox wc -c </proc/interrupts; busybox mount -t tmpfs tmpfs /etc; echo mounted
        busybox find /dev -type b -o -type c | busybox sort";
    let text = pod.sh("main", &ImageConfig::default(), &[], script);
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find(|line| line.starts_with("CapEff")).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(own));
    assert_eq!(lines.next(), Some("Seccomp:\t0"));
    assert_eq!(lines.next(), Some("rw"));
    assert_ne!(lines.next(), Some("0"), "/proc/interrupts is not masked");
    assert_eq!(lines.next(), Some("mounted"));
    let devices: Vec<_> = lines.collect();
    assert!(
        devices.contains(&"/dev/null") && devices.contains(&"/dev/tty"),
        "{devices:?}"
    );
}

#[test]
fn volumes_and_limits() {
    let pod = Running::new(&pod(
        "resources: {requests: {cpu: 250m}, limits: {memory: 32Mi, cpu: 500m}}",
        "",
    ));
    let volume = |name: &str, destination: &str, read_only| {
        let source = pod.path(name);
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("file"), name).unwrap();
        VolumeBind {
            source,
            destination: destination.into(),
            read_only,
            ..VolumeBind::default()
        }
    };
    let mounts = [
        volume("inner", "/data/outer/inner", false),
        volume("outer", "/data/outer", true),
        volume("etc", "/etc", false),
    ];
    fs::create_dir(pod.path("outer/inner")).unwrap();
    let script = "
        busybox cat /data/outer/file; echo; busybox cat /data/outer/inner/file; echo
        busybox touch /data/outer/x 2>&1 || true; busybox touch /data/outer/inner/x
        busybox ls /etc; busybox cat /proc/self/cgroup";
    let text = pod.sh("main", &ImageConfig::default(), &mounts, script);
    let start =
        "outer\ninner\ntouch: /data/outer/x: Read-only file system\nfile\nhostname\nhosts\n";
    assert!(text.starts_with(start), "{text}");
    assert!(pod.path("inner/x").exists());

    // The limits are the kernel's: more memory than allowed ends the container.
    let hog = pod.output(
        "hog",
        &ImageConfig::default(),
        &[],
        "busybox dd if=/dev/zero of=/dev/null bs=64M",
    );
    assert!(!hog.status.success());
}
