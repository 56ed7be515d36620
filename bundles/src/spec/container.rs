//! The `config.json` of an app, init or sidecar container, as kubelet and containerd's CRI make it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use carob_core::pod::{Container, Pod};
use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceType, Process, Root, Spec, User};

use super::annotations::{self, Type};
use super::mounts::{PodFiles, VolumeBind};
use super::user::{self, ImageUser, Wanted};
use super::{Machine, SpecError};
use super::{capabilities, devices, mounts, oom, process, resources, seccomp};
use crate::image::config::ImageConfig;
use crate::image::users::Users;

/// All that a container's `config.json` is made of.
#[derive(Debug, Clone, Copy)]
pub struct ContainerInput<'a> {
    /// The Pod.
    pub pod: &'a Pod,
    /// One of its containers.
    pub container: &'a Container,
    /// What the container's image says; its labels are not looked at.
    pub image: &'a ImageConfig,
    /// The image's name, for the annotation.
    pub image_name: &'a str,
    /// The image's users and groups.
    pub users: &'a Users,
    /// The container's `command`, `$(VAR)` expanded.
    pub command: &'a [String],
    /// The container's `args`, `$(VAR)` expanded.
    pub args: &'a [String],
    /// The container's `env`, values found and expanded, in order.
    pub env: &'a [(String, String)],
    /// The host name that the container sees.
    pub hostname: &'a str,
    /// ID of the Pod's sandbox.
    pub sandbox_id: &'a str,
    /// Process ID of the sandbox's pause program, whose namespaces the container joins.
    pub sandbox_pid: u32,
    /// The container's cgroup, absolute from the root of each hierarchy.
    pub cgroups_path: &'a Path,
    /// The files that the Pod's containers share.
    pub files: PodFiles<'a>,
    /// Where the container's last words go; an empty file of its own.
    pub termination_log: Option<&'a Path>,
    /// The container's volume mounts and the directories for its image's volumes.
    pub mounts: &'a [VolumeBind],
    /// The directory of `Localhost` seccomp profiles.
    pub seccomp_root: &'a Path,
    /// Containers without a seccomp profile get the default one (kubelet's `--seccomp-default`).
    pub seccomp_default: bool,
    /// The most processes that the container may have at once.
    pub pids_limit: Option<i64>,
    /// The machine.
    pub machine: &'a Machine,
}

/// Makes the `config.json` of a container. Its root is `rootfs` in the bundle.
///
/// Reads the profile of `seccompProfile: Localhost` and, for privileged containers, the machine's `/dev`;
/// all else comes from `input`.
///
/// # Errors
///
/// When Pod, image and machine do not go together; see [`SpecError`].
pub fn container(input: &ContainerInput) -> Result<Spec, SpecError> {
    let (container, security) = (input.container, &input.container.security);
    let identity = identity(input)?;
    let bounding = capabilities::bounding(security, &container.name, input.machine)?;
    let (mounts, propagation) = mounts::all(input)?;
    let (masked, read_only) = mounts::protected_paths(input);

    let mut resources = resources::of_container(container, input.machine, input.pids_limit);
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(input)))
        .set_cgroups_path(Some(input.cgroups_path.to_owned()))
        .set_rootfs_propagation(propagation)
        .set_masked_paths(none_if_empty(masked))
        .set_readonly_paths(none_if_empty(read_only))
        .set_seccomp(seccomp::of_container(input, &bounding)?);
    if security.privileged {
        let dev = Path::new("/dev");
        let found = devices::below(dev).map_err(|(path, source)| SpecError::Devices {
            container: container.name.clone(),
            path,
            source,
        })?;
        linux.set_devices(Some(found));
        resources.set_devices(Some(devices::everything()));
    } else {
        resources.set_devices(Some(devices::standard_rules()));
    }
    linux.set_resources(Some(resources));

    let mut user = User::default();
    user.set_uid(identity.uid)
        .set_gid(identity.gid)
        .set_additional_gids(Some(identity.groups));
    let mut process = Process::default();
    process
        .set_terminal(container.tty.then_some(true))
        .set_user(user)
        .set_args(Some(process::args(input)?))
        .set_env(Some(process::env(input, &identity.home)?))
        .set_cwd(process::cwd(input)?.into())
        .set_capabilities(Some(capabilities::process_sets(bounding)))
        .set_rlimits(None)
        .set_no_new_privileges(no_new_privileges(security.allow_privilege_escalation))
        .set_oom_score_adj(Some(oom::oom_score_adj(
            input.pod,
            container,
            input.machine.memory_capacity,
        )));

    let mut root = Root::default();
    root.set_path("rootfs".into())
        .set_readonly(Some(security.read_only_root_filesystem));
    let mut annotations = annotations::of(&input.pod.metadata, input.sandbox_id, Type::Container);
    annotations.extend([
        (
            annotations::CONTAINER_NAME.to_owned(),
            container.name.clone(),
        ),
        (
            annotations::IMAGE_NAME.to_owned(),
            input.image_name.to_owned(),
        ),
    ]);
    Ok(assemble(root, process, mounts, linux, annotations, None))
}

