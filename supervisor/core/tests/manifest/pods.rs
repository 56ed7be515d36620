//! Random Pods, all of them valid.

use std::collections::{BTreeMap, BTreeSet};

use carob_core::config::ObjectKind;
use carob_core::pod::*;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::file_sources::{env_from, files, object_ref};

pub fn name() -> impl Strategy<Value = String> {
    "[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?"
}

fn path() -> impl Strategy<Value = String> {
    "(/[a-zA-Z0-9_. $()-]{0,6}[a-z]){1,3}"
}

fn text() -> impl Strategy<Value = String> {
    "(\\PC|[\n\t]){0,12}"
}

fn quantity() -> impl Strategy<Value = Quantity> {
    (1u32..10_000, select(vec!["", "m", "k", "Mi", "Gi", "e3"]))
        .prop_map(|(number, suffix)| format!("{number}{suffix}").parse().expect("a quantity"))
}

fn resources() -> impl Strategy<Value = Resources> {
    let names = || {
        select(vec![
            "cpu".to_owned(),
            "memory".into(),
            "ephemeral-storage".into(),
        ])
    };
    (
        btree_map(names(), quantity(), 0..3),
        btree_map(names(), quantity(), 0..3),
    )
        .prop_map(|(limits, mut requests)| {
            for (name, limit) in &limits {
                let request = requests
                    .entry(name.clone())
                    .or_insert_with(|| limit.clone());
                *request = request.clone().min(limit.clone());
            }
            Resources { requests, limits }
        })
}

fn env_source() -> impl Strategy<Value = EnvSource> {
    let fields = vec!["metadata.name", "status.podIP", "metadata.labels['a/b']"];
    let resources = vec!["limits.cpu", "requests.cpu"];
    let divisors = vec!["1", "1m"];
    prop_oneof![
        text().prop_map(EnvSource::Value),
        select(fields).prop_map(|path| EnvSource::Field(path.into())),
        (select(resources), select(divisors)).prop_map(|(resource, divisor)| EnvSource::Resource {
            container: None,
            resource: resource.into(),
            divisor: divisor.parse().expect("a quantity"),
        }),
        (object_ref(), name()).prop_map(|(object, key)| EnvSource::Key(KeyRef { object, key })),
    ]
}

fn id() -> impl Strategy<Value = Option<u32>> {
    option::of(0..=i32::MAX as u32)
}

fn seccomp() -> impl Strategy<Value = Option<SeccompProfile>> {
    option::of(prop_oneof![
        Just(SeccompProfile::Unconfined),
        Just(SeccompProfile::RuntimeDefault),
        name().prop_map(|name| SeccompProfile::Localhost(format!("a/{name}"))),
    ])
}

fn security() -> impl Strategy<Value = Security> {
    let names = || {
        subsequence(
            vec!["ALL".to_owned(), "KILL".into(), "NET_RAW".into()],
            0..3,
        )
    };
    let flags = (
        any::<bool>(),
        option::of(any::<bool>()),
        option::of(any::<bool>()),
        any::<bool>(),
    );
    (
        id(),
        id(),
        flags,
        names(),
        names(),
        seccomp(),
        any::<bool>(),
    )
        .prop_map(
            |(run_as_user, run_as_group, flags, add, drop, seccomp, unmasked)| Security {
                run_as_user,
                run_as_group,
                run_as_non_root: flags.1,
                privileged: flags.0,
                allow_privilege_escalation: flags.2.filter(|allowed| *allowed || !flags.0),
                read_only_root_filesystem: flags.3,
                capabilities: Capabilities { add, drop },
                seccomp,
                proc_mount: if unmasked {
                    ProcMount::Unmasked
                } else {
                    ProcMount::Default
                },
            },
        )
}

fn mounts(volumes: Vec<String>) -> impl Strategy<Value = Vec<VolumeMount>> {
    let mount = (
        select(volumes),
        any::<bool>(),
        option::of(name()),
        any::<bool>(),
        any::<bool>(),
    );
    btree_map(path(), mount, 0..3).prop_map(|mounts| {
        let mounts =
            mounts
                .into_iter()
                .map(|(mount_path, (name, read_only, sub, expression, host))| {
                    let (sub_path, sub_path_expr) =
                        if expression { (None, sub) } else { (sub, None) };
                    let propagation = match host {
                        true => MountPropagation::HostToContainer,
                        false => MountPropagation::None,
                    };
                    VolumeMount {
                        name,
                        mount_path,
                        read_only,
                        sub_path,
                        sub_path_expr,
                        propagation,
                    }
                });
        mounts.collect()
    })
}

