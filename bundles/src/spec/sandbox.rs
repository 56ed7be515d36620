//! The `config.json` of a Pod's sandbox: the pause program in new namespaces.

use std::path::Path;

use carob_core::pod::{Pod, PodSpec};
use oci_spec::runtime::{
    Capabilities, Linux, LinuxCpu, LinuxNamespaceType, LinuxResources, Process, Root, Spec, User,
};

use super::annotations::{self, Type};
use super::container::{assemble, namespace};
use super::{SpecError, capabilities, mounts, oom};
use crate::pause;

/// The pause program's user and group: nobody's, so that no container of the Pod that runs as another user
/// has power over it (the pause image of Kubernetes has the same).
const USER: u32 = 65535;

/// The least that a cgroup can have: the pause program sleeps (containerd, `DefaultSandboxCPUshares`).
const CPU_SHARES: u64 = 2;

/// All that a sandbox's `config.json` is made of.
#[derive(Debug, Clone, Copy)]
pub struct SandboxInput<'a> {
    /// The Pod.
    pub pod: &'a Pod,
    /// The sandbox's ID.
    pub id: &'a str,
    /// The Pod's host name; without effect in the machine's network, where the machine's is kept.
    pub hostname: &'a str,
    /// The pause program's root file system, from [`pause::install`]; absolute.
    pub rootfs: &'a Path,
    /// The sandbox's cgroup, absolute from the root of each hierarchy.
    pub cgroups_path: &'a Path,
}

/// Makes the `config.json` of a sandbox.
///
/// It has what the program needs and what runtimes need to start it, for each mount costs time and each
/// right is one too many: a `/dev` for the device nodes that runtimes make, a `/proc`; no capabilities, a
/// user without rights, no way to get more (`noNewPrivileges`), nothing writable. There is no seccomp
/// filter, since the program makes three system calls, takes no input and could do nothing with a fourth;
/// and no rules for devices, since it cannot make nodes and its `/dev` has only the standard ones.
///
/// # Errors
///
/// [`SpecError::Sysctl`] for a sysctl that is not of the Pod's own namespaces.
pub fn sandbox(input: &SandboxInput) -> Result<Spec, SpecError> {
    let spec = &input.pod.spec;
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(Some(CPU_SHARES));
    let mut resources = LinuxResources::default();
    resources.set_cpu(Some(cpu));

    let mut kinds = vec![LinuxNamespaceType::Mount];
    let own = [
        (LinuxNamespaceType::Pid, !spec.host_pid),
        (LinuxNamespaceType::Ipc, !spec.host_ipc),
        (LinuxNamespaceType::Uts, !spec.host_network),
        (LinuxNamespaceType::Network, !spec.host_network),
    ];
    kinds.extend(
        own.into_iter()
            .filter(|(_, own)| *own)
            .map(|(kind, _)| kind),
    );

    let mut sysctls = std::collections::HashMap::new();
    for sysctl in &spec.security.sysctls {
        let name = sysctl_name(&sysctl.name, &sysctl.value, spec)?;
        sysctls.insert(name, sysctl.value.clone());
    }
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(
            kinds
                .into_iter()
                .map(|kind| namespace(kind, None))
                .collect(),
        ))
        .set_cgroups_path(Some(input.cgroups_path.to_owned()))
        .set_resources(Some(resources))
        .set_sysctl((!sysctls.is_empty()).then_some(sysctls))
        .set_masked_paths(None)
        .set_readonly_paths(None);

    let mut user = User::default();
    user.set_uid(USER)
        .set_gid(USER)
        .set_additional_gids(Some(vec![USER]));
    let mut process = Process::default();
    process
        .set_terminal(None)
        .set_user(user)
        .set_args(Some(vec![pause::PATH.to_owned()]))
        // Runtimes look for programs with it even when the path is absolute.
        .set_env(Some(vec!["PATH=/".to_owned()]))
        .set_cwd("/".into())
        .set_capabilities(Some(capabilities::process_sets(Capabilities::new())))
        .set_rlimits(None)
        .set_no_new_privileges(Some(true))
        .set_oom_score_adj(Some(oom::SANDBOX));

    let mut root = Root::default();
    root.set_path(input.rootfs.to_owned())
        .set_readonly(Some(true));
    let mounts = vec![
        mounts::mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mounts::mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "noexec", "mode=755", "size=64k"],
        ),
    ];
    let annotations = annotations::of(&input.pod.metadata, input.id, Type::Sandbox);
    let hostname = (!spec.host_network).then(|| input.hostname.to_owned());
    Ok(assemble(
        root,
        process,
        mounts,
        linux,
        annotations,
        hostname,
    ))
}

