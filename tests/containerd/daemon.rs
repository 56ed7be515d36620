//! A containerd of a test's own: its directories, its mount namespace, and that it leaves nothing.

use std::env;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use carob_tests::{Finished, PATIENCE, Program, busybox_with, images, shim};
use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::left;

/// What `ctr` is told to run containers with.
pub const RUNTIME: &str = "io.containerd.carob.v1";
/// The image that every containerd here has.
pub const BUSYBOX: &str = "docker.io/library/busybox:1";

/// Namespaces in which `/run` is a directory of the test's own, so that the shims' sockets and ctr's FIFOs are too,
/// and the network is its own. Mounts are shared as systemd shares them.
const HOLD: &str = "mount --bind \"$1\" /run && mount --make-rshared / && ip link set lo up && echo held && \
    exec sleep infinity";

/// The Pods' runtime handler is `carob`. Their network is a pair of interfaces.
const CRI: &str = r#"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/pause:1"
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "@/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "carob"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.carob]
    runtime_type = "io.containerd.carob.v1"
"#;
const CNI: &str = r#"{"cniVersion": "0.4.0", "name": "test", "plugins": [{"type": "ptp", "ipam":
    {"type": "host-local", "subnet": "10.88.0.0/16", "dataDir": "@/cni-state"}}]}"#;

/// A running containerd. When it goes, nothing that it ran may have left anything.
pub struct Containerd {
    dir: TempDir,
    holder: Program,
    program: Option<Program>,
    mounts: Vec<String>,
}

impl Containerd {
    /// Starts one that has [`BUSYBOX`].
    pub fn start() -> Self {
        Self::start_with("disabled_plugins = [\"io.containerd.grpc.v1.cri\"]", "")
    }

    /// Starts one that has [`BUSYBOX`] and serves CRI.
    pub fn start_cri() -> Self {
        let daemon = Self::start_with("", CRI);
        let pause = daemon.path().join("pause");
        let config = json!({"Cmd": ["sleep", "infinity"], "Env": ["PATH=/bin"]});
        busybox_with(&pause, config, Vec::new());
        for (image, name) in [(pause, "pause"), (images().join("busybox"), "busybox")] {
            daemon.import_into("k8s.io", &image, name);
        }
        daemon
    }

