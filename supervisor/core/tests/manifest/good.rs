//! Manifests that must parse, and what must come out.

use carob_core::parse::{Manifest, Verdict};
use carob_core::pod::{
    Container, EnvSource, HostPathType, ImagePullPolicy, Medium, Pod, Protocol, Quantity,
    RestartPolicy, SeccompProfile, VolumeSource,
};

use crate::{accepted, container, refused, spec};

fn pod(text: &str) -> Pod {
    accepted(text).pods.remove(0)
}

fn verdict<'a>(manifest: &'a Manifest, path: &str) -> &'a Verdict {
    let note = manifest.report.iter().find(|n| n.path == path);
    &note.unwrap_or_else(|| panic!("no note of {path}")).verdict
}

fn with_image(image: &str) -> Container {
    let text = spec("").replace("image: i", &format!("image: {image}"));
    pod(&text).spec.containers.remove(0)
}

#[test]
fn defaults_are_those_of_the_api_server() {
    let pod = pod(&spec(""));
    assert_eq!(pod.metadata.namespace, "default");
    assert_eq!(pod.metadata.uid, "uid-1");
    let spec = pod.spec;
    assert_eq!(spec.restart_policy, RestartPolicy::Always);
    assert_eq!(spec.termination_grace_period_seconds, 30);
    assert_eq!(spec.active_deadline_seconds, None);
    let container = &spec.containers[0];
    assert_eq!(container.termination_message_path, "/dev/termination-log");
    assert_eq!(container.image_pull_policy, ImagePullPolicy::Always);
    assert!(!container.sidecar && !container.tty);
}

#[test]
fn pull_policy_follows_the_tag() {
    use ImagePullPolicy::{Always, IfNotPresent};
    let digest = format!("sha256:{}", "a".repeat(64));
    for (image, policy) in [
        ("a", Always),
        ("a:latest", Always),
        ("registry:5000/a", Always),
        ("registry:5000/a:latest", Always),
        ("a:1", IfNotPresent),
        ("registry:5000/a:1", IfNotPresent),
        (&*format!("a@{digest}"), IfNotPresent),
        (&*format!("a:latest@{digest}"), Always),
    ] {
        assert_eq!(with_image(image).image_pull_policy, policy, "{image}");
    }
}

#[test]
fn requests_follow_limits() {
    let pod = pod(&container(
        "resources: {limits: {cpu: 1, memory: 64Mi}, requests: {cpu: 500m}}",
    ));
    let resources = &pod.spec.containers[0].resources;
    assert_eq!(resources.requests["cpu"].milli_value(), 500);
    assert_eq!(resources.requests["memory"].value(), 64 << 20);
    assert_eq!(resources.limits["cpu"], Quantity::from(1));
}

#[test]
fn volumes_and_mounts() {
    let text = container(
        "volumeMounts:\n- {name: m, mountPath: a/, subPath: b/c, readOnly: true, subPathExpr: ''}\n- {name: h, mountPath: /h, subPathExpr: $(A)}",
    )
    .replace(
        "[{name: v}]",
        "[{name: v}, {name: m, emptyDir: {medium: Memory, sizeLimit: 1Mi}}, {name: h, hostPath: {path: /srv, type: Directory}}]",
    );
    let spec = pod(&text).spec;
    let disk = VolumeSource::EmptyDir {
        medium: Medium::Disk,
        size_limit: None,
    };
    let memory = VolumeSource::EmptyDir {
        medium: Medium::Memory,
        size_limit: Some(1 << 20),
    };
    let host = VolumeSource::HostPath {
        path: "/srv".into(),
        kind: HostPathType::Directory,
    };
    let sources: Vec<_> = spec.volumes.iter().map(|v| &v.source).collect();
    assert_eq!(sources, [&disk, &memory, &host]);
    let mounts = &spec.containers[0].volume_mounts;
    assert_eq!(mounts[0].mount_path, "/a");
    assert_eq!(mounts[0].sub_path.as_deref(), Some("b/c"));
    assert!(mounts[0].read_only && mounts[0].sub_path_expr.is_none());
    assert_eq!(mounts[1].sub_path_expr.as_deref(), Some("$(A)"));
}

#[test]
fn variables_keep_their_order_and_sources() {
    let pod = pod(&container(
        "env:\n- {name: A, value: $(B)}\n- {name: B, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['a/b']\"}}}\n- {name: C, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}\n- {name: D, valueFrom: {resourceFieldRef: {resource: requests.memory, containerName: c, divisor: 0}}}",
    ));
    let env = &pod.spec.containers[0].env;
    assert_eq!(env[0].source, EnvSource::Value("$(B)".into()));
    assert_eq!(
        env[1].source,
        EnvSource::Field("metadata.labels['a/b']".into())
    );
    let EnvSource::Resource { divisor, .. } = &env[2].source else {
        panic!("{env:?}")
    };
    assert_eq!(divisor.milli_value(), 1);
    let EnvSource::Resource {
        divisor, container, ..
    } = &env[3].source
    else {
        panic!("{env:?}")
    };
    assert_eq!((divisor.value(), container.as_deref()), (1, Some("c")));
}

