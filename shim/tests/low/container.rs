//! A small container of the tests' own: all namespaces, a busybox in its root, our last steps.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::ptr::null;
use std::time::Duration;

use containerd_shim_carob_v1::cgroup::Cgroup;
use containerd_shim_carob_v1::exec::{self, ExecError, ExecProcess, ExecRequest, Streams};
use containerd_shim_carob_v1::process::ProcessSetup;
use oci_spec::runtime::{LinuxResources, Process};
use tempfile::TempDir;

/// The machine's static busybox.
pub const BUSYBOX: &str = "/bin/busybox";
/// How long anything may take before a test has failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A cgroup of its own, removed at the end.
pub struct Group(pub Cgroup);

impl Group {
    /// A name nobody else has, nothing made yet.
    pub fn new() -> Self {
        let unique = tempfile::Builder::new().prefix("").tempdir().unwrap();
        let name = unique
            .path()
            .file_name()
            .unwrap()
            .to_string_lossy()
            .to_lowercase();
        Self(Cgroup::at(&format!("/carob-test-{name}-{}/box", std::process::id())).unwrap())
    }

    pub fn made(resources: Option<&LinuxResources>) -> Self {
        let group = Self::new();
        group.0.create(resources).unwrap();
        group
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = self.0.remove() {
            eprintln!("{error}");
        }
    }
}

/// A root file system with busybox.
pub fn root() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["bin", "dev", "etc", "proc", "sys", "tmp", "old"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    fs::copy(BUSYBOX, dir.path().join("bin/busybox")).unwrap();
    for name in [
        "sh", "cat", "id", "grep", "sleep", "true", "tty", "ls", "pwd", "env", "kill",
    ] {
        symlink("busybox", dir.path().join("bin").join(name)).unwrap();
    }
    fs::write(
        dir.path().join("etc/passwd"),
        "root:x:0:0::/root:\nbob:x:1000:1000::/home/bob:\n",
    )
    .unwrap();
    dir
}

/// The process of a spec; `extra` is JSON that replaces fields.
pub fn process(args: &[&str], extra: &str) -> Process {
    let mut base = serde_json::json!({
        "user": {"uid": 0, "gid": 0},
        "cwd": "/",
        "args": args,
        "env": ["PATH=/bin"],
    });
    let extra: serde_json::Value = serde_json::from_str(extra).unwrap();
    for (name, value) in extra.as_object().unwrap() {
        base[name] = value.clone();
    }
    serde_json::from_value(base).unwrap()
}

/// A running container.
pub struct Container {
    pub group: Group,
    _root: TempDir,
    pub pid: i32,
    pub pidfd: OwnedFd,
}

impl Container {
    /// Starts one that sleeps.
    pub fn sleeping() -> Self {
        Self::start(&process(&["sleep", "600"], "{}"), None)
    }

    pub fn start(process: &Process, resources: Option<&LinuxResources>) -> Self {
        let setup = ProcessSetup::from_spec(process, None).unwrap();
        Self::launched(&setup, resources, 0)
    }

    /// One with a user namespace of its own, in which root is our root.
    pub fn start_in_user_namespace(setup: &ProcessSetup) -> Self {
        Self::launched(setup, None, libc::CLONE_NEWUSER)
    }

    fn launched(setup: &ProcessSetup, resources: Option<&LinuxResources>, flags: i32) -> Self {
        let root = root();
        let group = Group::made(resources);
        let pid = launch(&group.0, root.path(), setup, None, flags);
        // SAFETY: plain numbers; the result is a descriptor of ours.
        let pidfd = unsafe {
            let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
            OwnedFd::from_raw_fd(i32::try_from(fd).unwrap())
        };
        // It has left our root when it sleeps.
        until(|| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
            comm.unwrap().trim() == "sleep"
        });
        Self {
            group,
            _root: root,
            pid,
            pidfd,
        }
    }

    /// Starts a process in it.
    pub fn spawn(&self, setup: &ProcessSetup, streams: Streams) -> Result<ExecProcess, ExecError> {
        exec::spawn(ExecRequest {
            init_pid: self.pid,
            init_pidfd: self.pidfd.as_fd(),
            setup,
            cgroup: &self.group.0,
            streams,
            subreaper: false,
        })?
        .wait(PATIENCE)
    }

    /// Runs a process in it to its end: standard output and status.
    pub fn run(&self, setup: &ProcessSetup) -> Result<(String, Option<i32>), ExecError> {
        let (mut read, write) = pipe();
        let null = || {
            OwnedFd::from(
                File::options()
                    .read(true)
                    .write(true)
                    .open("/dev/null")
                    .unwrap(),
            )
        };
        let process = self.spawn(setup, Streams::Given([null(), write, null()]))?;
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        Ok((text, wait(process.pid)))
    }

    /// [`Container::run`] of a shell command with the spec's process changed by `extra`.
    pub fn shell(&self, command: &str, extra: &str) -> String {
        let process = process(&["sh", "-c", command], extra);
        let setup = ProcessSetup::from_spec(&process, None).unwrap();
        self.run(&setup).unwrap().0
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // SAFETY: our own child, which nobody has reaped.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        // It does not end before all of its PID namespace is reaped: failed execs are for us to reap that
        // took too long to die for `exec`.
        loop {
            // SAFETY: nobody wants the status.
            let reaped = unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
            if reaped == self.pid || reaped < 0 {
                return;
            }
        }
    }
}

