//! Containers and init containers.

use std::collections::BTreeSet;

use super::env_vars::{all_of, variable};
use super::field::Field;
use super::findings::Unique;
use super::lifecycle::{Limits, lifecycle};
use super::mounts::{Mountable, mounts};
use super::names::{Check, dns_label};
use super::network::ports;
use super::object::Object;
use super::probe::probe;
use super::resources::resources;
use super::restart::own_restart;
use super::security::security;
use super::spec::names;
use super::unhonoured::{CONTAINER, NONE};
use super::volume::{absolute, normalised};
use crate::action::ProbeKind;
use crate::pod::{
    Container, ImagePullPolicy, Lifecycle, Probe, RestartPolicy, TerminationMessagePolicy,
};

/// What a container is checked against.
pub(super) struct Surroundings<'a> {
    pub host_network: bool,
    /// The Pod's grace period in seconds.
    pub grace: u64,
    /// Whether the Pod names its operating system.
    pub os: bool,
    /// The names of the Pod's volumes.
    pub volumes: BTreeSet<&'a str>,
    /// The names of all containers.
    pub containers: BTreeSet<&'a str>,
    /// Container names met so far.
    pub names: Unique,
    /// Ports of the machine met so far.
    pub host_ports: Unique,
}

/// One container; `init` when it stands in `initContainers`.
pub(super) fn container(
    field: &Field<'_>,
    init: bool,
    around: &mut Surroundings<'_>,
) -> Option<Container> {
    field.object(CONTAINER, |o| {
        let name = o.require("name").and_then(|field| {
            let name = field.checked(dns_label)?;
            around.names.check(&field, name);
            Some(name.to_owned())
        });
        let image = o
            .require("image")
            .and_then(|f| f.checked(image).map(str::to_owned));
        let pull = o.text("imagePullPolicy").and_then(|f| {
            f.choice(&[
                ("Always", ImagePullPolicy::Always),
                ("IfNotPresent", ImagePullPolicy::IfNotPresent),
                ("Never", ImagePullPolicy::Never),
            ])
        });
        let (own_policy, restart_rules) = own_restart(o);
        let sidecar = init && own_policy == Some(RestartPolicy::Always);
        let names: BTreeSet<&str> = names(field.node(), "ports").collect();
        let limits = Limits {
            ports: &names,
            grace: around.grace,
            os: around.os,
        };
        let ([startup_probe, liveness_probe, readiness_probe], lifecycle) =
            asked(o, init && !sidecar, &limits);
        resize_policy(o);
        let security = o
            .get("securityContext")
            .map(|f| security(&f))
            .unwrap_or_default();
        let mountable = Mountable {
            volumes: &around.volumes,
            privileged: security.privileged,
        };
        let env = o.list("env");
        let env_from = o.list("envFrom");
        let policy = o.text("terminationMessagePolicy").and_then(|f| {
            f.choice(&[
                ("File", TerminationMessagePolicy::File),
                (
                    "FallbackToLogsOnError",
                    TerminationMessagePolicy::FallbackToLogsOnError,
                ),
            ])
        });
        let message_path = o
            .text("terminationMessagePath")
            .and_then(|f| f.checked(message_path));
        Container {
            image_pull_policy: pull
                .unwrap_or_else(|| ImagePullPolicy::default_for(image.as_deref().unwrap_or(""))),
            name: name.unwrap_or_default(),
            image: image.unwrap_or_default(),
            sidecar,
            restart_policy: own_policy.filter(|_| !sidecar),
            restart_rules,
            startup_probe,
            liveness_probe,
            readiness_probe,
            lifecycle,
            command: o.strings("command"),
            args: o.strings("args"),
            working_dir: o
                .text("workingDir")
                .and_then(|f| f.checked(working_dir).map(str::to_owned)),
            ports: ports(o, around.host_network, &mut around.host_ports),
            env_from: env_from.iter().filter_map(all_of).collect(),
            env: env
                .iter()
                .filter_map(|f| variable(f, &around.containers))
                .collect(),
            resources: o
                .get("resources")
                .map(|f| resources(&f))
                .unwrap_or_default(),
            volume_mounts: mounts(o, &mountable),
            security,
            termination_message_path: message_path
                .unwrap_or(Container::DEFAULT_TERMINATION_MESSAGE_PATH)
                .to_owned(),
            termination_message_policy: policy.unwrap_or_default(),
            stdin: o.bool("stdin").unwrap_or_default(),
            stdin_once: o.bool("stdinOnce").unwrap_or_default(),
            tty: o.bool("tty").unwrap_or_default(),
        }
    })
}

/// Only what no image reference can have; the rest is the image store's business.
fn image(text: &str) -> Check {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("must not have leading or trailing whitespace, nor any inside".into());
    }
    Ok(())
}

/// The probes and the lifecycle: an init container has none unless it is a sidecar.
fn asked(
    o: &mut Object<'_, '_>,
    bare: bool,
    limits: &Limits<'_>,
) -> ([Option<Probe>; 3], Lifecycle) {
    let forbidden = |f: &Field<'_>| {
        if bare {
            f.error_at_key("may not be set for init containers without restartPolicy=Always");
        }
        bare
    };
    let probes = [
        ("startupProbe", ProbeKind::Startup),
        ("livenessProbe", ProbeKind::Liveness),
        ("readinessProbe", ProbeKind::Readiness),
    ];
    let probes = probes.map(|(name, kind)| {
        let field = o.get(name).filter(|f| !forbidden(f))?;
        probe(&field, kind, limits.ports)
    });
    let lifecycle = o
        .get("lifecycle")
        .filter(|f| !forbidden(f))
        .map(|f| lifecycle(&f, limits))
        .unwrap_or_default();
    (probes, lifecycle)
}

/// Nothing is resized in place, so only the default is true.
fn resize_policy(o: &mut Object<'_, '_>) {
    for field in o.list("resizePolicy") {
        field.object(NONE, |o| {
            if let Some(name) = o.require("resourceName") {
                name.choice(&[("cpu", ()), ("memory", ())]);
            }
            let Some(policy) = o.require("restartPolicy") else {
                return;
            };
            if policy.choice(&[("NotRequired", true), ("RestartContainer", false)]) == Some(false) {
                policy.unsupported("it does not resize containers in place; remove resizePolicy");
            }
        });
    }
}

fn message_path(path: &str) -> Check {
    if path.contains(':') {
        return Err("must not contain ':'".into());
    }
    absolute(path)?;
    if normalised(path) == "/" {
        return Err("cannot be the container's root".into());
    }
    Ok(())
}

/// Absolute, and no way to a file descriptor (CVE-2024-21626).
fn working_dir(path: &str) -> Check {
    if !path.starts_with('/') {
        return Err("must be an absolute path".into());
    }
    let path = normalised(path);
    let parts: Vec<&str> = path.split('/').collect();
    if matches!(
        parts[1..],
        ["proc", .., "fd", _] | ["proc", .., "cwd" | "root"] | ["dev", "fd", ..]
    ) || (parts[1] == "proc" && parts.contains(&"fd"))
    {
        return Err("must not lead through a process's file descriptors".into());
    }
    Ok(())
}