#[test]
fn a_sidecar_is_an_init_container_that_restarts() {
    let spec = pod(&spec(
        "initContainers:\n- {name: log, image: i, restartPolicy: Always}\n- {name: prepare, image: i}",
    ))
    .spec;
    let sidecars: Vec<_> = spec.init_containers.iter().map(|c| c.sidecar).collect();
    assert_eq!(sidecars, [true, false]);
    assert_eq!(spec.all_containers().count(), 3);
}

#[test]
fn security_contexts() {
    let text = container(
        "securityContext: {runAsUser: 1000, runAsNonRoot: true, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, seccompProfile: {type: Localhost, localhostProfile: a/b.json}, appArmorProfile: {type: RuntimeDefault}}",
    )
    .replace(
        "  volumes:",
        "  securityContext: {fsGroup: 2, supplementalGroups: [3, 4], fsGroupChangePolicy: OnRootMismatch, seccompProfile: {type: RuntimeDefault}}\n  volumes:",
    );
    let manifest = accepted(&text);
    let spec = &manifest.pods[0].spec;
    assert_eq!(spec.security.fs_group, Some(2));
    assert_eq!(spec.security.supplemental_groups, [3, 4]);
    assert!(spec.security.fs_group_on_root_mismatch);
    assert_eq!(spec.security.seccomp, Some(SeccompProfile::RuntimeDefault));
    let security = &spec.containers[0].security;
    assert_eq!(security.run_as_user, Some(1000));
    assert_eq!(security.allow_privilege_escalation, Some(false));
    assert_eq!(
        security.seccomp,
        Some(SeccompProfile::Localhost("a/b.json".into()))
    );
    let path = "spec.containers[0].securityContext.appArmorProfile.type";
    assert!(matches!(verdict(&manifest, path), Verdict::Ignored(_)));
}

#[test]
fn ports_are_tcp_unless_said_otherwise() {
    let pod = pod(&container(
        "ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP, name: dns}]",
    ));
    let ports = &pod.spec.containers[0].ports;
    assert_eq!(
        (ports[0].container_port, ports[0].protocol),
        (80, Protocol::Tcp)
    );
    assert_eq!(
        (ports[1].protocol, ports[1].name.as_deref()),
        (Protocol::Udp, Some("dns"))
    );
    assert_eq!(ports[0].host_port, None);
}

#[test]
fn anchors_and_merge_keys_are_expanded() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  initContainers:\n  - &base {name: a, image: i, args: &args [u, v]}\n  containers:\n  - {<<: *base, name: b}\n  - {<<: [*base, {tty: true}], name: c, args: *args}\n";
    let spec = pod(text).spec;
    let names: Vec<_> = spec.all_containers().map(|c| (&*c.name, c.tty)).collect();
    assert_eq!(names, [("a", false), ("b", false), ("c", true)]);
    assert_eq!(spec.containers[1].args, ["u", "v"]);
    // An error in it is told where it is used.
    let bad = text.replace("name: c, args: *args", "name: c, args: *args, evn: []");
    refused(&bad, "spec.containers[1].evn", "did you mean env?");
}

#[test]
fn the_report_has_every_field_with_its_verdict() {
    let text = spec(
        "schedulerName: x\ntolerations: [{operator: Exists}]\nnodeSelector: {}\nhostname: ''\ndnsConfig:\nterminationGracePeriodSeconds: -1",
    ) + "status: {phase: Running}\n";
    let manifest = accepted(&text);
    for (path, expected) in [
        ("apiVersion", "Honoured"),
        ("kind", "Honoured"),
        ("metadata.name", "Honoured"),
        ("spec.containers[0].name", "Honoured"),
        ("spec.containers[0].image", "Honoured"),
        ("spec.schedulerName", "Ignored"),
        ("spec.tolerations", "Ignored"),
        ("spec.nodeSelector", "Ignored"),
        ("spec.hostname", "Ignored"),
        ("spec.dnsConfig", "Ignored"),
        ("spec.terminationGracePeriodSeconds", "Warned"),
        ("status", "Ignored"),
    ] {
        let verdict = format!("{:?}", verdict(&manifest, path));
        assert!(verdict.starts_with(expected), "{path}: {verdict}");
    }
    assert_eq!(manifest.report.len(), 12, "{:#?}", manifest.report);
    let lines: Vec<_> = manifest.report.iter().map(|n| n.line).collect();
    assert!(lines.is_sorted());
    // With an error, the rest is reported as well.
    let errors = crate::parse(spec("nodeName: n\nhostUsers: false")).expect_err("an error");
    let verdicts = |path: &str| {
        errors
            .report
            .iter()
            .find(|n| n.path == path)
            .map(|n| &n.verdict)
    };
    assert_eq!(verdicts("spec.hostUsers"), Some(&Verdict::Rejected));
    assert!(matches!(
        verdicts("spec.nodeName"),
        Some(Verdict::Ignored(_))
    ));
}

