//! Bad volumes, mounts, users, capabilities and kernel parameters.

use crate::{accepted, container, refused, spec};

#[test]
fn b16_volumes() {
    refused(
        &spec("volumes: [{name: v}, {name: v}]"),
        "spec.volumes[1].name",
        "is there twice",
    );
    refused(
        &container("volumeMounts: [{name: w, mountPath: /a}]"),
        "spec.containers[0].volumeMounts[0].name",
        "\"w\" is no volume of this Pod; add it to spec.volumes; did you mean v?",
    );
    for paths in [["/a", "/a"], ["/a", "a/"], ["/a/./b", "/a//b"]] {
        let mounts = paths
            .map(|path| format!("{{name: v, mountPath: {path}}}"))
            .join(", ");
        let text = container(&format!("volumeMounts: [{mounts}]"));
        refused(
            &text,
            "spec.containers[0].volumeMounts[1].mountPath",
            "is there twice",
        );
    }
    refused(
        &spec("volumes: [{name: v, emptyDir: {}, hostPath: {path: /}}]"),
        "spec.volumes[0].hostPath",
        "one source",
    );
    refused(
        &spec("volumes: [{name: v, hostPath: }]"),
        "spec.volumes[0].hostPath",
        "has no value",
    );
    refused(
        &spec("volumes: [{name: V}]"),
        "spec.volumes[0].name",
        "RFC 1123 label",
    );
    refused(
        &spec("volumes: [{name: v, emptyDir: {medium: memory}}]"),
        "spec.volumes[0].emptyDir.medium",
        "did you mean Memory?",
    );
    refused(
        &spec("volumes: [{name: v, emptyDir: {sizeLimit: -1}}]"),
        "spec.volumes[0].emptyDir.sizeLimit",
        "greater than or equal to 0",
    );
}

#[test]
fn b17_mount_paths() {
    let path = "spec.containers[0].volumeMounts[0]";
    let mount = |more: &str| container(&format!("volumeMounts: [{{name: v, {more}}}]"));
    for (more, field, words) in [
        ("mountPath: /", "mountPath", "it is the container's root"),
        ("mountPath: //.", "mountPath", "it is the container's root"),
        ("mountPath: .", "mountPath", "it is the container's root"),
        ("mountPath: \"/a:b\"", "mountPath", "must not contain ':'"),
        ("mountPath: /a/../..", "mountPath", "must not contain '..'"),
        ("mountPath: /proc", "mountPath", "it is in /proc"),
        ("mountPath: /proc/sys", "mountPath", "it is in /proc"),
        ("readOnly: true", "mountPath", "required"),
        (
            "mountPath: /a, subPath: /b",
            "subPath",
            "must be a relative path",
        ),
        (
            "mountPath: /a, subPath: b/../..",
            "subPath",
            "must not contain '..'",
        ),
        (
            "mountPath: /a, subPathExpr: ../$(A)",
            "subPathExpr",
            "must not contain '..'",
        ),
        (
            "mountPath: /a, subPath: b, subPathExpr: c",
            "subPathExpr",
            "mutually exclusive",
        ),
        (
            "mountPath: /a, mountPropagation: Bidirectional",
            "mountPropagation",
            "only to privileged containers",
        ),
        (
            "mountPath: /a, mountPropagation: none",
            "mountPropagation",
            "did you mean None?",
        ),
        (
            "mountPath: /a, recursiveReadOnly: Enabled",
            "recursiveReadOnly",
            "not supported by Carob",
        ),
    ] {
        refused(&mount(more), &format!("{path}.{field}"), words);
    }
    let relative = accepted(&mount("mountPath: a/b/"));
    assert_eq!(
        relative.pods[0].spec.containers[0].volume_mounts[0].mount_path,
        "/a/b"
    );
    accepted(&mount("mountPath: /proc/meminfo"));
    let message = "spec.containers[0].terminationMessagePath";
    refused(
        &container("terminationMessagePath: log"),
        message,
        "absolute",
    );
    refused(&container("terminationMessagePath: /"), message, "root");
    for dir in [
        "/proc/self/fd/7",
        "/proc//self/./fd/3/../..",
        "/proc/1/task/1/fd/3",
        "/dev/fd/5",
        "/proc/self/cwd",
    ] {
        let text = container(&format!("workingDir: {dir}"));
        refused(&text, "spec.containers[0].workingDir", "file descriptors");
    }
    refused(
        &container("workingDir: app"),
        "spec.containers[0].workingDir",
        "absolute",
    );
}

#[test]
fn b18_host_paths() {
    let volume = |source: &str| spec(&format!("volumes: [{{name: v, hostPath: {{{source}}}}}]"));
    let path = "spec.volumes[0].hostPath";
    refused(&volume(""), &format!("{path}.path"), "required");
    refused(
        &volume("path: data"),
        &format!("{path}.path"),
        "must be an absolute path",
    );
    refused(
        &volume("path: /a/../b"),
        &format!("{path}.path"),
        "must not contain '..'",
    );
    refused(
        &volume("path: /a, type: directory"),
        &format!("{path}.type"),
        "did you mean Directory?",
    );
}

