//! What all Pods of one supervisor share: runtime, images, network, volumes, and who hears of which task.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::rc::{Rc, Weak};

use anyhow::Context;
use carob_bundles::pause;
use tokio::sync::mpsc;
use tokio::task;

use crate::backend::{Backend, Home, Setup};
use crate::cgroup;
use crate::containerd::Containerd;
use crate::dirs::Dirs;
use crate::executor::Executor;
use crate::images::Images;
use crate::machine::Machine;
use crate::metrics::Metrics;
use crate::network::{Network, NetworkConfig};
use crate::objects::Objects;
use crate::probe::socket::Sockets;
use crate::runtime::embedded::Embedded;
use crate::runtime::{Runtime, TaskEvent};
use crate::volume::Volumes;

/// Everything that Pods share.
pub struct Engine {
    /// The directories.
    pub dirs: Dirs,
    /// The machine.
    pub machine: Machine,
    /// Where the containers are that run here.
    pub home: Home,
    /// Runs containers.
    pub runtime: Box<dyn Runtime>,
    /// Pulls and unpacks.
    pub images: Images,
    /// Connects Pods.
    pub network: Network,
    /// Makes the sockets of probes and hooks.
    pub sockets: Rc<Sockets>,
    /// ConfigMaps and Secrets.
    pub objects: Objects,
    /// Makes volumes.
    pub volumes: Volumes,
    /// Root file system of every sandbox.
    pub pause_root: PathBuf,
    /// What is counted.
    pub metrics: Metrics,
    routes: Rc<Routes>,
}

/// Which Pod hears of which container.
#[derive(Default)]
struct Routes(RefCell<BTreeMap<String, Weak<Executor>>>);

impl Engine {
    /// Prepares the machine for Pods.
    ///
    /// # Errors
    /// When something that every Pod needs can't be had.
    pub async fn open(dirs: Dirs, setup: &Setup) -> anyhow::Result<Self> {
        let (sink, events) = mpsc::unbounded_channel();
        let routes = Rc::new(Routes::default());
        task::spawn_local(dispatch(routes.clone(), events));
        let pause_root =
            pause::install(&dirs.root.join("pause")).context("cannot install the pause program")?;
        let runtime: Box<dyn Runtime> = match &setup.backend {
            Backend::Embedded => Box::new(Embedded::open(&dirs, sink)?),
            Backend::Containerd(settings) => Box::new(Containerd::open(settings, sink).await?),
        };
        Ok(Self {
            home: setup.backend.home(),
            runtime,
            machine: Machine::detect().context("cannot read what machine this is")?,
            images: Images::open(&dirs, setup).await?,
            network: Network::open(&dirs.state, NetworkConfig::default())?,
            sockets: Rc::default(),
            objects: Objects::default(),
            volumes: Volumes::new(&dirs.root)?,
            pause_root,
            metrics: Metrics::new()?,
            routes,
            dirs,
        })
    }

    /// Events of this container go to this Pod from now on.
    pub fn route(&self, id: &str, executor: &Rc<Executor>) {
        self.routes
            .0
            .borrow_mut()
            .insert(id.to_owned(), Rc::downgrade(executor));
    }

    /// Nobody hears of this container any more.
    pub fn unroute(&self, id: &str) {
        self.routes.0.borrow_mut().remove(id);
    }

    /// Gives back what no Pod uses any more.
    ///
    /// # Errors
    /// When the network can't be removed.
    pub async fn close(&self) -> anyhow::Result<()> {
        let _all = self.dirs.lock()?;
        self.network.close().await?;
        cgroup::remove(&self.dirs.cgroup());
        // Only empty ones go: other supervisors may share the directory.
        for dir in [self.dirs.bundles(), self.dirs.records()] {
            let _ = fs::remove_dir(dir);
        }
        Ok(())
    }
}

async fn dispatch(routes: Rc<Routes>, mut events: mpsc::UnboundedReceiver<TaskEvent>) {
    while let Some(event) = events.recv().await {
        let executor = routes.0.borrow().get(event.id()).and_then(Weak::upgrade);
        match executor {
            Some(executor) => executor.task_event(event),
            None => tracing::debug!(?event, "an event of a container that nobody knows"),
        }
    }
}
