//! Whose numbers are read: what of the Pods a thread of its own needs to know for that.

use std::path::PathBuf;

use carob_core::pod::{Pod, Resources};
use carob_core::status::{ContainerStatus, Phase};
use jiff::Timestamp;

use crate::dirs::Dirs;
use crate::network::Network;
use crate::registry::PodObject;

/// A Pod.
#[derive(Debug, Clone)]
pub struct PodTarget {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// The cgroup of all its containers.
    pub cgroup: String,
    /// The machine's end of its interface; none in the machine's network.
    pub veth: Option<String>,
    /// What it has on disk.
    pub dir: PathBuf,
    /// Its logs.
    pub logs: PathBuf,
    /// Those that run.
    pub containers: Vec<ContainerTarget>,
}

/// A container that runs.
#[derive(Debug, Clone)]
pub struct ContainerTarget {
    pub name: String,
    /// Its ID.
    pub id: String,
    pub image: String,
    /// Its cgroup.
    pub cgroup: String,
    /// Its writable layer.
    pub layer: PathBuf,
    pub started: Timestamp,
    pub resources: Resources,
}

impl PodTarget {
    /// All Pods that have something to measure.
    pub fn all(pods: &[std::rc::Rc<PodObject>], dirs: &Dirs, network: &Network) -> Vec<Self> {
        let live = pods.iter().filter(|object| {
            object.status.phase == Phase::Running || object.status.phase == Phase::Pending
        });
        live.map(|object| Self::of(object, dirs, network)).collect()
    }

    /// One Pod.
    pub fn of(object: &PodObject, dirs: &Dirs, network: &Network) -> Self {
        let (pod, meta) = (&object.pod, &object.pod.metadata);
        let cgroup = dirs.pod_cgroup(&meta.uid);
        let dir = dirs.pods().join(&meta.uid);
        let status = &object.status;
        let statuses = status
            .init_container_statuses
            .iter()
            .chain(&status.container_statuses);
        let containers =
            statuses.filter_map(|status| ContainerTarget::of(pod, status, &cgroup, &dir));
        Self {
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            containers: containers.collect(),
            veth: (!pod.spec.host_network).then(|| network.interface(&meta.uid)),
            logs: dirs.pod_logs(&meta.namespace, &meta.name, &meta.uid),
            cgroup,
            dir,
        }
    }
}

impl ContainerTarget {
    fn of(
        pod: &Pod,
        status: &ContainerStatus,
        cgroup: &str,
        dir: &std::path::Path,
    ) -> Option<Self> {
        let running = status.state.running.as_ref()?;
        let id = status.container_id.as_deref()?;
        let id = id.split_once("://").map_or(id, |(_, id)| id);
        let spec = pod.spec.all_containers().find(|c| c.name == status.name)?;
        let instance = format!("{}.{}", status.name, status.restart_count);
        Some(Self {
            name: status.name.clone(),
            id: id.to_owned(),
            image: status.image.clone(),
            cgroup: format!("{cgroup}/{id}"),
            layer: dir.join("containers").join(instance).join("upper"),
            started: running.started_at.0,
            resources: spec.resources.clone(),
        })
    }
}
