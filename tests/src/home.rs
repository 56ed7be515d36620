//! The world of one test: a supervisor's own directories, and the guard that holds it to leave nothing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Finished, Program};
use crate::witness::{Witness, entries};
use crate::{given, left, reboot};

/// Directories of a supervisor's own. When it goes, nothing that was run in it may have left anything.
pub struct Home {
    dir: TempDir,
    witness: Arc<Witness>,
}

impl Home {
    /// One whose store has the images `busybox:1`, `nginx:1` and `nonroot:1`.
    pub fn new() -> Self {
        let home = Self::empty();
        given::copy_root(&home.root());
        home
    }

    /// One without images.
    pub fn empty() -> Self {
        let dir =
            TempDir::with_prefix("carob-e2e-").expect("there is a directory for temporary files");
        let witness = Arc::new(Witness::new(dir.path()));
        Self { dir, witness }
    }

    /// For files of the test's own.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// `--root`.
    pub fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    /// `--state`.
    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// All directories that were used as `--state`.
    fn states(&self) -> impl Iterator<Item = PathBuf> {
        let entries = entries(self.path()).into_iter();
        entries.filter(|path| path.to_string_lossy().ends_with("state"))
    }

    /// `carob` in this world.
    pub fn command(&self) -> Command {
        self.command_with(&self.root(), &self.state())
    }

    /// `carob` with these directories, which lie directly in this world and whose names end in `root` and `state`.
    pub fn command_with(&self, root: &Path, state: &Path) -> Command {
        let mut command = Command::new(given::bin_dir().join("carob"));
        command.env("CAROB_SHIM", given::shim());
        command.arg("--root").arg(root).arg("--state").arg(state);
        command
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, content).expect("the test's directory can be written");
        path
    }

    /// Starts `carob` with these arguments.
    pub fn start(&self, args: &[&str]) -> Program {
        self.start_command(self.command().args(args), b"")
    }

    /// Starts a command of this world.
    pub fn start_command(&self, command: &mut Command, input: &[u8]) -> Program {
        let witness = self.witness.clone();
        Program::start_watched(command, input, Arc::new(move || witness.look()))
    }

    /// Runs `carob` with these arguments to its end.
    pub fn carob(&self, args: &[&str]) -> Finished {
        self.start(args).finish()
    }

    /// Starts `carob run - ARGS` with these Pods.
    pub fn start_pods(&self, pods: &[Value], args: &[&str]) -> Program {
        let text: Vec<String> = pods.iter().map(Value::to_string).collect();
        let mut command = self.command();
        command.args(["run", "-"]).args(args);
        self.start_command(&mut command, text.join("\n---\n").as_bytes())
    }

    /// Starts `carob run -o json` with this Pod.
    pub fn start_json(&self, pod: &Value) -> Program {
        self.start_pods(std::slice::from_ref(pod), &["-o", "json"])
    }

    /// Runs the Pod to its end as a person would.
    pub fn run(&self, pod: &Value) -> Finished {
        self.start_pods(std::slice::from_ref(pod), &[]).finish()
    }

    /// Runs the Pod to its end as a script would.
    pub fn run_json(&self, pod: &Value) -> Finished {
        self.start_json(pod).finish()
    }

    /// The bundles of all containers of this world.
    pub fn bundles(&self) -> Vec<PathBuf> {
        let pods = entries(&self.state().join("bundles")).into_iter();
        pods.flat_map(|pod| entries(&pod)).collect()
    }

    /// The process ID of a container's init, as its runtime left it in a bundle: in this one, or in containerd's.
    pub fn init_pid(&self, bundle: &Path) -> String {
        let dir = match given::tasks() {
            Some(tasks) => {
                tasks.join(fs::read_to_string(bundle.join("carob-id")).expect("it has an ID"))
            }
            None => bundle.to_owned(),
        };
        fs::read_to_string(dir.join("init.pid")).expect("it has a process")
    }

    /// The shims that serve this world: their arguments name its state directory, or the container that containerd
    /// started them with.
    pub fn shims(&self) -> Vec<Pid> {
        let state = self.state().display().to_string();
        let bundles = self.bundles().into_iter();
        let ids: Vec<String> = bundles
            .filter_map(|bundle| fs::read_to_string(bundle.join("carob-id")).ok())
            .collect();
        entries(Path::new("/proc"))
            .iter()
            .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
            .filter(|pid: &i32| {
                let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let command = String::from_utf8_lossy(&command);
                let ours = command.contains(&state) || ids.iter().any(|id| command.contains(id));
                command.contains("containerd-shim-") && ours
            })
            .map(Pid::from_raw)
            .collect()
    }

    /// Kills all of them.
    pub fn kill_shims(&self) {
        for shim in self.shims() {
            // One that is ending may be faster.
            let _ = kill(shim, Signal::SIGKILL);
        }
    }

    /// Takes away what a restart of the machine would, but the state directory's files.
    pub fn lose_all_but_files(&self) {
        reboot::lose(self.path(), &self.witness);
    }

    /// Imports an image under a name.
    pub fn import(&self, image: &Path, name: &str) {
        let path = image.to_str().expect("the test's paths are UTF-8");
        self.carob(&["image", "import", "--name", name, path])
            .expect(0);
    }

    /// What of this world is on the machine now: a line each.
    pub fn left(&self) -> Vec<String> {
        left::of(self.path(), &self.witness)
    }

    /// Kills the supervisor as nothing can resist; what it leaves is the test's to look at.
    pub fn kill(&self, program: Program) -> Finished {
        self.witness.look();
        let killed = program.stop(Signal::SIGKILL);
        // What it was about to start has its locks until it has executed its program.
        for state in self.states() {
            for path in entries(&state.join("pods")) {
                if path.extension().is_some_and(|name| name == "lock") {
                    let lock = File::open(&path).expect("the test can read it");
                    Flock::lock(lock, FlockArg::LockShared).expect("a file can be locked");
                }
            }
        }
        killed
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let left = self.left();
        if left.is_empty() {
            return;
        }
        // Other tests go on in the same kernel.
        let pruned = self.states().map(|state| {
            self.command_with(&self.root(), &state)
                .arg("prune")
                .output()
        });
        let pruned: Vec<_> = pruned.collect();
        let report = format!(
            "left behind:\n{}\n{pruned:?}\nafter pruning:\n{}",
            left.join("\n"),
            self.left().join("\n")
        );
        assert!(thread::panicking(), "{report}");
        eprintln!("{report}");
    }
}