#[test]
fn b25_users() {
    for id in ["-1", "2147483648", "4294967296", "99999999999999999999"] {
        let words = "must be between 0 and 2147483647, inclusive";
        let text = container(&format!("securityContext: {{runAsUser: {id}}}"));
        refused(&text, "spec.containers[0].securityContext.runAsUser", words);
        let text = spec(&format!(
            "securityContext: {{supplementalGroups: [1, {id}]}}"
        ));
        refused(&text, "spec.securityContext.supplementalGroups[1]", words);
    }
    refused(
        &spec("securityContext: {runAsUser: root}"),
        "spec.securityContext.runAsUser",
        "\"root\" is not a whole number",
    );
}

#[test]
fn b26_capabilities() {
    let add = |name: &str| {
        container(&format!(
            "securityContext: {{capabilities: {{add: [{name}]}}}}"
        ))
    };
    let path = "spec.containers[0].securityContext.capabilities.add[0]";
    refused(
        &add("CAP_NET_ADMIN"),
        path,
        "must be written without CAP_: NET_ADMIN",
    );
    refused(&add("CAP_FOO"), path, "is no capability of Linux");
    refused(&add("NET_ADMN"), path, "did you mean NET_ADMIN?");
    let text = container("securityContext: {capabilities: {add: [net_admin, ALL], drop: [ALL]}}");
    let manifest = accepted(&text);
    let capabilities = &manifest.pods[0].spec.containers[0].security.capabilities;
    assert_eq!(capabilities.add, ["NET_ADMIN", "ALL"]);
}

#[test]
fn b27_sysctls() {
    let sysctl = |name: &str, value: &str| {
        spec(&format!(
            "securityContext: {{sysctls: [{{name: {name:?}, value: {value:?}}}]}}"
        ))
    };
    let path = "spec.securityContext.sysctls[0]";
    for name in [
        "kernel.core_pattern",
        "kernel.msgmax",
        "net/../kernel/core_pattern",
        "net.ipv4.tcp_rmem+x",
        "a\nb",
    ] {
        refused(
            &sysctl(name, "1"),
            &format!("{path}.name"),
            "none of the sysctls that are safe",
        );
    }
    for value in ["1\n2", "1+kernel.core_pattern=x", "|/bin/sh"] {
        refused(
            &sysctl("net.ipv4.tcp_rmem", value),
            &format!("{path}.value"),
            "must consist of digits",
        );
    }
    refused(
        &spec(
            "hostNetwork: true\nsecurityContext: {sysctls: [{name: net.ipv4.tcp_syncookies, value: \"1\"}]}",
        ),
        &format!("{path}.name"),
        "cannot be set with hostNetwork",
    );
    refused(
        &spec(
            "hostIPC: true\nsecurityContext: {sysctls: [{name: kernel.shm_rmid_forced, value: \"1\"}]}",
        ),
        &format!("{path}.name"),
        "cannot be set with hostIPC",
    );
    let manifest = accepted(&sysctl("net/ipv4/ping_group_range", "0 2147483647"));
    assert_eq!(
        manifest.pods[0].spec.security.sysctls[0].name,
        "net.ipv4.ping_group_range"
    );
}

#[test]
fn b28_privileged_without_escalation() {
    refused(
        &container("securityContext: {privileged: true, allowPrivilegeEscalation: false}"),
        "spec.containers[0].securityContext.allowPrivilegeEscalation",
        "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
    );
}

#[test]
fn b28_seccomp_profiles() {
    let profile = |fields: &str| {
        container(&format!(
            "securityContext: {{seccompProfile: {{{fields}}}}}"
        ))
    };
    let path = "spec.containers[0].securityContext.seccompProfile";
    for (fields, field, words) in [
        ("", "type", "required"),
        (
            "type: runtimeDefault",
            "type",
            "did you mean RuntimeDefault?",
        ),
        (
            "type: Localhost",
            "localhostProfile",
            "required when the type is Localhost",
        ),
        (
            "type: Localhost, localhostProfile: ''",
            "localhostProfile",
            "must name a file",
        ),
        (
            "type: Localhost, localhostProfile: /a",
            "localhostProfile",
            "must be a relative path",
        ),
        (
            "type: Localhost, localhostProfile: ../a",
            "localhostProfile",
            "must not contain '..'",
        ),
        (
            "type: Unconfined, localhostProfile: a",
            "localhostProfile",
            "only be set when",
        ),
    ] {
        refused(&profile(fields), &format!("{path}.{field}"), words);
    }
}
