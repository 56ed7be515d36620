//! The `config.json` and root file system of a container that runs from an image.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;

use carob_bundles::image::overlay::Image;
use carob_bundles::spec::{self, ContainerInput, PodFiles, VolumeBind};
use carob_core::env::{Environment, Facts};
use carob_core::pod::Container;
use oci_spec::runtime::Spec;

use super::container::{CreateError, private_dir};
use super::sandbox::Sandbox;
use super::{Executor, Instance};
use crate::runtime::Rootfs;

impl Executor {
    /// The configuration of an instance, and the mounts that make its root file system.
    pub(super) async fn image_config(
        &self,
        id: &str,
        instance: &Instance,
        sandbox: &Sandbox,
        image_volumes: Vec<VolumeBind>,
    ) -> Result<(Spec, Rootfs), CreateError> {
        let container = self
            .container(&instance.name)
            .ok_or_else(|| CreateError::config("the Pod has no such container"))?;
        let image = self.image(instance)?;
        let environment = {
            let (facts, objects) = (self.facts(&sandbox.ips), self.engine.objects.all());
            Environment::of(&self.pod, container, &facts, &objects).map_err(CreateError::config)?
        };
        let dir = self.container_dir(instance);
        let files = |e: io::Error| CreateError::create(format!("cannot prepare {dir:?}: {e}"));
        private_dir(&dir).map_err(files)?;
        let termination_log = self.make_termination_log(instance).map_err(files)?;
        let mut mounts = self.volume_binds(container, &environment)?;
        mounts.extend(image_volumes);
        let variables: Vec<_> = environment
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let etc = self.etc_dir();
        let shm = self.shm().map_err(CreateError::create)?;
        let command = environment
            .expand(&container.command)
            .map_err(CreateError::config)?;
        let args = environment
            .expand(&container.args)
            .map_err(CreateError::config)?;
        let hostname = self.hostname();
        let cgroup = self.container_cgroup(instance);
        let seccomp_root = self.engine.dirs.root.join("seccomp");
        let hosts = etc.join("hosts");
        let resolv_conf = etc.join("resolv.conf");
        let hostname_file = etc.join("hostname");
        let input = ContainerInput {
            pod: &self.pod,
            container,
            image: &image.config,
            image_name: &container.image,
            users: &image.users,
            command: &command,
            args: &args,
            env: &variables,
            hostname: &hostname,
            sandbox_id: &sandbox.id,
            sandbox_pid: sandbox.pid.unsigned_abs(),
            cgroups_path: Path::new(&cgroup),
            files: PodFiles {
                hosts: Some(&hosts),
                hostname: Some(&hostname_file),
                resolv_conf: Some(&resolv_conf),
                shm: Some(&shm),
            },
            termination_log: Some(&termination_log),
            mounts: &mounts,
            seccomp_root: &seccomp_root,
            seccomp_default: false,
            pids_limit: None,
            machine: &self.engine.machine.kernel,
        };
        let spec = spec::container(&input).map_err(|e| CreateError::spec(&e))?;
        let owner = self.owner();
        let rootfs = self.engine.images.rootfs(&image, id, &dir, &owner).await;
        let rootfs = rootfs.map_err(CreateError::create)?;
        Ok((spec, rootfs))
    }

    /// The image of an instance.
    pub(super) fn image(&self, instance: &Instance) -> Result<Rc<Image>, CreateError> {
        let image = self.live.borrow().images.get(&instance.name).cloned();
        image.ok_or_else(|| CreateError::create("its image is not ready"))
    }

    /// What may be asked of the Pod and the machine, of a Pod with these addresses.
    pub(super) fn facts(&self, pod_ips: &[IpAddr]) -> Facts {
        let machine = &self.engine.machine;
        Facts {
            node_name: machine.node_name.clone(),
            host_ips: vec![machine.host_ip],
            pod_ips: pod_ips.to_owned(),
            node: machine.capacity(),
        }
    }

    /// What the container mounts of the Pod's volumes, each source safe to be followed by name.
    fn volume_binds(
        &self,
        container: &Container,
        environment: &Environment,
    ) -> Result<Vec<VolumeBind>, CreateError> {
        let mut binds = Vec::new();
        for (index, mount) in container.volume_mounts.iter().enumerate() {
            let sub_path = match &mount.sub_path_expr {
                Some(expression) => Some(
                    environment
                        .sub_path(expression)
                        .map_err(CreateError::config)?,
                ),
                None => mount.sub_path.clone(),
            };
            let source = self
                .volume_source(&container.name, index, mount, sub_path.as_deref())
                .map_err(CreateError::config)?;
            binds.push(VolumeBind {
                source,
                destination: mount.mount_path.clone(),
                read_only: mount.read_only || self.is_written_here(&mount.name),
                recursive_read_only: false,
                propagation: mount.propagation,
            });
        }
        Ok(binds)
    }

    /// The container's cgroup, from the root of each hierarchy.
    pub(super) fn container_cgroup(&self, instance: &Instance) -> String {
        format!(
            "{}/{}",
            self.engine.dirs.pod_cgroup(self.uid()),
            self.id(&instance.name, instance.attempt)
        )
    }
}