/// As `kubectl get pod -o yaml` gives it, less what Carob refuses.
#[test]
fn a_pod_out_of_a_cluster() {
    let text = r#"
apiVersion: v1
kind: Pod
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {"apiVersion":"v1","kind":"Pod"}
  creationTimestamp: "2026-01-01T00:00:00Z"
  generateName: web-
  labels: {app.kubernetes.io/name: web, pod-template-hash: 5d59d67564}
  name: web-x
  namespace: prod
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: abc}]
  resourceVersion: "123"
  uid: 0b1f4a5e-8f8e-4f0e-9f0a-111111111111
spec:
  containers:
  - image: nginx:1
    imagePullPolicy: IfNotPresent
    name: nginx
    resources: {}
    resizePolicy:
    - {resourceName: cpu, restartPolicy: NotRequired}
    terminationMessagePath: /dev/termination-log
    terminationMessagePolicy: File
  dnsPolicy: ClusterFirst
  enableServiceLinks: true
  nodeName: node-1
  os: {name: linux}
  preemptionPolicy: PreemptLowerPriority
  priority: 0
  restartPolicy: Always
  schedulerName: default-scheduler
  securityContext: {}
  serviceAccount: default
  serviceAccountName: default
  terminationGracePeriodSeconds: 30
  tolerations:
  - {effect: NoExecute, key: node.kubernetes.io/not-ready, operator: Exists, tolerationSeconds: 300}
status:
  phase: Running
"#;
    let pod = pod(text);
    assert_eq!(pod.metadata.uid, "0b1f4a5e-8f8e-4f0e-9f0a-111111111111");
    assert_eq!(pod.metadata.namespace, "prod");
    assert_eq!(pod.metadata.labels["app.kubernetes.io/name"], "web");
}

/// The Pods of a real kubelet's recorded runs, in shape.
#[test]
fn pods_that_a_kubelet_ran() {
    let command =
        |script: &str| format!("image: \"registry.local/bb:1\", command: [sh, -c, \"{script}\"]");
    let pod =
        |spec: &str| format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n{spec}\n");
    for spec in [
        format!(
            "  terminationGracePeriodSeconds: 1\n  initContainers: [{{name: check-db, {}}}]\n  containers: [{{name: app, image: i, command: [sleep, \"3600\"]}}]",
            command("sleep 1; exit 1")
        ),
        format!(
            "  restartPolicy: Never\n  containers:\n  - {{name: bad, {}}}\n  - {{name: good, {}}}",
            command("exit 3"),
            command("sleep 4")
        ),
        format!(
            "  restartPolicy: OnFailure\n  containers: [{{name: crash, {}}}]",
            command("exit 1")
        ),
        format!(
            "  initContainers:\n  - {{name: log-shipper, restartPolicy: Always, {}}}\n  containers: [{{name: job, {}}}]",
            command("trap 'exit 0' TERM; while :; do sleep 0.2; done"),
            command("sleep 4")
        ),
        format!(
            "  containers:\n  - {{name: web, {}, volumeMounts: [{{name: cache, mountPath: /cache}}]}}\n  volumes: [{{name: cache, emptyDir: {{sizeLimit: 500Mi}}}}]",
            command("exec httpd -f")
        ),
    ] {
        accepted(&pod(&spec));
    }
    for field in [
        "livenessProbe: {exec: {command: [cat, /tmp/healthy]}, periodSeconds: 2}",
        "ports: [{name: http, containerPort: 80}], readinessProbe: {httpGet: {path: /ready, port: http}}",
        "lifecycle: {postStart: {exec: {command: [sh, -c, \"exit 7\"]}}}",
    ] {
        accepted(&pod(&format!(
            "  containers:\n  - {{name: app, image: i, {field}}}"
        )));
    }
}

#[test]
fn the_examples_parse() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bundles/examples");
    let mut count = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let manifest = accepted(&std::fs::read_to_string(&path).unwrap());
            let odd = manifest
                .report
                .iter()
                .find(|n| n.verdict != Verdict::Honoured);
            assert_eq!(odd, None, "{}", path.display());
            count += 1;
        }
    }
    assert!(count > 0);
}
