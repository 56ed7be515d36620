//! Containers: bundle, create, start, remove.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use carob_bundles::spec::{SpecError, VolumeBind};
use carob_core::event::{Event, StartFailure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::sandbox::Sandbox;
use super::{Executor, Instance, Source, task};
use crate::failpoint::boundary;
use crate::private;
use crate::prune::ID_FILE;
use crate::runtime::{CreateTask, Process, Rootfs, Stdio, TaskError, Tasks};
use crate::watch::Update;

/// What a bundle's standard streams are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Streams {
    /// Log files in the Kubernetes format.
    Logs,
    /// Named pipes, which the caller has made: standard input, output and error.
    Pipes([PathBuf; 3]),
}

/// A container that can't be created, and whose fault that is.
pub(super) struct CreateError {
    reason: StartFailure,
    message: String,
}

impl CreateError {
    /// The manifest's fault.
    pub(super) fn config(message: impl ToString) -> Self {
        Self {
            reason: StartFailure::CreateContainerConfigError,
            message: message.to_string(),
        }
    }

    /// Whoever's fault the generator of `config.json` says.
    pub(super) fn spec(error: &SpecError) -> Self {
        match error.reason() {
            "CreateContainerConfigError" => Self::config(error),
            _ => Self::create(error),
        }
    }

    /// The machine's or the runtime's fault.
    pub(super) fn create(message: impl ToString) -> Self {
        Self {
            reason: StartFailure::CreateContainerError,
            message: message.to_string(),
        }
    }
}

impl Executor {
    pub(super) async fn create_container(self: &Rc<Self>, instance: Instance) {
        let id = self.id(&instance.name, instance.attempt);
        match self.try_create(&id, &instance).await {
            Ok(()) => self.tell(Event::ContainerCreated {
                container: instance.name,
                attempt: instance.attempt,
                id,
            }),
            Err(CreateError { reason, message }) => {
                // One that can't be removed now goes with the Pod.
                if let Err(error) = self.engine.images.remove_rootfs(&id).await {
                    tracing::warn!(%error, "the root file system of a container stays");
                }
                self.forget(&id, &instance);
                self.tell(Event::ContainerFailed {
                    container: instance.name,
                    attempt: instance.attempt,
                    reason,
                    message,
                });
            }
        }
    }

    async fn try_create(self: &Rc<Self>, id: &str, instance: &Instance) -> Result<(), CreateError> {
        if self.live.borrow().containers.contains_key(id) {
            return Ok(());
        }
        // Takes a while, so it comes before the look at the sandbox.
        let image_volumes = self.image_volumes(instance).await?;
        let sandbox = self
            .live
            .borrow()
            .sandbox
            .clone()
            .ok_or_else(|| CreateError::create("the Pod's sandbox is gone"))?;
        let bundle = self.bundle(&instance.name, instance.attempt);
        let files = |e: io::Error| CreateError::create(format!("cannot prepare {bundle:?}: {e}"));
        private_dir(&bundle).map_err(files)?;
        let (config, rootfs) = self.config(id, instance, &sandbox, image_volumes).await?;
        let config = serde_json::to_vec(&config).map_err(|e| files(e.into()))?;
        fs::write(bundle.join(ID_FILE), id).map_err(files)?;
        private::write(&bundle.join("config.json"), &config).map_err(files)?;
        let stdio = self.streams(instance).map_err(files)?;
        self.engine.route(id, self);
        self.live
            .borrow_mut()
            .containers
            .insert(id.to_owned(), instance.clone());
        let terminal = matches!(self.source, Source::Manifest)
            && self.container(&instance.name).is_some_and(|c| c.tty);
        let image = match self.source {
            Source::Manifest => self.container(&instance.name).map(|c| c.image.clone()),
            Source::Bundles(..) => None,
        };
        let task = CreateTask {
            id: id.to_owned(),
            name: instance.name.clone(),
            attempt: instance.attempt,
            image: image.unwrap_or_default(),
            bundle,
            config,
            rootfs,
            stdio,
            terminal,
        };
        // With containerd the runtime hears of a container only when it is started, so a kubelet takes what is
        // wrong with the program for a failure to start.
        boundary();
        if let Err(refused) = task::create(&*sandbox.tasks, task).await {
            self.live
                .borrow_mut()
                .refused
                .insert(id.to_owned(), refused);
        }
        Ok(())
    }

    /// `config.json` and the mounts of the root file system.
    async fn config(
        &self,
        id: &str,
        instance: &Instance,
        sandbox: &Sandbox,
        image_volumes: Vec<VolumeBind>,
    ) -> Result<(oci_spec::runtime::Spec, Rootfs), CreateError> {
        match &self.source {
            Source::Manifest => {
                self.image_config(id, instance, sandbox, image_volumes)
                    .await
            }
            Source::Bundles(bundles, _) => {
                let dir = bundles
                    .get(&instance.name)
                    .ok_or_else(|| CreateError::config("it has no bundle"))?;
                let spec = super::bundle::load(dir, &self.bundle_facts(instance, sandbox))
                    .map_err(CreateError::config)?;
                Ok((spec, Rootfs::default()))
            }
        }
    }

