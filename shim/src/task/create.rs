//! Create: a worker makes the container, and its init waits.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use containerd_shim_protos::api::Mount;
use containerd_shim_protos::events::task::{TaskCreate, TaskIO};
use containerd_shim_protos::protobuf::MessageField;

use rustix::process::PidfdFlags;

use tokio::sync::{Notify, watch};

use super::process::Process;
use super::{Container, Error, Event, Kind, Phase, Shim};
use crate::bundle::{Bundle, check_id, note_init};
use crate::cgroup::Cgroup;
use crate::options::Options;
use crate::reap::Exited;
use crate::stdio::{Request, Streams, give_streams};
use crate::worker::{CreateJob, Created, Given, RootMount, create, pipe, remove_cgroup};

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct CreateRequest {
    /// The container's id.
    pub id: String,
    /// Its bundle.
    pub bundle: PathBuf,
    /// Its root file system, as containerd describes it.
    pub rootfs: Vec<Mount>,
    /// Its init's standard streams.
    pub streams: Request,
    /// What the client wants of the runtime.
    pub options: Options,
}

/// How to start the init that waits.
pub(super) struct StartHandles {
    /// The socket it waits on, as a path-only descriptor.
    pub socket: OwnedFd,
    /// Where it says why its program can't be executed; ends when it is executed.
    pub error: OwnedFd,
}

/// What others may want of a creation that is under way: to stop it, and to know when it is over.
#[derive(Default)]
pub(super) struct Creation {
    pub stop: Notify,
    /// Becomes true when the container is made; goes when it can't be.
    pub made: watch::Sender<bool>,
}

/// What was made.
struct Made {
    cgroup: Cgroup,
    owns_pid_namespace: bool,
    hooks: (bool, bool),
    streams: Streams,
    start: StartHandles,
    pid: i32,
    pidfd: Option<OwnedFd>,
    exited: Exited,
}

impl Shim {
    /// Makes a container. Returns its init's process id.
    ///
    /// # Errors
    /// `AlreadyExists`; `InvalidArgument` for an unusable id, bundle or stream; otherwise what the
    /// worker says. Nothing is left of a container that could not be made.
    pub async fn create(self: Arc<Self>, request: CreateRequest) -> Result<i32, Error> {
        check_id("container id", &request.id).map_err(Error::invalid)?;
        if !request.bundle.is_absolute() {
            return Err(Error::new(
                Kind::InvalidArgument,
                format!(
                    "the bundle {:?} is not an absolute path",
                    request.bundle.display()
                ),
            ));
        }
        let id = request.id.clone();
        let creation = self.announce_creation(&request)?;
        match self.make(&request, &creation.stop).await {
            Ok(made) => Ok(self.created(&request, made)),
            Err(error) => {
                self.take(&id);
                Err(error)
            }
        }
    }

    /// Takes the id, so that nobody else makes a container of it meanwhile.
    fn announce_creation(&self, request: &CreateRequest) -> Result<Arc<Creation>, Error> {
        let mut containers = self.containers();
        if containers.contains_key(&request.id) {
            let message = format!("container {:?} exists already", request.id);
            return Err(Error::new(Kind::AlreadyExists, message));
        }
        let creation = Arc::<Creation>::default();
        let container = Container {
            creation: creation.clone(),
            bundle: request.bundle.clone(),
            cgroup: None,
            owns_pid_namespace: false,
            hooks: (false, false),
            init: Process::new(Phase::Creating, request.streams.clone()),
            init_pidfd: None,
            start: None,
            oom: None,
            execs: std::collections::BTreeMap::new(),
            inherited: None,
            options: request.options.clone(),
            deleting: false,
        };
        containers.insert(request.id.clone(), container);
        Ok(creation)
    }

