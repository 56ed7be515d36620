//! A Pod's containers in containerd: who serves them, and what a container that lost its task leaves.

use std::path::Path;
use std::rc::Rc;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::container;
use super::shim::ShimKind;
use super::tasks::ContainerdTasks;
use super::{Client, ConnectError, Settings, Version};
use crate::runtime::{PodName, PodRuntime, Runtime, RuntimeError, TaskEvent, Tasks};

/// containerd, for all Pods.
pub struct Containerd {
    client: Client,
    /// As it said when it was first asked.
    pub version: Version,
    settings: Rc<Settings>,
    sink: mpsc::UnboundedSender<TaskEvent>,
}

impl Containerd {
    /// Connects; what happens to containers goes to `sink`.
    ///
    /// # Errors
    /// When containerd doesn't answer.
    pub async fn open(
        settings: &Settings,
        sink: mpsc::UnboundedSender<TaskEvent>,
    ) -> Result<Self, ConnectError> {
        let (client, version) = Client::connect(&settings.place).await?;
        Ok(Self {
            client,
            version,
            settings: Rc::new(settings.clone()),
            sink,
        })
    }
}

#[async_trait(?Send)]
impl Runtime for Containerd {
    async fn pod(&self, pod: PodName) -> Result<Rc<dyn PodRuntime>, RuntimeError> {
        let tasks = ContainerdTasks {
            client: self.client.clone(),
            pod,
            shim: ShimKind::of(&self.settings.runtime),
            sink: self.sink.clone(),
        };
        Ok(Rc::new(ContainerdPod {
            tasks: Rc::new(tasks),
        }))
    }
}

/// The containers of one Pod.
struct ContainerdPod {
    tasks: Rc<ContainerdTasks>,
}

#[async_trait(?Send)]
impl PodRuntime for ContainerdPod {
    async fn open(&self, _: &str, _: &Path) -> Result<Rc<dyn Tasks>, RuntimeError> {
        // containerd starts the shim with the first task.
        Ok(self.tasks.clone())
    }

    async fn find(&self, _: &Path) -> Option<Rc<dyn Tasks>> {
        Some(self.tasks.clone())
    }

    async fn delete_orphan(&self, id: &str, _: &Path) -> Result<(), RuntimeError> {
        Ok(container::remove(&self.tasks.client, id).await?)
    }

    async fn close(&self) {}
}
