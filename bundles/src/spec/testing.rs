//! A Pod, an image and a machine for the tests of this module.

use std::path::Path;

use carob_core::pod::{Container, Metadata, Pod, PodSpec, ResourceList, Security};

use super::capabilities::BY_NUMBER;
use super::container::ContainerInput;
use super::mounts::{PodFiles, VolumeBind};
use super::{Machine, SpecError};
use crate::image::config::ImageConfig;
use crate::image::users::Users;

/// A Pod `web` of one container `main` that asks for nothing.
pub fn pod() -> Pod {
    Pod {
        metadata: Metadata::new("web", "6f1c"),
        spec: PodSpec::new(vec![Container::new("main", "registry.example/app:1")]),
    }
}

/// Sets a resource; an empty amount leaves it out.
pub fn resource(list: &mut ResourceList, name: &str, amount: &str) {
    if !amount.is_empty() {
        list.insert(name.into(), amount.parse().unwrap());
    }
}

/// Everything that a container's `config.json` is made of, to be changed field by field.
pub struct World {
    pub pod: Pod,
    pub image: ImageConfig,
    pub users: Users,
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub mounts: Vec<VolumeBind>,
    pub machine: Machine,
    pub seccomp_default: bool,
    pub seccomp_root: std::path::PathBuf,
}

impl World {
    pub fn new() -> Self {
        Self {
            pod: pod(),
            image: ImageConfig {
                entrypoint: vec!["/bin/app".into()],
                ..ImageConfig::default()
            },
            users: Users::parse(
                b"root:x:0:0::/root:/bin/sh\nweb:x:33:33::/var/www:\n",
                b"log:x:4:web\n",
            ),
            command: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            mounts: Vec::new(),
            machine: machine(),
            seccomp_default: false,
            seccomp_root: "/nonexistent".into(),
        }
    }

    pub fn container(&mut self) -> &mut Container {
        &mut self.pod.spec.containers[0]
    }

    pub fn security(&mut self) -> &mut Security {
        &mut self.container().security
    }

    pub fn with<T>(&self, ask: impl FnOnce(&ContainerInput) -> T) -> T {
        ask(&ContainerInput {
            pod: &self.pod,
            container: &self.pod.spec.containers[0],
            image: &self.image,
            image_name: "registry.example/app:1",
            users: &self.users,
            command: &self.command,
            args: &self.args,
            env: &self.env,
            hostname: "web",
            sandbox_id: "5andb0x",
            sandbox_pid: 4711,
            cgroups_path: Path::new("/carob/0123/pod6f1c/c0ffee"),
            files: PodFiles {
                hosts: Some(Path::new("/pods/6f1c/hosts")),
                hostname: Some(Path::new("/pods/6f1c/hostname")),
                resolv_conf: Some(Path::new("/pods/6f1c/resolv.conf")),
                shm: Some(Path::new("/pods/6f1c/shm")),
            },
            termination_log: Some(Path::new("/pods/6f1c/main/termination-log")),
            mounts: &self.mounts,
            seccomp_root: &self.seccomp_root,
            seccomp_default: self.seccomp_default,
            pids_limit: None,
            machine: &self.machine,
        })
    }

    pub fn spec(&self) -> Result<oci_spec::runtime::Spec, SpecError> {
        self.with(super::container)
    }

    /// The same as JSON, which is what a runtime reads.
    pub fn json(&self) -> serde_json::Value {
        serde_json::to_value(self.spec().unwrap()).unwrap()
    }

    pub fn error(&self) -> String {
        self.spec().unwrap_err().to_string()
    }
}

/// A machine of 10 GiB that has everything.
pub fn machine() -> Machine {
    Machine {
        memory_capacity: 10 << 30,
        cgroup_v2: true,
        swap_accounting: true,
        hugepage_sizes: vec![2 << 20, 1 << 30],
        kernel: (6, 1),
        capabilities: BY_NUMBER.into_iter().collect(),
        thermal_throttle: Vec::new(),
    }
}