/// Runs `setup` as the init of a container to its end: standard output and status.
pub fn run(root: &Path, setup: &ProcessSetup) -> (String, Option<i32>) {
    let group = Group::made(None);
    let (mut read, write) = pipe();
    let pid = launch(&group.0, root, setup, Some(&write), 0);
    drop(write);
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap();
    (text, wait(pid))
}

/// Clones init into new namespaces. Its standard output and, when it fails, the reason go to `out`.
fn launch(
    cgroup: &Cgroup,
    root: &Path,
    setup: &ProcessSetup,
    out: Option<&OwnedFd>,
    more: i32,
) -> i32 {
    let (mut mapped, map) = pipe();
    let flags = more
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::SIGCHLD;
    // SAFETY: without a stack and CLONE_VM this is a fork; there is one thread.
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
        0 => {
            if let Some(out) = out {
                // SAFETY: plain numbers.
                unsafe { libc::dup2(out.as_raw_fd(), 1) };
            }
            drop(map);
            // Until the other end closes.
            assert_eq!(mapped.read(&mut [0]).unwrap(), 0);
            setup.before_namespaces().unwrap();
            cgroup.join(0).unwrap();
            // SAFETY: plain numbers.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) }, 0);
            enter_root(root);
            print!("{}", setup.exec());
            let _ = std::io::Write::flush(&mut std::io::stdout());
            // SAFETY: ends the child.
            unsafe { libc::_exit(127) }
        }
        pid => {
            if more & libc::CLONE_NEWUSER != 0 {
                for file in ["uid_map", "gid_map"] {
                    fs::write(format!("/proc/{pid}/{file}"), "0 0 65536").unwrap();
                }
            }
            drop(map);
            i32::try_from(pid).unwrap()
        }
    }
}

fn mount(source: &str, target: &Path, kind: &str, flags: libc::c_ulong) {
    use std::ffi::CString;
    let text = |text: &str| CString::new(text).unwrap();
    let target = text(target.to_str().unwrap());
    // SAFETY: all strings outlive the call.
    let result = unsafe {
        libc::mount(
            text(source).as_ptr(),
            target.as_ptr(),
            text(kind).as_ptr(),
            flags,
            null(),
        )
    };
    assert_eq!(result, 0, "{target:?}: {}", std::io::Error::last_os_error());
}

fn enter_root(root: &Path) {
    mount("none", Path::new("/"), "", libc::MS_REC | libc::MS_PRIVATE);
    mount(
        root.to_str().unwrap(),
        root,
        "",
        libc::MS_BIND | libc::MS_REC,
    );
    mount("proc", &root.join("proc"), "proc", 0);
    mount("sysfs", &root.join("sys"), "sysfs", libc::MS_RDONLY);
    mount("tmpfs", &root.join("dev"), "tmpfs", 0);
    fs::create_dir(root.join("dev/pts")).unwrap();
    mount("devpts", &root.join("dev/pts"), "devpts", 0);
    symlink("pts/ptmx", root.join("dev/ptmx")).unwrap();
    for device in ["null", "tty"] {
        let place = root.join("dev").join(device);
        fs::write(&place, "").unwrap();
        mount(&format!("/dev/{device}"), &place, "", libc::MS_BIND);
    }
    // SAFETY: strings that outlive the calls.
    unsafe {
        let root = std::ffi::CString::new(root.to_str().unwrap()).unwrap();
        assert_eq!(libc::chdir(root.as_ptr()), 0);
        assert_eq!(
            libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c"old".as_ptr()),
            0
        );
        assert_eq!(libc::umount2(c"/old".as_ptr(), libc::MNT_DETACH), 0);
        assert_eq!(libc::chdir(c"/".as_ptr()), 0);
    }
}

/// A pipe: what is read, what is written.
pub fn pipe() -> (File, OwnedFd) {
    let mut fds = [-1; 2];
    // SAFETY: a valid place for two descriptors, which are ours then.
    unsafe {
        assert_eq!(libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (File::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
    }
}

/// Waits for a child; its exit status, `None` when a signal ended it.
pub fn wait(pid: i32) -> Option<i32> {
    let mut status = 0;
    // SAFETY: a valid place for the status.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status))
}

/// Waits until something has become true.
pub fn until(mut done: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(std::time::Instant::now() < deadline, "it never came true");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The descriptors of this process.
pub fn open_descriptors() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .collect();
    found.sort();
    found
}