/// Puts the parts together; of the library's defaults nothing is left.
pub(super) fn assemble(
    root: Root,
    process: Process,
    mounts: Vec<oci_spec::runtime::Mount>,
    linux: Linux,
    annotations: HashMap<String, String>,
    hostname: Option<String>,
) -> Spec {
    let mut spec = Spec::default();
    spec.set_version("1.0.2".to_owned())
        .set_root(Some(root))
        .set_process(Some(process))
        .set_hostname(hostname)
        .set_mounts(Some(mounts))
        .set_linux(Some(linux))
        .set_annotations(Some(annotations));
    spec
}

/// Absent instead of `false`: runtimes tell the two apart only by mistake.
pub(super) fn no_new_privileges(allow_escalation: Option<bool>) -> Option<bool> {
    (allow_escalation == Some(false)).then_some(true)
}

fn none_if_empty(list: Vec<String>) -> Option<Vec<String>> {
    (!list.is_empty()).then_some(list)
}

/// The namespaces of the Pod by way of its pause program; its own for mounts, for processes unless the Pod
/// shares them, and for cgroups on version 2 (on version 1 containers see their cgroups mounted as their
/// root, and privileged ones are to see all).
fn namespaces(input: &ContainerInput) -> Vec<LinuxNamespace> {
    let spec = &input.pod.spec;
    let of_sandbox = |name| {
        Some(PathBuf::from(format!(
            "/proc/{}/ns/{name}",
            input.sandbox_pid
        )))
    };
    let mut all = vec![namespace(LinuxNamespaceType::Mount, None)];
    if !spec.host_network {
        all.push(namespace(LinuxNamespaceType::Network, of_sandbox("net")));
        all.push(namespace(LinuxNamespaceType::Uts, of_sandbox("uts")));
    }
    if !spec.host_ipc {
        all.push(namespace(LinuxNamespaceType::Ipc, of_sandbox("ipc")));
    }
    if !spec.host_pid {
        let shared = spec
            .share_process_namespace
            .then(|| of_sandbox("pid"))
            .flatten();
        all.push(namespace(LinuxNamespaceType::Pid, shared));
    }
    if input.machine.cgroup_v2 && !input.container.security.privileged {
        all.push(namespace(LinuxNamespaceType::Cgroup, None));
    }
    all
}

pub(super) fn namespace(kind: LinuxNamespaceType, path: Option<PathBuf>) -> LinuxNamespace {
    let mut namespace = LinuxNamespace::default();
    namespace.set_typ(kind).set_path(path);
    namespace
}

/// Who the container runs as, after kubelet's check of `runAsNonRoot`.
fn identity(input: &ContainerInput) -> Result<user::Identity, SpecError> {
    let (of_pod, own) = (&input.pod.spec.security, &input.container.security);
    let wanted = Wanted {
        user: own.run_as_user.or(of_pod.run_as_user),
        group: own.run_as_group.or(of_pod.run_as_group),
        fs_group: of_pod.fs_group,
        supplemental_groups: &of_pod.supplemental_groups,
        strict: of_pod.supplemental_groups_strict,
    };
    let failed = |source| SpecError::User {
        container: input.container.name.clone(),
        source,
    };
    if own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true) {
        let broken = match wanted.user {
            Some(0) => Some("container's runAsUser breaks non-root policy".to_owned()),
            Some(_) => None,
            None => match ImageUser::parse(&input.image.user)
                .map_err(failed)?
                .uid_or_name()
            {
                Ok(0) => Some("container has runAsNonRoot and image will run as root".to_owned()),
                Ok(_) => None,
                Err(name) => Some(format!(
                    "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root"
                )),
            },
        };
        if let Some(message) = broken {
            let pod = &input.pod.metadata;
            return Err(SpecError::NonRoot {
                message,
                pod: format!("{}_{}({})", pod.name, pod.namespace, pod.uid),
                container: input.container.name.clone(),
            });
        }
    }
    user::resolve(&wanted, &input.image.user, input.users).map_err(failed)
}

#[cfg(test)]
mod tests;
