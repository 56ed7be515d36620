//! The cgroup of one container in every hierarchy of the machine: v1, v2 and hybrid.
//!
//! Everything here is plain file work on the calling thread: no lock is held, so it is safe before
//! and after `fork` in a single-threaded process.

mod create;
mod device_filter;
mod devices;
mod dir;
mod hide;
mod hierarchy;
mod limits;
mod members;
mod metrics;
mod mount;
mod oom;
mod path;
mod remove;
mod systemd;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxResources;

use dir::Dir;
use hierarchy::Hierarchies;
use systemd::Scope;

pub use hide::hide;
pub use metrics::Metrics;
pub use mount::CgroupMount;
pub use oom::{OomEvent, OomWatch, Wake};

/// What can go wrong with a cgroup.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The machine has no cgroup file system mounted.
    #[error("no cgroup hierarchy is mounted on this machine: mount one at /sys/fs/cgroup")]
    NoHierarchy,
    /// `linux.cgroupsPath` can't be used.
    #[error("cgroupsPath {path:?} can't be used: {why}")]
    BadPath {
        /// The path as given.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file operation failed.
    #[error("can't {action} {}: {cause}", path.display())]
    Io {
        /// What was tried, such as `read` or `write "max" to`.
        action: String,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// The spec sets a limit which this machine has no controller for.
    #[error(
        "{limit} needs the cgroup controller {controller}, which this machine doesn't offer at \
         {path:?}: enable it or remove the limit"
    )]
    MissingController {
        /// The limit, as the OCI field is called.
        limit: String,
        /// The controller.
        controller: &'static str,
        /// The cgroup.
        path: String,
    },
    /// A limit has a value that can't be applied.
    #[error("{limit} can't be applied: {why}")]
    BadLimit {
        /// The limit, as the OCI field is called.
        limit: String,
        /// What is wrong with it.
        why: String,
    },
    /// The cgroup is already used by other processes.
    #[error("cgroup {path:?} already has processes (the first is {pid}): use another cgroupsPath")]
    Occupied {
        /// The cgroup.
        path: String,
        /// One of the processes.
        pid: i32,
    },
    /// systemd runs this machine's cgroups, and refuses.
    #[error("systemd can't {what} the scope {unit:?}: {why}")]
    Systemd {
        /// What was tried.
        what: &'static str,
        /// The scope.
        unit: String,
        /// What systemd said.
        why: String,
    },
    /// Processes outlived SIGKILL, so the cgroup can't be removed.
    #[error("cgroup {path:?} can't be removed: processes {pids:?} outlive SIGKILL")]
    Undying {
        /// The cgroup.
        path: String,
        /// The processes.
        pids: Vec<i32>,
    },
}

impl CgroupError {
    fn io(action: impl Into<String>, path: &Path, cause: io::Error) -> Self {
        Self::Io {
            action: action.into(),
            path: path.to_owned(),
            cause,
        }
    }

    /// The operating system's error number behind it, when there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Io { cause, .. } => cause.raw_os_error(),
            _ => None,
        }
    }
}

/// The cgroup of one container: one directory in each hierarchy.
///
/// Making this value touches nothing; it may be made again at any time from the same path.
#[derive(Debug, Clone)]
pub struct Cgroup {
    /// The path below each hierarchy's root, without a leading slash.
    path: String,
    /// The directories, v1 first, the unified one last.
    dirs: Vec<Dir>,
    /// The unit that it is, where systemd makes it.
    scope: Option<Scope>,
}

