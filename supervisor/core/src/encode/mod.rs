//! A Pod as Kubernetes' API shows it: the inverse of [`parse`](crate::parse), with every default written out.

mod asked;
mod files;

use serde_json::{Map, Value, json};

use crate::pod::{
    Capabilities, Container, ContainerPort, DnsConfig, DnsPolicy, EnvSource, EnvVar, HostPathType,
    Medium, MountPropagation, Pod, PodSecurity, PodSpec, ProcMount, ResourceList, RestartPolicy,
    SeccompProfile, Security, Volume, VolumeMount, VolumeSource,
};

/// The Pod as a `v1` object with `apiVersion`, `kind`, `metadata` and `spec`.
///
/// [`parse_manifest`](crate::parse::parse_manifest) makes the same Pod of it again.
pub fn object(pod: &Pod) -> Value {
    let metadata = &pod.metadata;
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": fields([
            ("name", json!(metadata.name)),
            ("namespace", json!(metadata.namespace)),
            ("uid", json!(metadata.uid)),
            ("labels", json!(metadata.labels)),
            ("annotations", json!(metadata.annotations)),
        ]),
        "spec": spec(&pod.spec),
    })
}

/// An object of those fields that say something: as in Kubernetes, what is null, false or empty is left out.
fn fields<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let says = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    };
    let fields = fields.into_iter().filter(|(_, value)| says(value));
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    Value::Object(fields.collect::<Map<_, _>>())
}

fn list<T>(items: &[T], encode: impl Fn(&T) -> Value) -> Value {
    items.iter().map(encode).collect()
}

fn spec(spec: &PodSpec) -> Value {
    let mut value = fields([
        ("activeDeadlineSeconds", json!(spec.active_deadline_seconds)),
        ("containers", list(&spec.containers, container)),
        ("dnsConfig", dns_config(&spec.dns_config)),
        ("dnsPolicy", json!(dns_policy(spec.dns_policy))),
        (
            "hostAliases",
            list(&spec.host_aliases, |alias| {
                fields([
                    ("ip", json!(alias.ip)),
                    ("hostnames", json!(alias.hostnames)),
                ])
            }),
        ),
        ("hostIPC", json!(spec.host_ipc)),
        ("hostNetwork", json!(spec.host_network)),
        ("hostPID", json!(spec.host_pid)),
        ("hostname", json!(spec.hostname)),
        (
            "imagePullSecrets",
            list(
                &spec.image_pull_secrets,
                |secret| json!({ "name": secret.name }),
            ),
        ),
        ("initContainers", list(&spec.init_containers, container)),
        ("restartPolicy", json!(spec.restart_policy)),
        ("shareProcessNamespace", json!(spec.share_process_namespace)),
        ("subdomain", json!(spec.subdomain)),
        (
            "terminationGracePeriodSeconds",
            json!(spec.termination_grace_period_seconds),
        ),
        ("volumes", list(&spec.volumes, volume)),
    ]);
    if spec.priority != 0 {
        value["priority"] = json!(spec.priority);
    }
    // Always there, as the API server has it.
    value["securityContext"] = pod_security(&spec.security);
    value
}

fn dns_policy(policy: DnsPolicy) -> &'static str {
    match policy {
        DnsPolicy::ClusterFirst => "ClusterFirst",
        DnsPolicy::ClusterFirstWithHostNet => "ClusterFirstWithHostNet",
        DnsPolicy::Default => "Default",
        DnsPolicy::None => "None",
    }
}

fn dns_config(config: &DnsConfig) -> Value {
    fields([
        ("nameservers", json!(config.nameservers)),
        ("searches", json!(config.searches)),
        (
            "options",
            list(&config.options, |(name, value)| {
                fields([("name", json!(name)), ("value", json!(value))])
            }),
        ),
    ])
}

fn volume(volume: &Volume) -> Value {
    let source = match &volume.source {
        VolumeSource::EmptyDir { medium, size_limit } => {
            let medium = (*medium == Medium::Memory).then_some("Memory");
            let limit = size_limit.map(|bytes| bytes.to_string());
            (
                "emptyDir",
                fields([("medium", json!(medium)), ("sizeLimit", json!(limit))]),
            )
        }
        VolumeSource::HostPath { path, kind } => {
            let kind = (*kind != HostPathType::Unset).then_some(kind);
            (
                "hostPath",
                fields([("path", json!(path)), ("type", json!(kind))]),
            )
        }
        VolumeSource::Files(volume) => files::volume(volume),
    };
    json!({ "name": volume.name, source.0: source.1 })
}