    /// Where standard input, output and error go; makes the log's directory.
    fn streams(&self, instance: &Instance) -> io::Result<Stdio> {
        if let Source::Bundles(_, Streams::Pipes(pipes)) = &self.source {
            return Ok(Stdio::Pipes(pipes.clone()));
        }
        let path = self.log(instance);
        if let Some(dir) = path.parent() {
            private_dir(dir)?;
        }
        self.tell_log(instance);
        Ok(Stdio::Log(path))
    }

    /// Those who watch may read the log from now on.
    pub(super) fn tell_log(&self, instance: &Instance) {
        self.watch.tell(Update::Log {
            container: instance.name.clone(),
            path: self.log(instance),
        });
    }

    pub(super) async fn start_container(self: &Rc<Self>, instance: Instance) {
        let id = self.id(&instance.name, instance.attempt);
        let started = self.try_start(&id, &instance).await;
        let Instance {
            name: container,
            attempt,
        } = instance;
        self.tell(match started {
            Ok(pid) => Event::ContainerStarted {
                container,
                attempt,
                pid,
                at: Timestamp::now(),
            },
            Err(error) => Event::ContainerFailed {
                container,
                attempt,
                reason: StartFailure::RunContainerError,
                message: error.to_string(),
            },
        });
    }

    async fn try_start(self: &Rc<Self>, id: &str, instance: &Instance) -> Result<i32, TaskError> {
        if !self.live.borrow().containers.contains_key(id) {
            // Why it was refused was known only to a supervisor that was killed.
            let made = self.try_create(id, instance).await;
            made.map_err(|error| TaskError::Refused(error.message))?;
        }
        if let Some(refused) = self.live.borrow_mut().refused.remove(id) {
            return Err(refused);
        }
        let tasks = self.tasks()?;
        let started = task::start(&*tasks, id).await;
        if started.is_ok() {
            tasks.watch(id, &self.container_cgroup(instance));
        } else {
            // Nobody waits for what never ran; whatever this leaves goes with the sandbox.
            let init = Process::init(id);
            let _ = tasks
                .kill(init, nix::libc::SIGKILL.unsigned_abs(), true)
                .await;
            let _ = tasks.delete(init).await;
        }
        started
    }

    pub(super) async fn remove_container(&self, instance: Instance) {
        let id = self.id(&instance.name, instance.attempt);
        let deleted = match self.tasks() {
            Ok(tasks) => tasks.delete(Process::init(&id)).await,
            // Without a sandbox there is no task; what it left was cleaned when its end was seen.
            Err(_) => Ok(()),
        };
        let deleted = match deleted {
            Ok(()) | Err(TaskError::NotFound(_) | TaskError::Gone(_)) => {
                let removed = self.engine.images.remove_rootfs(&id).await;
                removed.map_err(|error| TaskError::Refused(error.to_string()))
            }
            refused => refused,
        };
        let Instance {
            name: container,
            attempt,
        } = instance.clone();
        match deleted {
            Ok(()) => {
                boundary();
                self.forget(&id, &instance);
                self.tell(Event::ContainerRemoved { container, attempt });
            }
            Err(
                TaskError::Refused(message)
                | TaskError::NotNow(message)
                | TaskError::Exists(message)
                | TaskError::NotFound(message)
                | TaskError::Gone(message),
            ) => self.tell(Event::ContainerRemoveFailed {
                container,
                attempt,
                message,
            }),
        }
    }

    /// Removes what an instance has on disk, but its log.
    pub(super) fn forget(&self, id: &str, instance: &Instance) {
        self.engine.unroute(id);
        self.asked.forget(id);
        let mut live = self.live.borrow_mut();
        live.containers.remove(id);
        live.refused.remove(id);
        drop(live);
        for dir in [
            self.bundle(&instance.name, instance.attempt),
            self.container_dir(instance),
        ] {
            match fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, ?dir, "a directory stays until the Pod is removed");
                }
                _ => {}
            }
        }
    }

    /// Writable layer and termination log of an instance.
    pub(super) fn container_dir(&self, instance: &Instance) -> PathBuf {
        self.pod_dir()
            .join("containers")
            .join(format!("{}.{}", instance.name, instance.attempt))
    }

    /// The file behind `terminationMessagePath`.
    pub(super) fn termination_log(&self, instance: &Instance) -> PathBuf {
        self.container_dir(instance).join("termination-log")
    }

    /// Makes the file behind `terminationMessagePath`, writable for whoever the container runs as
    /// (mode 0666 as a kubelet's).
    pub(super) fn make_termination_log(&self, instance: &Instance) -> io::Result<PathBuf> {
        let path = self.termination_log(instance);
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o666)
            .open(&path)?;
        file.set_permissions(fs::Permissions::from_mode(0o666))?;
        Ok(path)
    }

    pub(super) fn tasks(&self) -> Result<Rc<dyn Tasks>, TaskError> {
        let live = self.live.borrow();
        live.sandbox
            .as_ref()
            .map(|s| s.tasks.clone())
            .ok_or_else(|| TaskError::Gone("its sandbox was removed".to_owned()))
    }
}

/// A directory that only root can enter, with all that leads to it.
pub(super) fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