impl Cgroup {
    /// The cgroup named by `linux.cgroupsPath`: an absolute path, or systemd's
    /// `slice:prefix:name`, which becomes the path that systemd would use; where systemd runs the machine,
    /// it makes the cgroup. A relative path counts from the hierarchies' roots. `.` and `..` are refused.
    ///
    /// # Errors
    /// [`CgroupError::BadPath`] or, when the machine can't be read, [`CgroupError::Io`] and
    /// [`CgroupError::NoHierarchy`].
    pub fn at(path: &str) -> Result<Self, CgroupError> {
        let names_unit = path::names_unit(path);
        let path = path::relative(path)?;
        let scope = names_unit.then(|| Scope::of(&path)).flatten();
        let hierarchies = Hierarchies::of_machine()?;
        let dirs = hierarchies
            .all
            .iter()
            .map(|hierarchy| Dir::new(hierarchy, &path))
            .collect();
        Ok(Self { path, dirs, scope })
    }

    /// Whether a `linux.cgroupsPath` is systemd's `slice:prefix:name`.
    pub fn names_unit(path: &str) -> bool {
        path::names_unit(path)
    }

    /// The path below each hierarchy's root, without a leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is systemd that makes it, and has to be asked before its limits are changed: both may block.
    pub fn is_systemds(&self) -> bool {
        self.scope.is_some()
    }

    /// Makes the cgroup in every hierarchy and sets its limits. `resources` of `None` sets only the
    /// default device rules. What was made is removed again on failure.
    ///
    /// One that systemd makes has the calling process in it from then on, wherever systemd puts it.
    ///
    /// # Errors
    /// [`CgroupError::Occupied`] when the cgroup exists and has processes; otherwise what the
    /// kernel, systemd or the limits say.
    pub fn create(&self, resources: Option<&LinuxResources>) -> Result<(), CgroupError> {
        if let Some(scope) = &self.scope {
            scope.start(&self.path, resources, self.is_v2())?;
        }
        create::create(self)?;
        limits::apply(self, resources, limits::Occasion::Create)
            .inspect_err(|_| remove::remove_empty(self, &self.dirs))
    }

    /// Changes the limits that `resources` names and leaves the others. Device rules are replaced
    /// only when `resources` has some.
    ///
    /// # Errors
    /// The first limit that could not be set; those before it stay set.
    pub fn update(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        if let Some(scope) = &self.scope {
            scope.update(resources, self.is_v2())?;
        }
        limits::apply(self, Some(resources), limits::Occasion::Update)
    }

    /// Moves process `pid` (with all its threads) into the cgroup. 0 is the calling process, which
    /// must be single-threaded.
    ///
    /// # Errors
    /// [`CgroupError::Io`] of the hierarchy that refused.
    pub fn join(&self, pid: i32) -> Result<(), CgroupError> {
        members::join(self, pid, true)
    }

    /// Moves process `pid` into the cgroup wherever it exists, and makes nothing.
    ///
    /// # Errors
    /// [`CgroupError::Io`] of the hierarchy that refused, or when it exists nowhere.
    pub fn join_existing(&self, pid: i32) -> Result<(), CgroupError> {
        members::join_existing(self, pid)
    }

    /// As [`Cgroup::join`] with 0, but without the unified hierarchy: for a process that was cloned
    /// straight into [`Cgroup::open_unified`].
    ///
    /// # Errors
    /// [`CgroupError::Io`] of the hierarchy that refused.
    pub fn join_v1(&self) -> Result<(), CgroupError> {
        members::join(self, 0, false)
    }

    /// The directory in the unified hierarchy, for `CLONE_INTO_CGROUP`. `None` when the machine has
    /// no such hierarchy.
    ///
    /// # Errors
    /// [`CgroupError::Io`] when it can't be opened.
    pub fn open_unified(&self) -> Result<Option<OwnedFd>, CgroupError> {
        self.unified().map(Dir::open).transpose()
    }

    /// The directory in the unified hierarchy which `pid`, a process of the container, is in: the
    /// cgroup itself or one that the container made below it. `None` when it is neither.
    ///
    /// # Errors
    /// [`CgroupError::Io`] when the process is gone or the directory can't be opened.
    pub fn open_unified_of(&self, pid: i32) -> Result<Option<OwnedFd>, CgroupError> {
        self.unified()
            .map_or(Ok(None), |dir| members::open_unified_of(dir, pid))
    }

