//! Bad names, references and fields that Carob does not honour.

use crate::{accepted, container, metadata, parse, refused, spec};

#[test]
fn b14_names() {
    let long = "a".repeat(254);
    for name in ["Web", "a_b", &long, "..", "a/b", "é", "a.", "-a", "''"] {
        let errors = parse(metadata(&format!("name: {name}"))).expect_err(name);
        assert_eq!(errors.errors[0].path, "metadata.name", "{errors}");
    }
    let label = "a".repeat(64);
    refused(
        &metadata(&format!("name: p, namespace: {label}")),
        "metadata.namespace",
        "no more than 63",
    );
    refused(
        &metadata("name: p, namespace: a.b"),
        "metadata.namespace",
        "RFC 1123 label",
    );
    refused(
        &metadata("name: p, uid: ../x"),
        "metadata.uid",
        "letters, digits and '-'",
    );
    refused(
        &metadata(&format!("name: p, labels: {{a: {label}}}")),
        "metadata.labels.a",
        "no more than 63",
    );
    refused(
        &metadata("name: p, labels: {a b: c}"),
        "metadata.labels[\"a b\"]",
        "the key must consist",
    );
    refused(
        &metadata("name: p, annotations: {/a: c}"),
        "metadata.annotations[\"/a\"]",
        "prefix",
    );
    let huge = "x".repeat(257 << 10);
    refused(
        &metadata(&format!("name: p, annotations: {{a: {huge}}}")),
        "metadata.annotations",
        "at most 262144 bytes",
    );
    for name in ["Web", "a.b", "a_b", &label] {
        let text = spec("").replace("name: c", &format!("name: {name}"));
        let errors = parse(text).expect_err(name);
        assert_eq!(errors.errors[0].path, "spec.containers[0].name", "{errors}");
    }
    accepted(&metadata(&format!("name: {}", "a".repeat(253))));
    refused(&spec("hostname: a.b"), "spec.hostname", "RFC 1123 label");
    refused(&spec("subdomain: A"), "spec.subdomain", "RFC 1123 label");
}

#[test]
fn b15_duplicate_container_names() {
    refused(
        &spec("initContainers: [{name: c, image: i}]"),
        "spec.containers[0].name",
        "\"c\" is there twice, first on line 8",
    );
    refused(
        &container("").replace("  containers:", "  containers:\n  - {name: c, image: j}"),
        "spec.containers[1].name",
        "\"c\" is there twice, first on line 7",
    );
}

#[test]
fn b23_variable_names() {
    let path = "spec.containers[0].env[0].name";
    for name in ["A=B", "é", "\"a\\tb\""] {
        refused(
            &container(&format!("env: [{{name: {name}}}]")),
            path,
            "printable ASCII",
        );
    }
    refused(&container("env: [{value: x}]"), path, "required");
    accepted(&container(
        "env: [{name: A, value: $(A)$(B)$$(C)}, {name: A}]",
    ));
}

#[test]
fn b24_downward_api() {
    let path = "spec.containers[0].env[0].valueFrom";
    for (from, field, words) in [
        ("{}", "", "must specify one of"),
        (
            "{fieldRef: {fieldPath: metadata.nam}}",
            ".fieldRef.fieldPath",
            "did you mean metadata.name?",
        ),
        (
            "{fieldRef: {fieldPath: \"metadata.labels['-']\"}}",
            ".fieldRef.fieldPath",
            "has a key that",
        ),
        (
            "{fieldRef: {fieldPath: metadata.labels}}",
            ".fieldRef.fieldPath",
            "is none of",
        ),
        (
            "{fieldRef: {fieldPath: spec.serviceAccountName}}",
            ".fieldRef.fieldPath",
            "no service accounts",
        ),
        ("{fieldRef: {}}", ".fieldRef.fieldPath", "required"),
        (
            "{resourceFieldRef: {resource: limits.gpu}}",
            ".resourceFieldRef.resource",
            "is none of",
        ),
        (
            "{resourceFieldRef: {resource: limits.cpu, divisor: 1Mi}}",
            ".resourceFieldRef.divisor",
            "must be 1m or 1",
        ),
        (
            "{resourceFieldRef: {resource: limits.memory, divisor: 2Mi}}",
            ".resourceFieldRef.divisor",
            "must be",
        ),
        (
            "{resourceFieldRef: {resource: limits.cpu, containerName: d}}",
            ".resourceFieldRef.containerName",
            "no container",
        ),
    ] {
        let text = container(&format!("env: [{{name: A, valueFrom: {from}}}]"));
        refused(&text, &format!("{path}{field}"), words);
    }
    let both = "env: [{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]";
    refused(
        &container(both),
        path,
        "may not be specified when `value` is not empty",
    );
}

#[test]
fn b37_unsupported_fields_are_named() {
    for field in [
        "nodeSelector: {disk: ssd}",
        "affinity: {nodeAffinity: {}}",
        "topologySpreadConstraints: [{}]",
        "runtimeClassName: gvisor",
        "ephemeralContainers: [{name: d}]",
        "resourceClaims: [{name: r}]",
        "resources: {limits: {cpu: 1}}",
        "readinessGates: [{conditionType: a}]",
        "schedulingGates: [{name: a}]",
        "overhead: {cpu: 1}",
        "hostUsers: false",
        "setHostnameAsFQDN: true",
    ] {
        let name = field.split(':').next().unwrap();
        refused(
            &spec(field),
            &format!("spec.{name}"),
            "not supported by Carob: ",
        );
    }
    for source in [
        "persistentVolumeClaim: {claimName: c}",
        "csi: {driver: d}",
        "nfs: {server: s, path: /}",
        "gitRepo: {repository: r}",
        "ephemeral: {}",
        "image: {reference: r}",
    ] {
        let name = source.split(':').next().unwrap();
        let text = spec(&format!("volumes: [{{name: v, {source}}}]"));
        refused(
            &text,
            &format!("spec.volumes[0].{name}"),
            "not supported by Carob: ",
        );
    }
    refused(
        &container("volumeDevices: [{name: v, devicePath: /dev/x}]"),
        "spec.containers[0].volumeDevices",
        "not supported by Carob: ",
    );
    for (field, path) in [
        ("seLinuxOptions: {level: s0}", "seLinuxOptions"),
        ("windowsOptions: {hostProcess: true}", "windowsOptions"),
        (
            "appArmorProfile: {type: Localhost, localhostProfile: p}",
            "appArmorProfile.type",
        ),
    ] {
        let text = container(&format!("securityContext: {{{field}}}"));
        let path = format!("spec.containers[0].securityContext.{path}");
        refused(&text, &path, "not supported by Carob: ");
    }
    refused(
        &spec("os: {name: windows}"),
        "spec.os.name",
        "Linux containers only",
    );
    refused(
        &container("resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}]"),
        "spec.containers[0].resizePolicy[0].restartPolicy",
        "does not resize",
    );
    refused(
        &metadata(
            "name: p, annotations: {container.apparmor.security.beta.kubernetes.io/c: localhost/x}",
        ),
        "metadata.annotations[\"container.apparmor.security.beta.kubernetes.io/c\"]",
        "AppArmor",
    );
}