    async fn make(&self, request: &CreateRequest, stop: &Notify) -> Result<Made, Error> {
        let mut bundle = Bundle::read(&request.bundle).map_err(Error::invalid)?;
        let path = bundle.cgroup_path(&self.namespace, &request.id);
        if request.options.systemd_cgroup && !Cgroup::names_unit(&path) {
            let message = format!(
                "the option SystemdCgroup needs cgroupsPath as SLICE:PREFIX:NAME, not {path:?}: change one of them"
            );
            return Err(Error::new(Kind::InvalidArgument, message));
        }
        let cgroup = Cgroup::at(&path).map_err(Error::invalid)?;
        if let Some(path) = &request.options.shim_cgroup {
            let own = Cgroup::at(path).map_err(Error::invalid)?;
            own.join_existing(std::process::id() as i32)
                .map_err(Error::invalid)?;
        }
        let opened = Streams::open(&request.streams, self.owner(&request.id)).await;
        let (mut streams, stdio) = opened.map_err(Error::invalid)?;
        if let Some(owner) = request.options.io_owner {
            give_streams(&stdio, owner).map_err(Error::internal)?;
        }
        let job = CreateJob {
            id: request.id.clone(),
            bundle: request.bundle.clone(),
            rootfs: request.rootfs.iter().map(root_mount).collect(),
            cgroup: cgroup.clone(),
            resources: bundle.take_resources(),
            scratch: self.scratch.clone(),
            terminal: request.streams.terminal,
            options: request.options.clone(),
        };
        let (error, start_error) = pipe().map_err(Error::internal)?;
        // From here on the init may end before its id is known.
        let _expecting = self.children.expect();
        let given = Given { start_error, stdio };
        let Created {
            pid,
            start,
            console,
        } = create(&self.children, job, given, stop)
            .await
            .map_err(Error::internal)?;
        // Without it, if it is gone already.
        let pidfd = rustix::process::Pid::from_raw(pid)
            .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
        let exited = self.children.watch(pid);
        let attach = |streams: &mut Streams, console| {
            streams.attach_console(console)?;
            bundle
                .console_size()
                .map_or(Ok(false), |size| streams.resize(size))
        };
        if let Some(console) = console
            && let Err(cause) = attach(&mut streams, console)
        {
            remove_cgroup(&self.children, &cgroup)
                .await
                .map_err(Error::internal)?;
            return Err(Error::internal(cause));
        }
        if let Err(error) = note_init(&request.bundle, pid) {
            tracing::warn!("{error}");
        }
        Ok(Made {
            cgroup,
            owns_pid_namespace: bundle.owns_pid_namespace(),
            hooks: bundle.hooks(),
            streams,
            start: StartHandles {
                socket: start,
                error,
            },
            pid,
            pidfd,
            exited,
        })
    }

    /// Keeps what was made, and tells of it.
    fn created(self: &Arc<Self>, request: &CreateRequest, made: Made) -> i32 {
        let mut containers = self.containers();
        // Nobody else removes a container that is being created.
        if let Some(container) = containers.get_mut(&request.id) {
            container.cgroup = Some(made.cgroup);
            container.owns_pid_namespace = made.owns_pid_namespace;
            container.hooks = made.hooks;
            container.init_pidfd = made.pidfd;
            container.start = Some(made.start);
            container.init.streams = made.streams;
            container.init.set_pid(made.pid);
            self.watch_oom(&request.id, container);
            if let Err(refused) = container.init.on(Event::Made) {
                tracing::error!("{}: {refused}", request.id);
            }
            container.creation.made.send_replace(true);
        }
        drop(containers);
        self.publisher.publish(TaskCreate {
            container_id: request.id.clone(),
            bundle: request.bundle.display().to_string(),
            rootfs: request.rootfs.clone(),
            io: MessageField::some(TaskIO {
                stdin: request.streams.stdin.clone(),
                stdout: request.streams.stdout.clone(),
                stderr: request.streams.stderr.clone(),
                terminal: request.streams.terminal,
                ..TaskIO::default()
            }),
            pid: made.pid as u32,
            ..TaskCreate::default()
        });
        self.watch(&request.id, "", made.exited);
        made.pid
    }
}

fn root_mount(mount: &Mount) -> RootMount {
    RootMount {
        kind: mount.type_.clone(),
        source: mount.source.clone(),
        target: mount.target.clone(),
        options: mount.options.clone(),
    }
}