/// The sysctl's name with dots, checked to be of a namespace that the Pod has for itself. Which sysctls are
/// safe there is the parser's to say; what could reach another file than the one it names is refused here
/// too.
fn sysctl_name(name: &str, value: &str, spec: &PodSpec) -> Result<String, SpecError> {
    let refuse = |reason| SpecError::Sysctl {
        name: name.to_owned(),
        reason,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if !name.chars().all(plain) || name.split(['.', '/']).any(str::is_empty) {
        return Err(refuse(
            "it is not words separated by dots; write it as sysctl(8) does",
        ));
    }
    if value.contains(['\n', '\0']) {
        return Err(refuse(
            "its value contains a line end or a NUL byte; remove it",
        ));
    }
    // As kubelet does: with slashes first, slashes separate and dots are part of a word.
    let dotted: String = match name.find(['.', '/']).map(|at| name.as_bytes()[at]) {
        Some(b'/') => {
            let swap = |c| match c {
                '/' => '.',
                '.' => '/',
                other => other,
            };
            name.chars().map(swap).collect()
        }
        _ => name.to_owned(),
    };
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| dotted.starts_with(prefix));
    if starts(&["net."]) {
        match spec.host_network {
            true => Err(refuse(
                "the Pod is in the machine's network (hostNetwork), where it would change the machine; remove one of the two",
            )),
            false => Ok(dotted),
        }
    } else if starts(&["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."]) {
        match spec.host_ipc {
            true => Err(refuse(
                "the Pod is in the machine's IPC namespace (hostIPC), where it would change the machine; remove one of the two",
            )),
            false => Ok(dotted),
        }
    } else {
        Err(refuse(
            "it is not of a namespace but of the whole machine; set it there",
        ))
    }
}

#[cfg(test)]
mod tests {
    use carob_core::pod::Sysctl;
    use serde_json::{Value, json};

    use super::*;
    use crate::spec::testing;

    fn spec(pod: &Pod) -> Result<Value, SpecError> {
        let spec = sandbox(&SandboxInput {
            pod,
            id: "5andb0x",
            hostname: "web",
            rootfs: Path::new("/var/lib/carob/pause/rootfs"),
            cgroups_path: Path::new("/carob/0123/pod6f1c/5andb0x"),
        })?;
        Ok(serde_json::to_value(spec).unwrap())
    }

    fn namespaces(pod: &Pod) -> Vec<String> {
        let json = spec(pod).unwrap();
        let all = json["linux"]["namespaces"].as_array().unwrap();
        assert!(all.iter().all(|n| n.get("path").is_none()));
        all.iter()
            .map(|n| n["type"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn has_no_more_than_it_needs() {
        let json = spec(&testing::pod()).unwrap();
        let expected = json!({
            "ociVersion": "1.0.2",
            "root": { "path": "/var/lib/carob/pause/rootfs", "readonly": true },
            "hostname": "web",
            "process": {
                "user": { "uid": 65535, "gid": 65535, "additionalGids": [65535] },
                "args": ["/pause"],
                "env": ["PATH=/"],
                "cwd": "/",
                "capabilities": {
                    "bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": [],
                },
                "noNewPrivileges": true,
                "oomScoreAdj": -998,
            },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc",
                  "options": ["nosuid", "noexec", "nodev"] },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                  "options": ["nosuid", "noexec", "mode=755", "size=64k"] },
            ],
            "annotations": {
                "io.kubernetes.cri.container-type": "sandbox",
                "io.kubernetes.cri.sandbox-id": "5andb0x",
                "io.kubernetes.cri.sandbox-name": "web",
                "io.kubernetes.cri.sandbox-namespace": "default",
                "io.kubernetes.cri.sandbox-uid": "6f1c",
            },
            "linux": {
                "cgroupsPath": "/carob/0123/pod6f1c/5andb0x",
                "resources": { "cpu": { "shares": 2 } },
                "namespaces": [
                    { "type": "mount" }, { "type": "pid" }, { "type": "ipc" }, { "type": "uts" },
                    { "type": "network" },
                ],
            },
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn leaves_out_the_namespaces_that_the_pod_shares_with_the_machine() {
        let mut pod = testing::pod();
        pod.spec.host_network = true;
        assert_eq!(namespaces(&pod), ["mount", "pid", "ipc"]);
        assert_eq!(spec(&pod).unwrap()["hostname"], Value::Null);
        pod.spec.host_ipc = true;
        pod.spec.host_pid = true;
        assert_eq!(namespaces(&pod), ["mount"]);
    }

    fn sysctls(pod: &mut Pod, name: &str, value: &str) -> Result<Value, String> {
        pod.spec.security.sysctls = vec![Sysctl {
            name: name.into(),
            value: value.into(),
        }];
        spec(pod)
            .map(|json| json["linux"]["sysctl"].clone())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn sysctls_belong_to_the_sandbox() {
        let mut pod = testing::pod();
        let name = "net.ipv4.ip_local_port_range";
        assert_eq!(sysctls(&mut pod, name, "1 2"), Ok(json!({ name: "1 2" })));
        assert_eq!(
            sysctls(&mut pod, "net/ipv4/conf/eth0.1/forwarding", "1"),
            Ok(json!({ "net.ipv4.conf.eth0/1.forwarding": "1" }))
        );
        assert!(sysctls(&mut pod, "kernel.shm_rmid_forced", "1").is_ok());
        pod.spec.host_network = true;
        assert!(
            sysctls(&mut pod, name, "1 2")
                .unwrap_err()
                .contains("hostNetwork")
        );
        pod.spec.host_ipc = true;
        assert!(
            sysctls(&mut pod, "fs.mqueue.msg_max", "1")
                .unwrap_err()
                .contains("hostIPC")
        );
    }

    #[test]
    fn c16_sysctls_that_reach_elsewhere_are_refused() {
        let mut pod = testing::pod();
        for name in [
            "kernel.core_pattern",
            "net..x",
            "net/../kernel/core_pattern",
            "net.a=b",
            "net.a+b",
            "net.a\nkernel.core_pattern",
            "/net/x",
            "",
            "vm.swappiness",
            "net.é",
        ] {
            assert!(sysctls(&mut pod, name, "1").is_err(), "{name:?}");
        }
        assert!(sysctls(&mut pod, "net.ipv4.tcp_syncookies", "1\n2").is_err());
    }
}