fn ports() -> impl Strategy<Value = Vec<ContainerPort>> {
    let port = (
        1u16..,
        select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]),
    );
    vec(port, 0..3).prop_map(|ports| {
        let ports = ports
            .into_iter()
            .enumerate()
            .map(|(i, (container_port, protocol))| ContainerPort {
                name: (i == 1).then(|| format!("p-{i}")),
                container_port,
                host_port: None,
                host_ip: None,
                protocol,
            });
        ports.collect()
    })
}

fn port() -> impl Strategy<Value = Port> {
    // The second port of a container is named so.
    prop_oneof![
        (1u16..).prop_map(Port::Number),
        Just(Port::Name("p-1".into()))
    ]
}

fn http_get() -> impl Strategy<Value = HttpGet> {
    let headers = vec(("[A-Za-z-]{1,5}", "[ -~é]{0,5}"), 0..3);
    let schemes = vec![Scheme::Http, Scheme::Https];
    let host = option::of("[a-z.:]{1,5}");
    (select(schemes), host, port(), "[ -~é]{1,8}", headers).prop_map(
        |(scheme, host, port, path, headers)| HttpGet {
            scheme,
            host,
            port,
            path,
            headers,
        },
    )
}

fn tcp_socket() -> impl Strategy<Value = TcpSocket> {
    (option::of("[a-z.]{1,5}"), port()).prop_map(|(host, port)| TcpSocket { host, port })
}

fn command() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 1..3)
}

fn handler() -> impl Strategy<Value = ProbeHandler> {
    prop_oneof![
        command().prop_map(|command| ProbeHandler::Exec { command }),
        http_get().prop_map(ProbeHandler::HttpGet),
        tcp_socket().prop_map(ProbeHandler::TcpSocket),
        (1u16.., "[a-z.]{0,3}").prop_map(|(port, service)| ProbeHandler::Grpc { port, service }),
    ]
}

fn probe(readiness: bool) -> impl Strategy<Value = Option<Probe>> {
    let count = || 1..=i32::MAX as u32;
    let numbers = (0..=i32::MAX as u32, count(), count(), count(), count());
    let grace = option::of(1..=i64::MAX as u64);
    option::of(
        (handler(), numbers, grace).prop_map(move |(handler, n, grace)| Probe {
            handler,
            initial_delay_seconds: n.0,
            timeout_seconds: n.1,
            period_seconds: n.2,
            success_threshold: if readiness { n.3 } else { 1 },
            failure_threshold: n.4,
            termination_grace_period_seconds: grace.filter(|_| !readiness),
        }),
    )
}

fn hook() -> impl Strategy<Value = Option<HookHandler>> {
    option::of(prop_oneof![
        command().prop_map(|command| HookHandler::Exec { command }),
        http_get().prop_map(HookHandler::HttpGet),
        tcp_socket().prop_map(HookHandler::TcpSocket),
        Just(HookHandler::Sleep { seconds: 0 }),
    ])
}

fn restart() -> impl Strategy<Value = (Option<RestartPolicy>, Vec<RestartRule>)> {
    let actions = vec![RestartAction::Restart, RestartAction::RestartAllContainers];
    let operators = vec![ExitCodeOperator::In, ExitCodeOperator::NotIn];
    let rule = (
        select(actions),
        select(operators),
        btree_set(any::<i32>(), 0..3),
    )
        .prop_map(|(action, operator, values)| RestartRule {
            action,
            operator,
            values,
        });
    let policies = vec![RestartPolicy::OnFailure, RestartPolicy::Never];
    option::of((select(policies), vec(rule, 0..3))).prop_map(|own| match own {
        Some((policy, rules)) => (Some(policy), rules),
        None => (None, Vec::new()),
    })
}

/// What a container is asked: probes and hooks.
type Asked = ([Option<Probe>; 3], [Option<HookHandler>; 2]);

fn asked() -> impl Strategy<Value = Asked> {
    ((probe(false), probe(false), probe(true)), (hook(), hook()))
        .prop_map(|(p, h)| ([p.0, p.1, p.2], [h.0, h.1]))
}