    /// All processes in the cgroup and in the cgroups below it. Empty when it doesn't exist.
    ///
    /// # Errors
    /// [`CgroupError::Io`] when it can't be read.
    pub fn pids(&self) -> Result<Vec<i32>, CgroupError> {
        members::pids(self)
    }

    /// Sends `signal` to every process in the cgroup and below. SIGKILL also catches processes that
    /// fork meanwhile. A cgroup that doesn't exist has no processes: that is no error.
    ///
    /// # Errors
    /// [`CgroupError::Io`] when the cgroup can't be read or a process can't be signalled.
    pub fn kill(&self, signal: i32) -> Result<(), CgroupError> {
        members::kill(self, signal)
    }

    /// Begins to stop every process in the cgroup, and returns whether all are stopped: a process may first have to
    /// come back from the kernel. To be called again until they are; `anew` lets them go for a moment before, as some
    /// only stop then (v1).
    ///
    /// # Errors
    /// [`CgroupError::MissingController`] where there is no freezer; [`CgroupError::Io`].
    pub fn try_freeze(&self, anew: bool) -> Result<bool, CgroupError> {
        members::try_freeze(self, anew)
    }

    /// Lets frozen processes run again.
    ///
    /// # Errors
    /// As [`Cgroup::try_freeze`].
    pub fn thaw(&self) -> Result<(), CgroupError> {
        members::thaw(self)
    }

    /// Removes the cgroup, and all cgroups that were made below it, from every hierarchy. Processes
    /// left in it are thawed and killed. Empty parents below `/carob` go as well, since those are
    /// ours. What doesn't exist counts as removed.
    ///
    /// Normally takes some microseconds; with processes left it waits for them at most ten seconds,
    /// so call it from a process that may block.
    ///
    /// # Errors
    /// [`CgroupError::Undying`] after ten seconds, or [`CgroupError::Io`].
    pub fn remove(&self) -> Result<(), CgroupError> {
        remove::remove(self)
    }

    /// As [`Cgroup::remove`], without killing anything or waiting. `false` when it is still in use.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn remove_unused(&self) -> Result<bool, CgroupError> {
        Ok(remove::once(self)?.is_none())
    }

    /// What the container uses, as containerd's metrics message for this cgroup version.
    ///
    /// # Errors
    /// [`CgroupError::Io`] when the cgroup is gone or the message can't be built.
    pub fn metrics(&self) -> Result<Metrics, CgroupError> {
        metrics::read(self)
    }

    /// Starts watching for processes killed for lack of memory.
    ///
    /// # Errors
    /// [`CgroupError::MissingController`] without a memory controller, or [`CgroupError::Io`].
    pub fn oom_watch(&self) -> Result<OomWatch, CgroupError> {
        OomWatch::new(self)
    }

    /// The directory that has `controller`: in its v1 hierarchy, or in the unified one when that
    /// offers it to this cgroup.
    fn dir(&self, controller: &str) -> Option<&Dir> {
        self.dirs
            .iter()
            .find(|dir| dir.hierarchy.has(controller))
            .or_else(|| {
                self.unified().filter(|dir| {
                    dir.read("cgroup.controllers").is_ok_and(|offered| {
                        offered.split_whitespace().any(|name| name == controller)
                    })
                })
            })
    }

    /// As [`Cgroup::dir`], where a limit can't be set without it.
    fn dir_for(&self, controller: &'static str, limit: &str) -> Result<&Dir, CgroupError> {
        self.dir(controller)
            .ok_or_else(|| CgroupError::MissingController {
                limit: limit.to_owned(),
                controller,
                path: self.path.clone(),
            })
    }

    /// Whether the unified hierarchy is the only one.
    fn is_v2(&self) -> bool {
        self.dirs.iter().all(|dir| dir.hierarchy.unified)
    }

    /// The directory in the unified hierarchy.
    fn unified(&self) -> Option<&Dir> {
        self.dirs.last().filter(|dir| dir.hierarchy.unified)
    }
}
