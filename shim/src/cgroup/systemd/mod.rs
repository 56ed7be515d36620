//! Scopes: how systemd, where it keeps the machine's cgroups, is told of a container's (the option `SystemdCgroup`).
//!
//! systemd hands controllers down only to units that it knows, and takes them from cgroups that it doesn't. So the cgroup
//! is made by it, as a scope around the first process, delegated to us; all else is done by us in the cgroup's files, as
//! without systemd. The scope ends when its last process does.

mod bus;
mod properties;

use std::fs;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use oci_spec::runtime::LinuxResources;

use super::CgroupError;
use bus::{Connection, Value};
use properties::Property;

/// How long systemd may take to do what it has agreed to.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long systemd may take to forget a scope that has ended.
const FORGETS: Duration = Duration::from_secs(5);

/// A scope, which may not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The unit's name.
    unit: String,
    /// The slice that it is in.
    slice: String,
}

/// Whether systemd runs this machine (sd_booted(3)).
fn runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

fn is_known(cause: &io::Error) -> bool {
    cause.kind() == io::ErrorKind::AlreadyExists
}

impl Scope {
    /// The scope of a cgroup that was named as systemd does it, on a machine that systemd runs. `path` is below the
    /// hierarchies' roots.
    pub fn of(path: &str) -> Option<Self> {
        let mut parts = path.rsplit('/');
        let unit = parts.next().filter(|unit| unit.ends_with(".scope"))?;
        let slice = parts.next().unwrap_or("-.slice");
        runs().then(|| Self {
            unit: unit.to_owned(),
            slice: slice.to_owned(),
        })
    }

    /// Makes it with this process in it, in the cgroup `path`. Blocks until it is there.
    ///
    /// # Errors
    /// [`CgroupError::Systemd`].
    pub fn start(
        &self,
        path: &str,
        resources: Option<&LinuxResources>,
        v2: bool,
    ) -> Result<(), CgroupError> {
        let flag = |name| (name, Value::Flag(true));
        let io = if v2 {
            "IOAccounting"
        } else {
            "BlockIOAccounting"
        };
        let mut wanted: Vec<Property> = vec![
            (
                "Description",
                Value::Text(format!("container of {}", self.unit)),
            ),
            ("Slice", Value::Text(self.slice.clone())),
            ("PIDs", Value::Pids(vec![std::process::id()])),
            flag("Delegate"),
            flag("MemoryAccounting"),
            flag("CPUAccounting"),
            flag(io),
            flag("TasksAccounting"),
            // It ends when it is told to, not before the machine's services do.
            ("DefaultDependencies", Value::Flag(false)),
            // Nothing is kept of one that failed, by lack of memory for example.
            ("CollectMode", Value::Text("inactive-or-failed".to_owned())),
        ];
        wanted.extend(resources.map_or(Vec::new(), |resources| properties::of(resources, v2)));
        let begun = Instant::now();
        let mut systemd = self.answered("start", Connection::open())?;
        loop {
            match systemd.start_transient_unit(&self.unit, &wanted) {
                // One that has just ended is still known for a moment.
                Err(cause) if is_known(&cause) && begun.elapsed() < FORGETS => {
                    sleep(Duration::from_millis(10));
                }
                answer => break self.answered("start", answer)?,
            }
        }
        self.wait(path)
    }

    /// Changes its limits.
    ///
    /// # Errors
    /// [`CgroupError::Systemd`].
    pub fn update(&self, resources: &LinuxResources, v2: bool) -> Result<(), CgroupError> {
        let wanted = properties::of(resources, v2);
        if wanted.is_empty() {
            return Ok(());
        }
        let changed = Connection::open()
            .and_then(|mut systemd| systemd.set_unit_properties(&self.unit, &wanted));
        self.answered("change", changed)
    }

    fn answered<T>(&self, what: &'static str, answer: io::Result<T>) -> Result<T, CgroupError> {
        answer.map_err(|cause| self.refused(what, &cause.to_string()))
    }

    /// systemd answers when it has begun: waits until this process is in the cgroup.
    fn wait(&self, path: &str) -> Result<(), CgroupError> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_micros(200);
        let ending = format!(":/{path}");
        loop {
            let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
            if cgroups.lines().any(|line| line.ends_with(&ending)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let why = format!("it did not do so within {} s", PATIENCE.as_secs());
                return Err(self.refused("start", &why));
            }
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    fn refused(&self, what: &'static str, why: &str) -> CgroupError {
        CgroupError::Systemd {
            what,
            unit: self.unit.clone(),
            why: why.to_owned(),
        }
    }
}