/// Names of ports that the container does not have become numbers.
fn known_ports(container: &mut Container) {
    let names: Vec<_> = container
        .ports
        .iter()
        .filter_map(|p| p.name.clone())
        .collect();
    let fix = |port: &mut Port| {
        if matches!(port, Port::Name(name) if !names.contains(name)) {
            *port = Port::Number(1);
        }
    };
    let probes = [
        &mut container.startup_probe,
        &mut container.liveness_probe,
        &mut container.readiness_probe,
    ];
    for probe in probes.into_iter().flatten() {
        match &mut probe.handler {
            ProbeHandler::HttpGet(get) => fix(&mut get.port),
            ProbeHandler::TcpSocket(socket) => fix(&mut socket.port),
            ProbeHandler::Exec { .. } | ProbeHandler::Grpc { .. } => {}
        }
    }
    let hooks = [
        &mut container.lifecycle.post_start,
        &mut container.lifecycle.pre_stop,
    ];
    for hook in hooks.into_iter().flatten() {
        match hook {
            HookHandler::HttpGet(get) => fix(&mut get.port),
            HookHandler::TcpSocket(socket) => fix(&mut socket.port),
            HookHandler::Exec { .. } | HookHandler::Sleep { .. } => {}
        }
    }
}

fn one_container(volumes: Vec<String>) -> impl Strategy<Value = Container> {
    let policies = vec![
        ImagePullPolicy::Always,
        ImagePullPolicy::IfNotPresent,
        ImagePullPolicy::Never,
    ];
    let words = || vec(text(), 0..3);
    let env = vec(("[A-Za-z_ .-]{1,8}", env_source()), 0..4).prop_map(|env| {
        let env = env
            .into_iter()
            .map(|(name, source)| EnvVar { name, source });
        env.collect::<Vec<_>>()
    });
    (
        (
            "[a-z/:.@]{1,12}",
            select(policies),
            words(),
            words(),
            option::of("/[a-c]{0,5}"),
        ),
        (
            (env, env_from()),
            resources(),
            mounts(volumes),
            security(),
            ports(),
        ),
        (asked(), restart()),
        any::<[bool; 5]>(),
    )
        .prop_map(|(what, how, (asked, restart), flags)| Container {
            name: String::new(),
            image: what.0,
            image_pull_policy: what.1,
            sidecar: flags[0],
            restart_policy: restart.0,
            restart_rules: restart.1,
            startup_probe: asked.0[0].clone(),
            liveness_probe: asked.0[1].clone(),
            readiness_probe: asked.0[2].clone(),
            lifecycle: Lifecycle {
                post_start: asked.1[0].clone(),
                pre_stop: asked.1[1].clone(),
                stop_signal: None,
            },
            command: what.2,
            args: what.3,
            working_dir: what.4,
            ports: how.4,
            env: how.0.0,
            env_from: how.0.1,
            resources: how.1,
            volume_mounts: how.2,
            security: how.3,
            termination_message_path: "/dev/termination-log".into(),
            termination_message_policy: match flags[1] {
                true => TerminationMessagePolicy::FallbackToLogsOnError,
                false => TerminationMessagePolicy::File,
            },
            stdin: flags[2],
            stdin_once: flags[3],
            tty: flags[4],
        })
}

fn volume_source() -> impl Strategy<Value = VolumeSource> {
    prop_oneof![
        option::of(1..=i64::MAX as u64).prop_map(|size_limit| VolumeSource::EmptyDir {
            medium: if size_limit.is_some() {
                Medium::Memory
            } else {
                Medium::Disk
            },
            size_limit,
        }),
        (
            path(),
            select(vec![HostPathType::Unset, HostPathType::File])
        )
            .prop_map(|(path, kind)| VolumeSource::HostPath { path, kind }),
        files().prop_map(VolumeSource::Files),
    ]
}

fn pod_security() -> impl Strategy<Value = PodSecurity> {
    let sysctls = option::of(Just(Sysctl {
        name: "net.ipv4.tcp_syncookies".into(),
        value: "1".into(),
    }));
    let groups = vec(0..=i32::MAX as u32, 0..3);
    let flags = (option::of(any::<bool>()), any::<bool>(), any::<bool>());
    (id(), id(), id(), groups, flags, seccomp(), sysctls).prop_map(
        |(user, group, fs_group, supplemental_groups, flags, seccomp, sysctl)| PodSecurity {
            run_as_user: user,
            run_as_group: group,
            run_as_non_root: flags.0,
            fs_group,
            fs_group_on_root_mismatch: flags.1,
            supplemental_groups,
            supplemental_groups_strict: flags.2,
            seccomp,
            sysctls: sysctl.into_iter().collect(),
        },
    )
}

