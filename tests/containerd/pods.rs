//! Kubernetes' CRI, as a kubelet speaks it with containerd.

use std::collections::HashMap;
use std::time::Duration;

use carob_tests::PATIENCE;
use containerd_client::tonic::transport::Channel;
use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use k8s_cri::v1::security_profile::ProfileType;
use k8s_cri::v1::*;
use tokio::time::{Instant, sleep};

use crate::client::{Answer, answer};
use crate::daemon::{BUSYBOX, Containerd};

/// A kubelet's view of containerd, with one Pod.
pub struct Kubelet {
    pub runtime: RuntimeServiceClient<Channel>,
    pod: PodSandboxConfig,
    /// The sandbox's ID.
    pub sandbox: String,
}

impl Kubelet {
    /// Connects, and runs a Pod's sandbox.
    pub async fn new(daemon: &Containerd) -> Self {
        let channel = containerd_client::connect(daemon.socket()).await.unwrap();
        let mut images = ImageServiceClient::new(channel.clone());
        // The plugin hears of images in the background.
        for image in ["docker.io/library/pause:1", BUSYBOX] {
            let deadline = Instant::now() + PATIENCE;
            let request = || ImageStatusRequest {
                image: Some(spec(image)),
                verbose: false,
            };
            while answer(images.image_status(request()))
                .await
                .unwrap()
                .image
                .is_none()
            {
                assert!(Instant::now() < deadline, "{image} is not there");
                sleep(Duration::from_millis(5)).await;
            }
        }
        let metadata = PodSandboxMetadata {
            name: "pod".to_owned(),
            uid: "uid".to_owned(),
            namespace: "default".to_owned(),
            attempt: 0,
        };
        let linux = LinuxPodSandboxConfig {
            cgroup_parent: format!("/{}/pod", daemon.namespace()),
            security_context: Some(LinuxSandboxSecurityContext {
                seccomp: Some(runtime_default()),
                ..LinuxSandboxSecurityContext::default()
            }),
            ..LinuxPodSandboxConfig::default()
        };
        let logs = daemon.path().join("logs");
        let pod = PodSandboxConfig {
            metadata: Some(metadata),
            hostname: "pod".to_owned(),
            log_directory: logs.display().to_string(),
            linux: Some(linux),
            ..PodSandboxConfig::default()
        };
        let mut runtime = RuntimeServiceClient::new(channel);
        let request = RunPodSandboxRequest {
            config: Some(pod.clone()),
            runtime_handler: "carob".to_owned(),
        };
        let ran = answer(runtime.run_pod_sandbox(request)).await.unwrap();
        Self {
            runtime,
            pod,
            sandbox: ran.pod_sandbox_id,
        }
    }

    /// A container's configuration as a kubelet would send it.
    pub fn config(&self, name: &str, command: &[&str]) -> ContainerConfig {
        let security = LinuxContainerSecurityContext {
            capabilities: Some(Capability {
                add_capabilities: vec!["NET_ADMIN".to_owned()],
                drop_capabilities: vec!["MKNOD".to_owned()],
                ..Capability::default()
            }),
            namespace_options: Some(NamespaceOption {
                pid: NamespaceMode::Container.into(),
                ..NamespaceOption::default()
            }),
            run_as_user: Some(Int64Value { value: 0 }),
            no_new_privs: true,
            masked_paths: ["/proc/kcore", "/proc/keys", "/sys/firmware"]
                .map(str::to_owned)
                .into(),
            readonly_paths: ["/proc/sys", "/proc/irq"].map(str::to_owned).into(),
            seccomp: Some(runtime_default()),
            ..LinuxContainerSecurityContext::default()
        };
        let resources = LinuxContainerResources {
            cpu_period: 100_000,
            cpu_shares: 102,
            memory_limit_in_bytes: 64 << 20,
            oom_score_adj: 999,
            ..LinuxContainerResources::default()
        };
        ContainerConfig {
            metadata: Some(ContainerMetadata {
                name: name.to_owned(),
                attempt: 0,
            }),
            image: Some(spec(BUSYBOX)),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            log_path: format!("{name}.log"),
            labels: HashMap::from([("io.kubernetes.container.name".to_owned(), name.to_owned())]),
            linux: Some(LinuxContainerConfig {
                resources: Some(resources),
                security_context: Some(security),
            }),
            ..ContainerConfig::default()
        }
    }

    /// Makes a container and starts it. Returns its ID.
    pub async fn run(&mut self, config: ContainerConfig) -> String {
        let request = CreateContainerRequest {
            pod_sandbox_id: self.sandbox.clone(),
            config: Some(config),
            sandbox_config: Some(self.pod.clone()),
        };
        let created = answer(self.runtime.create_container(request))
            .await
            .unwrap();
        let request = StartContainerRequest {
            container_id: created.container_id.clone(),
        };
        answer(self.runtime.start_container(request)).await.unwrap();
        created.container_id
    }

    /// Executes a command: its output, errors and exit code.
    pub async fn exec(&mut self, id: &str, command: &[&str]) -> Answer<(String, String, i32)> {
        let request = ExecSyncRequest {
            container_id: id.to_owned(),
            cmd: command.iter().map(|&word| word.to_owned()).collect(),
            timeout: 60,
        };
        let ran = answer(self.runtime.exec_sync(request)).await?;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ok((text(ran.stdout), text(ran.stderr), ran.exit_code))
    }

    /// A container's status.
    pub async fn status(&mut self, id: &str) -> ContainerStatus {
        let request = ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose: false,
        };
        let status = answer(self.runtime.container_status(request)).await;
        status.unwrap().status.unwrap()
    }

    /// Waits until a container has exited, and returns its status.
    pub async fn exited(&mut self, id: &str) -> ContainerStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status(id).await;
            if status.state() == ContainerState::ContainerExited {
                return status;
            }
            assert!(Instant::now() < deadline, "{id} goes on");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops a container, by force after so many seconds.
    pub async fn stop(&mut self, id: &str, timeout: i64) {
        let request = StopContainerRequest {
            container_id: id.to_owned(),
            timeout,
        };
        answer(self.runtime.stop_container(request)).await.unwrap();
    }

    /// Removes a container that has ended.
    pub async fn remove(&mut self, id: &str) {
        let request = RemoveContainerRequest {
            container_id: id.to_owned(),
        };
        answer(self.runtime.remove_container(request))
            .await
            .unwrap();
    }

    /// Stops and removes the Pod, with all its containers.
    pub async fn end(mut self) {
        let request = StopPodSandboxRequest {
            pod_sandbox_id: self.sandbox.clone(),
        };
        answer(self.runtime.stop_pod_sandbox(request))
            .await
            .unwrap();
        let request = RemovePodSandboxRequest {
            pod_sandbox_id: self.sandbox.clone(),
        };
        answer(self.runtime.remove_pod_sandbox(request))
            .await
            .unwrap();
    }
}

fn spec(image: &str) -> ImageSpec {
    ImageSpec {
        image: image.to_owned(),
        ..ImageSpec::default()
    }
}

fn runtime_default() -> SecurityProfile {
    SecurityProfile {
        profile_type: ProfileType::RuntimeDefault.into(),
        ..SecurityProfile::default()
    }
}
