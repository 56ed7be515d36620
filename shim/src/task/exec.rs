//! Exec: a further process in a running container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use containerd_shim_protos::events::task::{TaskExecAdded, TaskExecStarted};
use oci_spec::runtime::Process;
use tokio::io::Interest;

use super::inherited::Inherited;
use super::process::Process as State;
use super::{Error, Event, Kind, Phase, Shim, find};
use crate::bundle::check_id;
use crate::cgroup::Cgroup;
use crate::exec::{self, ExecError, ExecProcess};
use crate::options::Options;
use crate::process::ProcessSetup;
use crate::ready;
use crate::sentence::sentence;
use crate::stdio::{Request, Streams, give_streams};

/// How long a process may take to execute its program: it may be on a file system that hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct ExecRequest {
    /// The container.
    pub id: String,
    /// The exec's id.
    pub exec_id: String,
    /// Its standard streams.
    pub streams: Request,
    /// An OCI `Process` in JSON, which may say [`Own::child_subreaper`] beside.
    pub spec: Vec<u8>,
}

impl Shim {
    /// Adds an exec, which Start then runs.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, `FailedPrecondition` when the container doesn't run,
    /// `InvalidArgument` for an unusable id.
    pub fn exec(&self, request: ExecRequest) -> Result<(), Error> {
        check_id("exec id", &request.exec_id).map_err(Error::invalid)?;
        let mut containers = self.containers();
        let container = find(&mut containers, &request.id)?;
        if container.execs.contains_key(&request.exec_id) || request.exec_id == request.id {
            let message = format!("exec {:?} exists already", request.exec_id);
            return Err(Error::new(Kind::AlreadyExists, message));
        }
        let phase = container.init.phase();
        if phase != Phase::Running {
            return Err(not_running(phase));
        }
        let mut process = State::new(Phase::Created, request.streams);
        process.spec = Some(request.spec.into());
        container.execs.insert(request.exec_id.clone(), process);
        self.publisher.publish(TaskExecAdded {
            container_id: request.id,
            exec_id: request.exec_id,
            ..TaskExecAdded::default()
        });
        Ok(())
    }

    pub(super) async fn start_exec(self: Arc<Self>, id: &str, exec_id: &str) -> Result<i32, Error> {
        let (place, request, spec) = self.begin(id, exec_id)?;
        // From here on the process may end before it is known.
        let _expecting = self.children.expect();
        match self.run(id, &place, &request, &spec).await {
            Ok((process, streams)) => self.started(id, exec_id, process, streams),
            Err(error) => {
                let mut containers = self.containers();
                if let Ok(process) = find(&mut containers, id)?.process(id, exec_id) {
                    process.on(Event::NotMade)?;
                    process.spec = Some(spec);
                }
                Err(error)
            }
        }
    }

    /// Takes what is needed to start the exec.
    fn begin(&self, id: &str, exec_id: &str) -> Result<(Place, Request, Box<[u8]>), Error> {
        let mut containers = self.containers();
        let container = find(&mut containers, id)?;
        let phase = container.init.phase();
        let bundle = container.bundle.clone();
        let inherited = container.inherited.clone();
        let cgroup = container.cgroup.clone();
        let options = container.options.clone();
        let init = (
            container.init.pid(),
            container.init_pidfd.as_ref().map(OwnedFd::try_clone),
        );
        let process = container.process(id, exec_id)?;
        process.phase().on(Event::Start)?;
        if phase != Phase::Running {
            return Err(not_running(phase));
        }
        let (Some(cgroup), (init_pid, Some(init_pidfd))) = (cgroup, init) else {
            return Err(not_running(phase));
        };
        let init_pidfd = init_pidfd.map_err(Error::internal)?;
        process.on(Event::Start)?;
        let spec = process.spec.take().unwrap_or_default();
        Ok((
            Place {
                bundle,
                inherited,
                cgroup,
                init_pid,
                init_pidfd,
                options,
            },
            process.request.clone(),
            spec,
        ))
    }

    /// What the container's `config.json` says about each of its processes: read for the first exec.
    fn inherited(&self, id: &str, place: &Place) -> Result<Arc<Inherited>, Error> {
        if let Some(inherited) = &place.inherited {
            return Ok(inherited.clone());
        }
        let inherited = Arc::new(Inherited::read(&place.bundle, &self.scratch)?);
        find(&mut self.containers(), id)?.inherited = Some(inherited.clone());
        Ok(inherited)
    }