fn container(container: &Container) -> Value {
    let amounts = |list: &ResourceList| json!(list);
    let resources = fields([
        ("limits", amounts(&container.resources.limits)),
        ("requests", amounts(&container.resources.requests)),
    ]);
    let policy = match container.sidecar {
        true => Some(RestartPolicy::Always),
        false => container.restart_policy,
    };
    let mut value = fields([
        ("args", json!(container.args)),
        ("command", json!(container.command)),
        ("env", list(&container.env, variable)),
        ("envFrom", list(&container.env_from, files::env_from)),
        ("image", json!(container.image)),
        ("imagePullPolicy", json!(container.image_pull_policy)),
        ("lifecycle", asked::lifecycle(&container.lifecycle)),
        ("livenessProbe", asked::probe(&container.liveness_probe)),
        ("name", json!(container.name)),
        ("ports", list(&container.ports, port)),
        ("readinessProbe", asked::probe(&container.readiness_probe)),
        ("restartPolicy", json!(policy)),
        (
            "restartPolicyRules",
            list(&container.restart_rules, asked::restart_rule),
        ),
        ("securityContext", security(&container.security)),
        ("startupProbe", asked::probe(&container.startup_probe)),
        ("stdin", json!(container.stdin)),
        ("stdinOnce", json!(container.stdin_once)),
        (
            "terminationMessagePath",
            json!(container.termination_message_path),
        ),
        (
            "terminationMessagePolicy",
            json!(container.termination_message_policy),
        ),
        ("tty", json!(container.tty)),
        ("volumeMounts", list(&container.volume_mounts, mount)),
        ("workingDir", json!(container.working_dir)),
    ]);
    value["resources"] = resources;
    value
}

fn port(port: &ContainerPort) -> Value {
    fields([
        ("containerPort", json!(port.container_port)),
        ("hostIP", json!(port.host_ip)),
        ("hostPort", json!(port.host_port)),
        ("name", json!(port.name)),
        ("protocol", json!(port.protocol)),
    ])
}

fn variable(variable: &EnvVar) -> Value {
    let name = ("name", json!(variable.name));
    match &variable.source {
        EnvSource::Value(value) => fields([name, ("value", json!(value))]),
        EnvSource::Field(path) => {
            let reference = json!({ "apiVersion": "v1", "fieldPath": path });
            fields([name, ("valueFrom", json!({ "fieldRef": reference }))])
        }
        EnvSource::Resource {
            container,
            resource,
            divisor,
        } => {
            let reference = fields([
                ("containerName", json!(container)),
                ("divisor", json!(divisor)),
                ("resource", json!(resource)),
            ]);
            fields([
                name,
                ("valueFrom", json!({ "resourceFieldRef": reference })),
            ])
        }
        EnvSource::Key(key) => fields([name, ("valueFrom", files::key(key))]),
    }
}

fn mount(mount: &VolumeMount) -> Value {
    let propagation = (mount.propagation != MountPropagation::None).then_some(mount.propagation);
    fields([
        ("mountPath", json!(mount.mount_path)),
        ("mountPropagation", json!(propagation)),
        ("name", json!(mount.name)),
        ("readOnly", json!(mount.read_only)),
        ("subPath", json!(mount.sub_path)),
        ("subPathExpr", json!(mount.sub_path_expr)),
    ])
}

fn seccomp(profile: &Option<SeccompProfile>) -> Value {
    match profile {
        None => Value::Null,
        Some(SeccompProfile::Unconfined) => json!({ "type": "Unconfined" }),
        Some(SeccompProfile::RuntimeDefault) => json!({ "type": "RuntimeDefault" }),
        Some(SeccompProfile::Localhost(path)) => {
            json!({ "type": "Localhost", "localhostProfile": path })
        }
    }
}

fn pod_security(security: &PodSecurity) -> Value {
    let change = security
        .fs_group_on_root_mismatch
        .then_some("OnRootMismatch");
    let groups = security.supplemental_groups_strict.then_some("Strict");
    let mut value = fields([
        ("fsGroup", json!(security.fs_group)),
        ("fsGroupChangePolicy", json!(change)),
        ("runAsGroup", json!(security.run_as_group)),
        ("runAsUser", json!(security.run_as_user)),
        ("seccompProfile", seccomp(&security.seccomp)),
        ("supplementalGroups", json!(security.supplemental_groups)),
        ("supplementalGroupsPolicy", json!(groups)),
        ("sysctls", json!(security.sysctls)),
    ]);
    set_false(&mut value, "runAsNonRoot", security.run_as_non_root);
    value
}

fn security(security: &Security) -> Value {
    let Capabilities { add, drop } = &security.capabilities;
    let proc_mount = (security.proc_mount == ProcMount::Unmasked).then_some("Unmasked");
    let mut value = fields([
        (
            "capabilities",
            fields([("add", json!(add)), ("drop", json!(drop))]),
        ),
        ("privileged", json!(security.privileged)),
        ("procMount", json!(proc_mount)),
        (
            "readOnlyRootFilesystem",
            json!(security.read_only_root_filesystem),
        ),
        ("runAsGroup", json!(security.run_as_group)),
        ("runAsUser", json!(security.run_as_user)),
        ("seccompProfile", seccomp(&security.seccomp)),
    ]);
    set_false(
        &mut value,
        "allowPrivilegeEscalation",
        security.allow_privilege_escalation,
    );
    set_false(&mut value, "runAsNonRoot", security.run_as_non_root);
    value
}

/// Sets a field in which false says something else than nothing.
fn set_false(value: &mut Value, name: &str, flag: Option<bool>) {
    if let Some(flag) = flag {
        value[name] = json!(flag);
    }
}
