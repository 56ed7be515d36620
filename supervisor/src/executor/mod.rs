//! Carries out what was decided for one Pod. No decision lives here: every action ends in one event.

mod adopt;
mod asked;
mod bundle;
mod config;
mod container;
mod exit;
mod files;
mod hook;
mod image;
mod image_volumes;
mod probe;
mod sandbox;
mod signal;
mod task;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use carob_bundles::image::overlay::Image;
use carob_bundles::image::store::Owner;
use carob_core::action::Action;
use carob_core::event::Event;
use carob_core::pod::{Container, Pod};
use carob_core::state::PodState;
use carob_core::status::PodStatus;
use carob_core::time::Now;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::spawn_local;

use crate::actor::Effects;
use crate::dirs::hex;
use crate::engine::Engine;
use crate::failpoint::boundary;
use crate::runtime::{PodRuntime, TaskError, TaskEvent};
use crate::watch::Watch;

use asked::{Asked, Stage};
pub use bundle::read as read_bundle;
pub use container::Streams;
use sandbox::Sandbox;

/// Where a Pod's containers come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// Images, as the manifest names them.
    Manifest,
    /// Ready OCI bundles by container name, and what their standard streams are.
    Bundles(BTreeMap<String, PathBuf>, Streams),
}

/// The effects of one Pod.
pub struct Executor {
    engine: Rc<Engine>,
    pod: Rc<Pod>,
    source: Source,
    /// Runs the Pod's containers.
    runtime: Rc<dyn PodRuntime>,
    outbox: mpsc::UnboundedSender<Event>,
    watch: Watch,
    live: RefCell<Live>,
    asked: Asked,
}

/// What the Pod has in the runtime right now.
#[derive(Default)]
struct Live {
    sandbox: Option<Sandbox>,
    /// Images made ready, by container name.
    images: BTreeMap<String, Rc<Image>>,
    /// Containers made and not yet removed, by ID.
    containers: BTreeMap<String, Instance>,
    /// Why the runtime refused to make some of them, by ID.
    refused: BTreeMap<String, TaskError>,
}

/// One instance of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Instance {
    name: String,
    attempt: u32,
}

impl Executor {
    /// An executor that answers through `outbox`.
    pub fn new(
        engine: Rc<Engine>,
        pod: Pod,
        source: Source,
        runtime: Rc<dyn PodRuntime>,
        outbox: mpsc::UnboundedSender<Event>,
        watch: Watch,
    ) -> Self {
        Self {
            engine,
            pod: Rc::new(pod),
            source,
            runtime,
            outbox,
            watch,
            live: RefCell::default(),
            asked: Asked::default(),
        }
    }
}

impl Effects for Executor {
    fn pod(&self) -> Rc<Pod> {
        self.pod.clone()
    }

    fn source(&self) -> &Source {
        &self.source
    }

    async fn adopt(self: Rc<Self>, state: &PodState, same_boot: bool) {
        self.find(state, same_boot).await;
    }

    async fn close(&self) {
        self.runtime.close().await;
        if let Err(error) = self.engine.images.release(&self.owner()).await {
            tracing::warn!(%error, "what the Pod had of images stays until carob prune");
        }
    }

    async fn run(self: Rc<Self>, action: Action) {
        let (begun, done) = (Instant::now(), action.clone());
        self.carry_out(action).await;
        self.engine.metrics.acted(&self.pod, &done, begun);
    }

    fn decided(&self, state: &PodState, status: &PodStatus, now: Now, begun: Instant) {
        let metrics = &self.engine.metrics;
        metrics.decided(&self.pod, state, status, now, begun);
    }
}

impl Executor {
    /// What was done before is found and answered as if just done.
    async fn carry_out(self: &Rc<Self>, action: Action) {
        match action {
            Action::CreateSandbox { attempt } => self.create_sandbox(attempt).await,
            Action::RemoveSandbox { attempt, last } => self.remove_sandbox(attempt, last).await,
            Action::EnsureImage { container } => self.ensure_image(container).await,
            Action::CreateContainer { container, attempt } => {
                self.create_container(Instance {
                    name: container,
                    attempt,
                })
                .await
            }
            Action::StartContainer { container, attempt } => {
                self.start_container(Instance {
                    name: container,
                    attempt,
                })
                .await
            }
            Action::Signal {
                container,
                attempt,
                signal,
            } => {
                self.signal(
                    Instance {
                        name: container,
                        attempt,
                    },
                    signal,
                )
                .await
            }
            Action::Probe {
                container: name,
                attempt,
                kind,
            } => self.probe(Instance { name, attempt }, kind).await,
            Action::PostStart {
                container: name,
                attempt,
            } => self.post_start(Instance { name, attempt }).await,
            Action::PreStop {
                container: name,
                attempt,
                within_ms,
            } => {
                let within = Duration::from_millis(within_ms);
                self.pre_stop(Instance { name, attempt }, within).await;
            }
            Action::RemoveContainer { container, attempt } => {
                self.remove_container(Instance {
                    name: container,
                    attempt,
                })
                .await
            }
        }
    }
}

impl Executor {
    /// An actor that has ended needs no answer.
    fn tell(&self, event: Event) {
        boundary();
        self.engine.metrics.happened(&self.pod, &event);
        let _ = self.outbox.send(event);
    }

    /// What the runtime reports of one of this Pod's containers. The sandbox's own end is heard by waiting.
    pub fn task_event(self: &Rc<Self>, event: TaskEvent) {
        let Some(instance) = self.live.borrow().containers.get(event.id()).cloned() else {
            return;
        };
        match event {
            TaskEvent::Exit { id, status, at } => {
                self.asked.advance(&id, Stage::Ended);
                self.exited(instance, status, at);
            }
            TaskEvent::Lost { why, .. } => {
                let executor = self.clone();
                spawn_local(async move { executor.maybe_lost(instance, &why).await });
            }
            TaskEvent::Oom { .. } => {
                self.tell(Event::ContainerOom {
                    container: instance.name,
                    attempt: instance.attempt,
                });
            }
        }
    }

    fn container(&self, name: &str) -> Option<&Container> {
        self.pod.spec.all_containers().find(|c| c.name == name)
    }

    fn uid(&self) -> &str {
        &self.pod.metadata.uid
    }

    /// In whose name images are kept: as long as the Pod's record is there.
    fn owner(&self) -> Owner {
        let meta = &self.pod.metadata;
        Owner {
            name: format!("{}/{}", meta.namespace, meta.name),
            record: self
                .engine
                .dirs
                .records()
                .join(format!("{}.json", meta.uid)),
        }
    }

    /// The runtime's name for an instance: the same whenever it is asked for, so that actions can be repeated.
    fn id(&self, what: &str, attempt: u32) -> String {
        hex(&Sha256::digest(format!("{}/{what}/{attempt}", self.uid())))
    }

    /// The bundle of an instance.
    fn bundle(&self, what: &str, attempt: u32) -> PathBuf {
        self.engine
            .dirs
            .bundles()
            .join(self.uid())
            .join(format!("{what}.{attempt}"))
    }

    /// What the Pod has on disk: volumes, generated files, writable layers.
    fn pod_dir(&self) -> PathBuf {
        self.engine.dirs.pods().join(self.uid())
    }

    /// The log file of an instance.
    fn log(&self, instance: &Instance) -> PathBuf {
        let meta = &self.pod.metadata;
        self.engine
            .dirs
            .pod_logs(&meta.namespace, &meta.name, &meta.uid)
            .join(&instance.name)
            .join(format!("{}.log", instance.attempt))
    }
}
