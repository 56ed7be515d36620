//! What the containers of a Pod share on disk: volumes, and the files that tell them where they are.

use std::io;
use std::path::PathBuf;

use anyhow::Context;
use carob_bundles::spec;
use carob_core::config;
use carob_core::pod::{FileVolume, Medium, Volume, VolumeMount, VolumeSource};

use super::Executor;
use super::sandbox::Sandbox;
use crate::network::etc::EtcFiles;
use crate::network::{hosts, resolv};
use crate::volume::VolumeError;

/// The volume behind every container's `/dev/shm`; no volume of a manifest has such a name.
const SHM: &str = "_shm";
/// Its size, as containerd makes it (`internal/cri/server/sandbox_run_linux.go`). Bytes.
const SHM_SIZE: u64 = 64 << 20;

impl Executor {
    /// Directory of `/etc/hosts` and its like.
    pub(super) fn etc_dir(&self) -> PathBuf {
        self.pod_dir().join("etc")
    }

    /// The Pod's host name, which its containers see.
    pub(super) fn hostname(&self) -> String {
        if self.pod.spec.host_network {
            return self.engine.machine.node_name.clone();
        }
        let name = &self.pod.metadata.name;
        hosts::pod_hostname(name, self.pod.spec.hostname.as_deref())
            .unwrap_or_else(|_| name.clone())
    }

    pub(super) fn write_etc(&self, sandbox: &Sandbox) -> anyhow::Result<()> {
        let spec = &self.pod.spec;
        let hostname = self.hostname();
        let hosts = if spec.host_network {
            hosts::host_network(&read_or_empty("/etc/hosts")?, &spec.host_aliases)?
        } else {
            let domain = spec
                .subdomain
                .as_ref()
                .map(|sub| format!("{sub}.{}.svc.cluster.local", self.pod.metadata.namespace));
            hosts::pod(
                &sandbox.ips,
                &hostname,
                domain.as_deref(),
                &spec.host_aliases,
            )?
        };
        let (resolv_conf, left_out) =
            resolv::pod(spec.dns_policy, &spec.dns_config, &resolv::host()?)?;
        for sentence in left_out {
            tracing::warn!(pod = self.pod.metadata.name, "{sentence}");
        }
        let files = EtcFiles {
            hosts,
            hostname: hosts::hostname_file(&hostname)?,
            resolv_conf,
        };
        files.write(&self.etc_dir())?;
        Ok(())
    }
}

fn read_or_empty(path: &str) -> anyhow::Result<String> {
    match std::fs::read_to_string(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other.with_context(|| format!("cannot read {path}")),
    }
}

impl Executor {
    /// Makes the Pod's volumes, `/dev/shm` among them.
    pub(super) fn set_up_volumes(&self) -> Result<(), VolumeError> {
        let limit = self.memory_limit();
        let mut volumes = self.pod.spec.volumes.clone();
        for volume in &mut volumes {
            if let VolumeSource::EmptyDir {
                medium: Medium::Memory,
                size_limit,
            } = &mut volume.source
            {
                *size_limit = [*size_limit, limit].into_iter().flatten().min();
            }
        }
        volumes.extend(self.own_shm());
        let group = self.pod.spec.security.fs_group;
        self.engine.volumes.setup(self.uid(), &volumes, group)?;
        volumes.iter().try_for_each(|volume| self.refresh(volume))
    }

    /// Brings the files of volumes that there are up to date.
    pub fn refresh_volumes(&self) {
        for volume in &self.pod.spec.volumes {
            if let Err(error) = self.refresh(volume) {
                let pod = &self.pod.metadata.name;
                tracing::warn!(%error, pod, "a volume stays as it was");
            }
        }
    }

    fn refresh(&self, volume: &Volume) -> Result<(), VolumeError> {
        let payload = |volume: &FileVolume| {
            let objects = self.engine.objects.all();
            // No file may ask for an address, which nobody knows yet.
            config::payload(&self.pod, volume, &objects, &self.facts(&[]))
        };
        let group = self.pod.spec.security.fs_group;
        let volumes = &self.engine.volumes;
        volumes.refresh(self.uid(), volume, group, &payload)
    }

    /// True for a volume whose files are ours: nobody else writes them (`GetAttributes` of its plugins).
    pub(super) fn is_written_here(&self, volume: &str) -> bool {
        let mut volumes = self.pod.spec.volumes.iter();
        volumes.any(|v| v.name == volume && matches!(v.source, VolumeSource::Files(_)))
    }

    /// The source of a container's `/dev/shm`: one for all containers, as they share the IPC namespace.
    pub(super) fn shm(&self) -> Result<PathBuf, VolumeError> {
        match self.own_shm() {
            Some(volume) => self
                .engine
                .volumes
                .mount_source(self.uid(), SHM, 0, &volume, None),
            None => Ok(PathBuf::from("/dev/shm")),
        }
    }

    /// Bytes that all containers of the Pod may use together, when every one has a limit: what a volume in
    /// memory can't exceed (kubelet, `pkg/volume/emptydir/empty_dir.go`).
    fn memory_limit(&self) -> Option<u64> {
        let resources = spec::pod_resources(&self.pod, &self.engine.machine.kernel);
        let limit = resources
            .memory()
            .as_ref()
            .and_then(|memory| memory.limit());
        limit.and_then(|bytes| u64::try_from(bytes).ok())
    }

    fn own_shm(&self) -> Option<Volume> {
        (!self.pod.spec.host_ipc).then(|| Volume {
            name: SHM.to_owned(),
            source: VolumeSource::EmptyDir {
                medium: Medium::Memory,
                size_limit: Some(SHM_SIZE),
            },
        })
    }

    /// The path that a container mounts for its `index`th volume mount.
    pub(super) fn volume_source(
        &self,
        container: &str,
        index: usize,
        mount: &VolumeMount,
        sub_path: Option<&str>,
    ) -> anyhow::Result<PathBuf> {
        let volume = self.pod.spec.volumes.iter().find(|v| v.name == mount.name);
        let volume = volume.with_context(|| format!("the Pod has no volume {:?}", mount.name))?;
        Ok(self
            .engine
            .volumes
            .mount_source(self.uid(), container, index, volume, sub_path)?)
    }
}
