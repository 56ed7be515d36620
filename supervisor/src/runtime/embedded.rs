//! The embedded backend: starts a shim per Pod, as containerd would, and hears its events.
//!
//! A Pod has an event socket of its own, whose name does not depend on who listens. So events that nobody took reach
//! the supervisor that takes the Pod over, and a start of the shim that is repeated finds the shim of the first.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::rc::Rc;
use std::{env, fs, io};

use async_trait::async_trait;
use tokio::process::Command;
use tokio::sync::mpsc;

use super::{
    EventServer, PodName, PodRuntime, Runtime, RuntimeError, Shim, TaskError, TaskEvent, Tasks,
};
use crate::dirs::Dirs;

/// The shim's file name, by containerd's rule for `io.containerd.carob.v1`.
pub const SHIM: &str = "containerd-shim-carob-v1";
/// The file in the sandbox's bundle in which the shim leaves its address, as containerd's shims do.
const ADDRESS_FILE: &str = "address";
/// The containerd namespace that our shims are told.
const NAMESPACE: &str = "carob";

/// Starts shims and hears them.
pub struct Embedded {
    program: PathBuf,
    dirs: Dirs,
    sink: mpsc::UnboundedSender<TaskEvent>,
}

/// Why a shim could not be started or asked.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// It isn't installed.
    #[error(
        "the shim {SHIM} is neither beside carob nor in PATH; install it or set CAROB_SHIM to its path"
    )]
    NoShim,
    /// The event socket can't be made.
    #[error("cannot listen for events on {socket:?}: {source}")]
    Listen {
        /// The socket.
        socket: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The shim did not start.
    #[error("the shim did not start: {0}")]
    Start(String),
    /// The shim started but doesn't answer.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl Embedded {
    /// Finds the shim.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(
        dirs: &Dirs,
        sink: mpsc::UnboundedSender<TaskEvent>,
    ) -> Result<Self, EmbeddedError> {
        Ok(Self {
            program: find_shim().ok_or(EmbeddedError::NoShim)?,
            dirs: dirs.clone(),
            sink,
        })
    }
}

#[async_trait(?Send)]
impl Runtime for Embedded {
    async fn pod(&self, pod: PodName) -> Result<Rc<dyn PodRuntime>, RuntimeError> {
        let socket = self.dirs.event_socket(&pod.uid);
        let events = EventServer::listen(&socket, self.sink.clone());
        let events = events
            .await
            .map_err(|source| EmbeddedError::Listen { socket, source })?;
        Ok(Rc::new(EmbeddedPod {
            program: self.program.clone(),
            events,
        }))
    }
}

/// Starts the shims of one Pod.
struct EmbeddedPod {
    program: PathBuf,
    /// Hears the Pod's shim.
    events: EventServer,
}

#[async_trait(?Send)]
impl PodRuntime for EmbeddedPod {
    async fn open(&self, sandbox: &str, bundle: &Path) -> Result<Rc<dyn Tasks>, RuntimeError> {
        let output = shim_command(&self.program, self.events.socket(), sandbox, bundle)
            .arg("start")
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|e| EmbeddedError::Start(format!("{:?}: {e}", self.program)))?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(EmbeddedError::Start(words).into());
        }
        let address = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let shim = Shim::connect(&address).await.map_err(EmbeddedError::Task)?;
        Ok(Rc::new(shim))
    }

    async fn find(&self, bundle: &Path) -> Option<Rc<dyn Tasks>> {
        let shim = connect(bundle).await?;
        Some(Rc::new(shim))
    }

    async fn delete_orphan(&self, id: &str, bundle: &Path) -> Result<(), RuntimeError> {
        Ok(delete_orphan(&self.program, self.events.socket(), id, bundle).await?)
    }

    async fn close(&self) {
        self.events.close().await;
    }
}

impl From<EmbeddedError> for RuntimeError {
    fn from(error: EmbeddedError) -> Self {
        Self(error.into())
    }
}

/// Connects to the shim that left its address in a bundle; `None` when it doesn't serve any more.
pub async fn connect(bundle: &Path) -> Option<Shim> {
    let address = fs::read_to_string(bundle.join(ADDRESS_FILE)).ok()?;
    Shim::connect(address.trim()).await.ok()
}

/// Cleans up a container that no shim serves any more.
///
/// # Errors
/// The shim's own words when it can't.
pub async fn delete_orphan(
    program: &Path,
    socket: &Path,
    id: &str,
    bundle: &Path,
) -> Result<(), EmbeddedError> {
    let output = shim_command(program, socket, id, bundle)
        .arg("-bundle")
        .arg(bundle)
        .arg("delete")
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|e| EmbeddedError::Start(format!("{program:?}: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(EmbeddedError::Start(
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}

fn shim_command(program: &Path, socket: &Path, id: &str, bundle: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(["-namespace", NAMESPACE, "-id", id, "-address"])
        .arg(socket);
    command.current_dir(bundle).env("TTRPC_ADDRESS", socket);
    command
}

/// The shim named by `CAROB_SHIM`, else the one beside this program, else the one in `PATH`.
pub fn find_shim() -> Option<PathBuf> {
    if let Some(named) = env::var_os("CAROB_SHIM") {
        return Some(named.into());
    }
    let beside = env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join(SHIM)));
    let in_path = env::var_os("PATH").into_iter().flat_map(|p| {
        env::split_paths(&p)
            .map(|d| d.join(SHIM))
            .collect::<Vec<_>>()
    });
    beside
        .into_iter()
        .chain(in_path)
        .find(|candidate| candidate.is_file())
}