    fn start_with(top: &str, plugins: &str) -> Self {
        let dir = TempDir::with_prefix("carob-ctd-").unwrap();
        // A container's root may be a user who is nobody here.
        fs::set_permissions(
            dir.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o711),
        )
        .unwrap();
        DirBuilder::new()
            .mode(0o755)
            .create(dir.path().join("run"))
            .unwrap();
        let mut hold = Command::new("unshare");
        hold.args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            HOLD,
            "sh",
        ]);
        let holder = Program::start(hold.arg(dir.path().join("run")), b"");
        holder.wait_for("held");
        let mut daemon = Self {
            dir,
            holder,
            program: None,
            mounts: Vec::new(),
        };
        daemon.install(top, plugins);
        daemon.mounts = left::mounts(&daemon);
        daemon.restart();
        daemon.import("busybox");
        daemon
    }

    /// Puts the shim where containerd looks for it, and writes its configuration.
    fn install(&self, top: &str, plugins: &str) {
        let bin = self.path().join("bin");
        fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(shim(), bin.join("containerd-shim-carob-v1")).unwrap();
        let config = format!(
            r#"version = 2
root = "@/root"
state = "@/state"
{top}
[grpc]
  address = "@/containerd.sock"
[ttrpc]
  address = "@/containerd.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "@/opt"
{plugins}"#
        );
        let here = self.path().display().to_string();
        let config = config.replace('@', &here);
        fs::create_dir(self.path().join("cni")).unwrap();
        let network = self.path().join("cni/test.conflist");
        fs::write(network, CNI.replace('@', &here)).unwrap();
        fs::write(self.path().join("config.toml"), config).unwrap();
    }

    /// Its own directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.path().join("containerd.sock")
    }

    /// The containerd namespace that tests use. It is a cgroup's name too, so nobody else has it.
    pub fn namespace(&self) -> String {
        let name = self.path().file_name().unwrap().to_string_lossy();
        // Identifiers end in a letter or digit, and so do names of temporary directories.
        name.into_owned()
    }

    /// A cgroup of the test's own with a name as systemd has it, where `-` divides.
    pub fn slice(&self) -> String {
        self.namespace().replace('-', "_") + ".slice"
    }

    /// The process that holds the namespace of mounts.
    pub fn holder(&self) -> i32 {
        self.holder.pid()
    }

    /// What a file says in a container's cgroup; it has one of these names, by the version of cgroups.
    pub fn cgroup_file(&self, id: &str, names: &[&str]) -> String {
        let cgroups = left::cgroups(self).into_iter();
        let paths =
            cgroups.flat_map(|cgroup| names.iter().map(move |name| cgroup.join(id).join(name)));
        let found = paths.into_iter().find(|path| path.exists());
        let found = found.unwrap_or_else(|| panic!("{id} has none of {names:?}"));
        fs::read_to_string(found).unwrap()
    }

    /// A command in the same namespace of mounts.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let of = format!("/proc/{}/ns", self.holder());
        let namespaces = [format!("--mount={of}/mnt"), format!("--net={of}/net")];
        command.args(&namespaces).arg(program);
        let other = env::var("CAROB_CONTAINERD").unwrap_or_default();
        let path = format!(
            "{}/bin:{other}:/usr/sbin:/usr/bin:/sbin:/bin",
            self.path().display()
        );
        command.env("PATH", path);
        command
    }

    /// Starts it, or starts it again, and waits until it serves.
    pub fn restart(&mut self) {
        let mut command = self.command("containerd");
        command.arg("--config").arg(self.path().join("config.toml"));
        let program = Program::start(&mut command, b"");
        program.wait_for("containerd successfully booted");
        self.program = Some(program);
    }

    /// Ends it by a signal. What it ran goes on.
    pub fn stop(&mut self, signal: Signal) -> Finished {
        self.program.take().unwrap().stop(signal)
    }

    /// Gives it one of the images that `scripts/images` makes, as `docker.io/library/NAME:1`.
    pub fn import(&self, name: &str) {
        self.import_into(&self.namespace(), &images().join(name), name);
    }

    fn import_into(&self, namespace: &str, image: &Path, name: &str) {
        let archive = self.path().join("image.tar");
        let tar = Command::new("tar")
            .arg("-cf")
            .arg(&archive)
            .arg("-C")
            .arg(image)
            .arg(".")
            .status();
        assert!(tar.unwrap().success());
        let base = format!("docker.io/library/{name}");
        let archive_name = archive.to_str().unwrap();
        let import = ["--namespace", namespace, "image", "import", "--base-name"];
        let args = [&import[..], &[&base, archive_name]].concat();
        self.ctr(&args).expect(0);
        fs::remove_file(archive).unwrap();
    }

    /// `ctr` with these arguments.
    pub fn ctr_command(&self, args: &[&str]) -> Command {
        let mut command = self.command("ctr");
        command.arg("--address").arg(self.socket());
        if args[0] != "--namespace" {
            command.args(["--namespace", &self.namespace()]);
        }
        command.args(args);
        command
    }

    /// Starts `ctr` with these arguments.
    pub fn start_ctr(&self, args: &[&str]) -> Program {
        Program::start(&mut self.ctr_command(args), b"")
    }

    /// Runs `ctr` with these arguments to its end.
    pub fn ctr(&self, args: &[&str]) -> Finished {
        self.start_ctr(args).finish()
    }

    /// `ctr run OPTIONS IMAGE ID COMMAND` to its end, with our shim and busybox's image.
    pub fn run(&self, options: &[&str], id: &str, command: &[&str]) -> Finished {
        let first = ["run", "--runtime", RUNTIME];
        self.ctr(&[&first, options, &[BUSYBOX, id], command].concat())
    }
}

/// Looks until it is so.
pub fn wait_until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "waited in vain for {what:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let left = left::of(self, &self.mounts);
        if let Some(containerd) = self.program.take() {
            let ended = containerd.stop(Signal::SIGTERM);
            if thread::panicking() || !left.is_empty() {
                eprintln!("containerd: {ended:?}");
            }
        }
        left::clear(self);
        if !left.is_empty() {
            let report = format!("left behind:\n{}", left.join("\n"));
            assert!(thread::panicking(), "{report}");
            eprintln!("{report}");
        }
    }
}
