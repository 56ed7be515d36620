//! Makes a container with libcontainer, from a worker.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use oci_spec::runtime::{LinuxResources, Spec};

use super::console::ConsoleSocket;
use super::executor::Init;
use super::rootfs::{self, RootMount};
use super::{Reporter, Start, WorkerError, destination, hooks, late, mounts, sources, spec};
use crate::bundle::{BundleError, read_config};
use crate::cgroup::{self, Cgroup};
use crate::options::Options;
use crate::process::ProcessSetup;
use crate::seccomp;

/// Where compiled seccomp profiles are kept, below the scratch directory.
pub const SECCOMP_CACHE: &str = "seccomp";

/// What is to be made.
pub struct CreateJob {
    /// The container's id.
    pub id: String,
    /// The bundle's absolute path.
    pub bundle: PathBuf,
    /// The root file system's mounts; none when it is there already.
    pub rootfs: Vec<RootMount>,
    /// The container's cgroup.
    pub cgroup: Cgroup,
    /// Its limits.
    pub resources: Option<LinuxResources>,
    /// A directory that the worker may cover with its own scratch files.
    pub scratch: PathBuf,
    /// Whether standard streams come as a terminal.
    pub terminal: bool,
    /// What the client wants of the runtime.
    pub options: Options,
}

/// What was made, as the shim receives it.
#[derive(Debug)]
pub struct Created {
    /// The container's init, a child of the shim.
    pub pid: i32,
    /// The socket on which init waits for its start, as a path-only descriptor.
    pub start: OwnedFd,
    /// The terminal's master.
    pub console: Option<OwnedFd>,
}

/// The descriptors that the worker is given.
pub struct Streams {
    /// Where init reports why its program can't be executed.
    pub start_error: OwnedFd,
    /// Standard input, output and error, unless there is a terminal.
    pub stdio: Vec<OwnedFd>,
}

/// Makes the container and reports what came of it.
pub fn create(job: &CreateJob, streams: Streams, start: Start) {
    let reporter = Rc::new(start.reporter);
    if let Err(error) = make(job, streams, &reporter, start.in_cgroup) {
        reporter.failed(&crate::sentence::sentence(&error));
    }
}

fn make(
    job: &CreateJob,
    streams: Streams,
    reporter: &Rc<Reporter>,
    in_cgroup: bool,
) -> Result<(), WorkerError> {
    let mut spec = parse(&job.bundle)?;
    spec::check(&spec, &job.bundle, !job.rootfs.is_empty())?;
    let setup = setup(&spec, &job.scratch.join(SECCOMP_CACHE))?;
    let setup = match job.options.no_new_keyring {
        true => setup.without_new_keyring(),
        false => setup,
    };
    if job.cgroup.is_systemds() {
        job.cgroup.create(job.resources.as_ref())?;
    }
    mounts::enter_private_namespace(&job.bundle, spec::wants_shared(&spec))?;
    let mounted = job.bundle.join("rootfs");
    let mut staging = sources::Staging::below(&job.bundle);
    rootfs::mount_all(&job.rootfs, &mounted, &mut staging)?;
    sources::stage(&mut spec, &mut staging)?;
    let rootfs = match spec.root() {
        Some(root) => job.bundle.join(root.path()),
        None => mounted,
    };
    match spec.mounts_mut() {
        Some(mounts) => destination::settle(mounts, &rootfs)?,
        None => destination::settle(&mut [], &rootfs)?,
    }
    mounts::scratch(&job.scratch)?;

    match in_cgroup {
        true => job.cgroup.join_v1()?,
        false => job.cgroup.join(0)?,
    }
    let private = spec::has_cgroup_namespace(&spec);
    let late = match spec.mounts_mut() {
        Some(mounts) => late::take(mounts, &job.cgroup, private)?,
        None => Vec::new(),
    };
    setup
        .before_namespaces()
        .map_err(|error| WorkerError::Container(error.to_string()))?;
    cgroup::hide()?;

    let init = Init::new(setup, late, reporter.clone(), streams.start_error);
    spec::alter(&mut spec, &rootfs);
    hooks::redirect(&mut spec, std::os::unix::process::parent_id(), &job.bundle);
    let made = build(job, &spec, streams.stdio, init.clone(), reporter);
    // Its detached mounts take their time to close, and the worker ends now: the kernel does it then.
    std::mem::forget(init);
    made
}

/// The last steps, checked while everything of the machine is still in sight.
fn setup(spec: &Spec, cache: &Path) -> Result<ProcessSetup, WorkerError> {
    let Some(process) = spec.process() else {
        return Err(WorkerError::Container("config.json has no process".into()));
    };
    let profile = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.seccomp().as_ref());
    let program = match profile {
        Some(profile) => Some(seccomp::compile(profile, cache)?),
        None => None,
    };
    let setup = ProcessSetup::from_spec(process, program)?;
    Ok(match spec.linux() {
        Some(linux) => setup.with_linux(linux),
        None => setup,
    })
}

fn parse(bundle: &Path) -> Result<Spec, BundleError> {
    let text = read_config(bundle)?;
    serde_json::from_slice(&text).map_err(|cause| BundleError::Malformed {
        bundle: bundle.to_owned(),
        cause,
    })
}

fn build(
    job: &CreateJob,
    spec: &Spec,
    stdio: Vec<OwnedFd>,
    init: Init,
    reporter: &Reporter,
) -> Result<(), WorkerError> {
    let states = job.scratch.join("states");
    let io = |cause| WorkerError::step("libcontainer's configuration can't be written", cause);
    std::fs::create_dir(&states).map_err(io)?;
    let text = serde_json::to_vec(spec).map_err(|cause| io(cause.into()))?;
    hooks::cover_config(&job.bundle, &job.scratch, &text).map_err(io)?;

    let failed = |error: libcontainer::error::LibcontainerError| {
        WorkerError::Container(crate::sentence::sentence(&error))
    };
    let mut builder = ContainerBuilder::new(job.id.clone(), SyscallType::default())
        .with_root_path(&states)
        .map_err(failed)?
        .with_executor(init);
    let mut stdio = stdio.into_iter();
    if let (Some(stdin), Some(stdout), Some(stderr)) = (stdio.next(), stdio.next(), stdio.next()) {
        builder = builder
            .with_stdin(stdin)
            .with_stdout(stdout)
            .with_stderr(stderr);
    }
    let console = match job.terminal {
        true => Some(ConsoleSocket::listen(&job.scratch)?),
        false => None,
    };
    if let Some(console) = &console {
        builder = builder.with_console_socket(Some(console.path()));
    }
    let container = builder
        .as_init(&job.bundle)
        .with_systemd(false)
        .as_sibling(true)
        .with_detach(true)
        .with_no_pivot(job.options.no_pivot_root)
        .build()
        .map_err(failed)?;
    let Some(pid) = container.pid() else {
        return Err(WorkerError::Container(
            "libcontainer made no process".into(),
        ));
    };
    let socket = states
        .join(&job.id)
        .join(libcontainer::notify_socket::NOTIFY_FILE);
    let start = open(&socket, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|cause| WorkerError::step("the start socket can't be opened", cause))?;
    let master = console.map(ConsoleSocket::receive).transpose()?;
    let fds: Vec<_> = std::iter::once(&start)
        .chain(&master)
        .map(AsFd::as_fd)
        .collect();
    reporter.done(pid.as_raw(), &fds);
    Ok(())
}
