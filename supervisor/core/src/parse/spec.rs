//! `spec`: what the Pod shall be.

use std::collections::BTreeSet;

use super::container::{Surroundings, container};
use super::field::Field;
use super::findings::Unique;
use super::names::{dns_label, dns_subdomain};
use super::network::{dns, host_alias};
use super::object::Object;
use super::restart::restart_policy;
use super::security::{HostNamespaces, pod_security};
use super::tree::{Node, Value};
use super::unhonoured::{NONE, POD_SPEC};
use super::volume::volume;
use crate::config::ObjectKind;
use crate::pod::{ObjectRef, PodSpec};

/// What the Pod shall be; what is missing or wrong has been reported.
pub(super) fn spec(field: &Field<'_>) -> Option<PodSpec> {
    field.object(POD_SPEC, |o| read(field.node(), o))
}

fn read(node: &Node, o: &mut Object<'_, '_>) -> PodSpec {
    let host_network = o.bool("hostNetwork").unwrap_or_default();
    let host_ipc = o.bool("hostIPC").unwrap_or_default();
    let (host_pid, share_process_namespace) = process_namespace(o);
    let os = unsupported_values(o);
    let grace = grace(o);

    let mut volume_names = Unique::default();
    let containers: BTreeSet<&str> = names(node, "initContainers")
        .chain(names(node, "containers"))
        .collect();
    let fields = o.list("volumes");
    let volumes = fields
        .iter()
        .filter_map(|f| volume(f, &mut volume_names, &containers));
    let volumes = volumes.collect();

    let mut around = Surroundings {
        host_network,
        grace,
        os,
        volumes: names(node, "volumes").collect(),
        containers,
        names: Unique::default(),
        host_ports: Unique::default(),
    };
    let init = o.list("initContainers");
    let init_containers = init
        .iter()
        .filter_map(|f| container(f, true, &mut around))
        .collect();
    let app = o.require("containers");
    let fields = app.as_ref().map(|f| f.items()).unwrap_or_default();
    if let Some(Value::List(items)) = app.as_ref().map(|f| &f.node().value)
        && items.is_empty()
    {
        o.missing("containers", "must have at least one container");
    }
    let containers = fields
        .iter()
        .filter_map(|f| container(f, false, &mut around))
        .collect();

    let (dns_policy, dns_config) = dns(o);
    let host = HostNamespaces {
        network: host_network,
        ipc: host_ipc,
    };
    PodSpec {
        init_containers,
        containers,
        image_pull_secrets: o
            .list("imagePullSecrets")
            .iter()
            .filter_map(pull_secret)
            .collect(),
        restart_policy: o
            .text("restartPolicy")
            .and_then(|f| restart_policy(&f))
            .unwrap_or_default(),
        priority: priority(o),
        termination_grace_period_seconds: grace,
        active_deadline_seconds: o
            .get("activeDeadlineSeconds")
            .and_then(|f| u64::try_from(f.integer(1..=i64::from(i32::MAX))?).ok()),
        volumes,
        host_network,
        host_pid,
        host_ipc,
        share_process_namespace,
        hostname: o
            .text("hostname")
            .and_then(|f| f.checked(dns_label).map(str::to_owned)),
        subdomain: o
            .text("subdomain")
            .and_then(|f| f.checked(dns_label).map(str::to_owned)),
        host_aliases: o
            .list("hostAliases")
            .iter()
            .filter_map(host_alias)
            .collect(),
        dns_policy,
        dns_config,
        security: o
            .get("securityContext")
            .map(|f| pod_security(&f, host))
            .unwrap_or_default(),
    }
}

/// The name of a Secret. The API server lets one pass that has none.
fn pull_secret(field: &Field<'_>) -> Option<ObjectRef> {
    field.object(NONE, |o| {
        let name = o.text("name");
        if name.is_none() {
            field.warn("it names no Secret");
        }
        Some(ObjectRef {
            kind: ObjectKind::Secret,
            name: name?.checked(dns_subdomain)?.to_owned(),
            // A kubelet pulls without it then.
            optional: true,
        })
    })?
}

fn process_namespace(o: &mut Object<'_, '_>) -> (bool, bool) {
    let host = o.bool("hostPID").unwrap_or_default();
    let share = o.get("shareProcessNamespace");
    let shared = share.as_ref().and_then(|f| f.bool()).unwrap_or_default();
    if let (true, true, Some(field)) = (host, shared, share) {
        field.error("ShareProcessNamespace and HostPID cannot both be enabled");
    }
    (host, shared)
}

/// Fields of which Carob honours one value only. Gives whether the Pod names its operating system.
fn unsupported_values(o: &mut Object<'_, '_>) -> bool {
    o.only(
        "hostUsers",
        true,
        "it has no user namespaces yet; remove the field",
    );
    o.only(
        "setHostnameAsFQDN",
        false,
        "the host name is the short one; remove the field",
    );
    let os = o.get("os");
    if let Some(os) = &os {
        os.object(NONE, |o| {
            let Some(name) = o.require("name") else {
                return;
            };
            if name.choice(&[("linux", true), ("windows", false)]) == Some(false) {
                name.unsupported("it runs Linux containers only");
            }
        });
    }
    os.is_some()
}

/// A machine alone has none but Kubernetes' own two classes (`SystemPriorityClasses`,
/// `pkg/apis/scheduling/v1/helpers.go`).
fn priority(o: &mut Object<'_, '_>) -> i32 {
    const SYSTEM: [(&str, i32); 2] = [
        ("system-node-critical", 2_000_001_000),
        ("system-cluster-critical", 2_000_000_000),
    ];
    let given = o.get("priority").and_then(|f| {
        let range = i64::from(i32::MIN)..=i64::from(i32::MAX);
        i32::try_from(f.integer(range)?).ok()
    });
    let class = o.text("priorityClassName").and_then(|f| {
        let name = f.string()?;
        let found = SYSTEM.iter().find(|(system, _)| *system == name);
        if found.is_none() {
            f.ignore("Carob has no PriorityClass objects; give the number in priority");
        }
        found.map(|(_, value)| *value)
    });
    given.or(class).unwrap_or(0)
}

/// A negative grace period is 1 second, as a kubelet takes it.
fn grace(o: &mut Object<'_, '_>) -> u64 {
    let field = o.get("terminationGracePeriodSeconds");
    let seconds = field.as_ref().and_then(|f| f.integer(i64::MIN..=i64::MAX));
    if let (Some(field), Some(..0)) = (field, seconds) {
        field.warn("a negative grace period is taken for 1 second");
    }
    match seconds {
        Some(seconds) => u64::try_from(seconds).unwrap_or(1),
        None => PodSpec::DEFAULT_GRACE_SECONDS,
    }
}

/// The names in a list of maps that have one.
pub(super) fn names<'m>(parent: &'m Node, list: &str) -> impl Iterator<Item = &'m str> {
    let items = match parent.entry(list).map(|e| &e.value.value) {
        Some(Value::List(items)) => items.as_slice(),
        _ => &[],
    };
    items
        .iter()
        .filter_map(|item| Some(&*item.entry("name")?.value.scalar()?.text))
}