    async fn run(
        &self,
        id: &str,
        place: &Place,
        request: &Request,
        spec: &[u8],
    ) -> Result<(ExecProcess, Streams), Error> {
        let inherited = self.inherited(id, place)?;
        let mut setup = Setup::new(spec, &inherited)?;
        if place.options.no_new_keyring {
            setup.process = setup.process.without_new_keyring();
        }
        let owner = self.owner(id);
        let opened = Streams::open(request, owner).await;
        let (mut streams, stdio) = opened.map_err(Error::invalid)?;
        if let Some(owner) = place.options.io_owner {
            give_streams(&stdio, owner).map_err(Error::internal)?;
        }
        let given = match <[OwnedFd; 3]>::try_from(stdio) {
            Ok(three) => exec::Streams::Given(three),
            Err(_terminal) => exec::Streams::Terminal(setup.size),
        };
        let starting = exec::spawn(exec::ExecRequest {
            init_pid: place.init_pid,
            init_pidfd: place.init_pidfd.as_fd(),
            setup: &setup.process,
            cgroup: &place.cgroup,
            streams: given,
            subreaper: setup.subreaper,
        });
        let mut process = wait_for(starting.map_err(exec_error)?)
            .await
            .map_err(exec_error)?;
        if let Some(console) = process.console.take() {
            streams.attach_console(console).map_err(Error::internal)?;
        }
        Ok((process, streams))
    }

    fn started(
        self: &Arc<Self>,
        id: &str,
        exec_id: &str,
        process: ExecProcess,
        streams: Streams,
    ) -> Result<i32, Error> {
        let exited = self.children.watch(process.pid);
        let mut containers = self.containers();
        let Ok(exec) = find(&mut containers, id).and_then(|found| found.process(id, exec_id))
        else {
            // The container was deleted meanwhile, and with it its processes.
            return Err(Error::not_found(id, exec_id));
        };
        exec.set_pid(process.pid);
        exec.streams = streams;
        exec.on(Event::Started)?;
        drop(containers);
        self.publisher.publish(TaskExecStarted {
            container_id: id.to_owned(),
            exec_id: exec_id.to_owned(),
            pid: process.pid as u32,
            ..TaskExecStarted::default()
        });
        self.watch(id, exec_id, exited);
        Ok(process.pid)
    }
}

/// Where an exec goes.
struct Place {
    bundle: PathBuf,
    inherited: Option<Arc<Inherited>>,
    cgroup: Cgroup,
    init_pid: i32,
    init_pidfd: OwnedFd,
    options: Options,
}

/// What becomes of the client's request and the container's own configuration.
struct Setup {
    process: ProcessSetup,
    size: exec::Size,
    subreaper: bool,
}

/// What a client may say of a process beyond OCI's words.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Own {
    /// The process takes in its orphaned descendants, so that Kill with `all` ends them with it.
    #[serde(default)]
    child_subreaper: bool,
}

impl Setup {
    fn new(spec: &[u8], inherited: &Inherited) -> Result<Self, Error> {
        let unusable = |error| {
            let message = format!("the process to execute is not an OCI process: {error}");
            Error::new(Kind::InvalidArgument, message)
        };
        let process: Process = serde_json::from_slice(spec).map_err(unusable)?;
        let own: Own = serde_json::from_slice(spec).map_err(unusable)?;
        let setup = inherited.setup(&process)?;
        let side = |length: u64| u16::try_from(length).unwrap_or(u16::MAX);
        let size = process
            .console_size()
            .map_or_else(exec::Size::default, |size| exec::Size {
                rows: side(size.height()),
                columns: side(size.width()),
            });
        Ok(Self {
            process: setup,
            size,
            subreaper: own.child_subreaper,
        })
    }
}

/// Waits until the process has executed its program.
async fn wait_for(mut starting: exec::Starting) -> Result<ExecProcess, ExecError> {
    let io = |action: &'static str| move |cause| ExecError::Io { action, cause };
    let report = starting
        .as_fd()
        .try_clone_to_owned()
        .map_err(io("watch the new process"))?;
    let report = ready::watch(report, Interest::READABLE).map_err(io("watch the new process"))?;
    let deadline = tokio::time::Instant::now() + LIMIT;
    loop {
        let ready = tokio::time::timeout_at(deadline, report.readable()).await;
        let Ok(ready) = ready else {
            starting.abandon();
            return Err(ExecError::TimedOut(LIMIT));
        };
        let mut ready = ready.map_err(io("hear from the new process"))?;
        match starting.poll()? {
            Some(process) => return Ok(process),
            None => ready.clear_ready(),
        }
    }
}

fn exec_error(error: ExecError) -> Error {
    match error {
        ExecError::Stopped => Error::new(Kind::FailedPrecondition, error.to_string()),
        error => Error::new(
            Kind::Unknown,
            format!("failed to exec in container: {}", sentence(&error)),
        ),
    }
}

fn not_running(phase: Phase) -> Error {
    let message = format!("nothing can be executed in a container that is {phase}");
    Error::new(Kind::FailedPrecondition, message)
}