fn dns() -> impl Strategy<Value = (DnsPolicy, DnsConfig)> {
    let policies = vec![
        DnsPolicy::ClusterFirst,
        DnsPolicy::ClusterFirstWithHostNet,
        DnsPolicy::Default,
        DnsPolicy::None,
    ];
    let option = ("[a-z]{1,5}", option::of("[0-9]{1,3}"));
    (
        select(policies),
        vec(any::<[u8; 4]>(), 1..3),
        vec(name(), 0..3),
        vec(option, 0..2),
    )
        .prop_map(|(policy, servers, searches, options)| {
            let nameservers = servers.into_iter().map(|ip| ip.into()).collect();
            (
                policy,
                DnsConfig {
                    nameservers,
                    searches,
                    options,
                },
            )
        })
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let labels = btree_map("[a-z]{1,4}(/[A-Z]{1,3})?", "[a-zA-Z0-9]{0,5}", 0..3);
    let annotations = btree_map("[a-z]{1,4}", text(), 0..3);
    (name(), name(), name(), labels, annotations).prop_map(
        |(name, namespace, uid, labels, annotations)| Metadata {
            name,
            namespace,
            uid,
            labels,
            annotations,
        },
    )
}

fn spec(volumes: BTreeMap<String, VolumeSource>) -> impl Strategy<Value = PodSpec> {
    let mountable: Vec<String> = volumes.keys().cloned().collect();
    let containers = (
        vec(one_container(mountable.clone()), 0..3),
        vec(one_container(mountable), 1..3),
    );
    let policies = vec![
        RestartPolicy::Always,
        RestartPolicy::OnFailure,
        RestartPolicy::Never,
    ];
    let times = (any::<u32>(), option::of(1..=i32::MAX as u64), any::<i32>());
    let hosts = (
        option::of(name()),
        option::of(name()),
        vec((any::<[u16; 8]>(), vec(name(), 1..3)), 0..3),
    );
    (
        containers,
        select(policies),
        times,
        any::<[bool; 2]>(),
        hosts,
        dns(),
        pod_security(),
    )
        .prop_map(
            move |((init, app), restart_policy, times, flags, hosts, dns, security)| {
                let mut names = (0..).map(|i| format!("c{i}"));
                let mut named = |mut container: Container, init: bool| {
                    container.name = names.next().expect("there is no end of names");
                    container.sidecar &= init;
                    if container.sidecar {
                        container.restart_policy = None;
                    } else if init {
                        container.startup_probe = None;
                        container.liveness_probe = None;
                        container.readiness_probe = None;
                        container.lifecycle = Lifecycle::default();
                    }
                    known_ports(&mut container);
                    container
                };
                let alias = |(ip, hostnames): ([u16; 8], _)| HostAlias {
                    ip: ip.into(),
                    hostnames,
                };
                PodSpec {
                    init_containers: init.into_iter().map(|c| named(c, true)).collect(),
                    containers: app.into_iter().map(|c| named(c, false)).collect(),
                    image_pull_secrets: hosts.0.iter().map(|name| pull_secret(name)).collect(),
                    restart_policy,
                    termination_grace_period_seconds: times.0.into(),
                    active_deadline_seconds: times.1,
                    priority: times.2,
                    volumes: volumes
                        .iter()
                        .map(|(name, source)| Volume {
                            name: name.clone(),
                            source: source.clone(),
                        })
                        .collect(),
                    host_network: false,
                    host_pid: flags[0],
                    host_ipc: flags[1],
                    share_process_namespace: !flags[0],
                    hostname: hosts.0,
                    subdomain: hosts.1,
                    host_aliases: hosts.2.into_iter().map(alias).collect(),
                    dns_policy: dns.0,
                    dns_config: dns.1,
                    security,
                }
            },
        )
}

fn pull_secret(name: &str) -> ObjectRef {
    ObjectRef {
        kind: ObjectKind::Secret,
        name: name.to_owned(),
        optional: true,
    }
}

/// Any Pod that a manifest can describe.
pub fn pod() -> impl Strategy<Value = Pod> {
    let volumes = btree_set(name(), 1..4).prop_flat_map(|names: BTreeSet<String>| {
        vec(volume_source(), names.len())
            .prop_map(move |sources| names.iter().cloned().zip(sources).collect())
    });
    (metadata(), volumes.prop_flat_map(spec)).prop_map(|(metadata, spec)| Pod { metadata, spec })
}
