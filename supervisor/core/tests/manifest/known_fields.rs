//! Every field that Kubernetes has is known by its name: honoured, ignored or said to be not supported.

use serde_json::{Value, json};

use crate::parse;

/// The fields of `core/v1` as of Kubernetes 1.37, for each place in a Pod where Carob reads an object.
const FIELDS: &[(&str, &str)] = &[
    (
        "spec",
        "activeDeadlineSeconds affinity automountServiceAccountToken containers dnsConfig \
         dnsPolicy enableServiceLinks ephemeralContainers evictionResponders hostAliases \
         hostIPC hostNetwork hostPID hostUsers hostname hostnameOverride imagePullSecrets \
         initContainers nodeName nodeSelector os overhead preemptionPolicy priority \
         priorityClassName readinessGates resourceClaims resources restartPolicy \
         runtimeClassName schedulerName schedulingGates schedulingGroup securityContext \
         serviceAccount serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain \
         terminationGracePeriodSeconds tolerations topologySpreadConstraints volumes",
    ),
    (
        "spec.containers[0]",
        "args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports \
         readinessProbe resizePolicy resources restartPolicy restartPolicyRules \
         securityContext startupProbe stdin stdinOnce terminationMessagePath \
         terminationMessagePolicy tty volumeDevices volumeMounts workingDir",
    ),
    (
        "spec.containers[0].ports[0]",
        "containerPort hostIP hostPort name protocol",
    ),
    (
        "spec.containers[0].livenessProbe",
        "exec failureThreshold grpc httpGet initialDelaySeconds periodSeconds successThreshold \
         tcpSocket terminationGracePeriodSeconds timeoutSeconds",
    ),
    ("spec.containers[0].livenessProbe.exec", "command"),
    ("spec.containers[0].livenessProbe.grpc", "port service"),
    (
        "spec.containers[0].livenessProbe.httpGet",
        "host httpHeaders path port scheme",
    ),
    (
        "spec.containers[0].livenessProbe.httpGet.httpHeaders[0]",
        "name value",
    ),
    ("spec.containers[0].livenessProbe.tcpSocket", "host port"),
    (
        "spec.containers[0].lifecycle",
        "postStart preStop stopSignal",
    ),
    (
        "spec.containers[0].lifecycle.preStop",
        "exec httpGet sleep tcpSocket",
    ),
    ("spec.containers[0].lifecycle.preStop.sleep", "seconds"),
    (
        "spec.containers[0].restartPolicyRules[0]",
        "action exitCodes",
    ),
    (
        "spec.containers[0].restartPolicyRules[0].exitCodes",
        "operator values",
    ),
    ("spec.containers[0].env[0]", "name value valueFrom"),
    (
        "spec.containers[0].env[0].valueFrom",
        "configMapKeyRef fieldRef fileKeyRef resourceFieldRef secretKeyRef",
    ),
    (
        "spec.containers[0].env[0].valueFrom.fieldRef",
        "apiVersion fieldPath",
    ),
    (
        "spec.containers[0].env[0].valueFrom.resourceFieldRef",
        "containerName divisor resource",
    ),
    (
        "spec.containers[0].env[0].valueFrom.configMapKeyRef",
        "key name optional",
    ),
    (
        "spec.containers[0].env[0].valueFrom.secretKeyRef",
        "key name optional",
    ),
    (
        "spec.containers[0].envFrom[0]",
        "configMapRef prefix secretRef",
    ),
    (
        "spec.containers[0].envFrom[0].configMapRef",
        "name optional",
    ),
    ("spec.containers[0].envFrom[0].secretRef", "name optional"),
    (
        "spec.volumes[0].configMap",
        "defaultMode items name optional",
    ),
    ("spec.volumes[0].configMap.items[0]", "key mode path"),
    (
        "spec.volumes[0].secret",
        "defaultMode items optional secretName",
    ),
    ("spec.volumes[0].downwardAPI", "defaultMode items"),
    (
        "spec.volumes[0].downwardAPI.items[0]",
        "fieldRef mode path resourceFieldRef",
    ),
    ("spec.volumes[0].projected", "defaultMode sources"),
    (
        "spec.volumes[0].projected.sources[0]",
        "clusterTrustBundle configMap downwardAPI podCertificate secret serviceAccountToken",
    ),
    (
        "spec.volumes[0].projected.sources[0].configMap",
        "items name optional",
    ),
    (
        "spec.volumes[0].projected.sources[0].secret",
        "items name optional",
    ),
    (
        "spec.volumes[0]",
        "awsElasticBlockStore azureDisk azureFile cephfs cinder configMap csi downwardAPI \
         emptyDir ephemeral fc flexVolume flocker gcePersistentDisk gitRepo glusterfs \
         hostPath image iscsi name nfs persistentVolumeClaim photonPersistentDisk \
         portworxVolume projected quobyte rbd scaleIO secret storageos vsphereVolume",
    ),
    ("spec.volumes[0].emptyDir", "medium mode sizeLimit"),
    ("spec.volumes[0].hostPath", "path type"),
    (
        "spec.containers[0].volumeMounts[0]",
        "bindMountOptions mountPath mountPropagation name readOnly recursiveReadOnly subPath \
         subPathExpr",
    ),
    (
        "spec.containers[0].securityContext",
        "allowPrivilegeEscalation appArmorProfile capabilities privileged procMount \
         readOnlyRootFilesystem runAsGroup runAsNonRoot runAsUser seLinuxOptions \
         seccompProfile windowsOptions",
    ),
    (
        "spec.securityContext",
        "appArmorProfile fsGroup fsGroupChangePolicy runAsGroup runAsNonRoot runAsUser \
         seLinuxChangePolicy seLinuxOptions seccompProfile supplementalGroups \
         supplementalGroupsPolicy sysctls windowsOptions",
    ),
    ("spec.containers[0].resources", "claims limits requests"),
    ("spec.imagePullSecrets[0]", "name"),
    ("spec.dnsConfig", "nameservers options searches"),
    ("spec.dnsConfig.options[0]", "name value"),
    ("spec.hostAliases[0]", "hostnames ip"),
    ("spec.securityContext.sysctls[0]", "name value"),
    (
        "spec.securityContext.seccompProfile",
        "localhostProfile type",
    ),
    (
        "spec.securityContext.appArmorProfile",
        "localhostProfile type",
    ),
    (
        "metadata",
        "annotations creationTimestamp deletionGracePeriodSeconds deletionTimestamp \
         finalizers generateName generation labels managedFields name namespace \
         ownerReferences resourceVersion selfLink uid",
    ),
];

/// An object at such a path, with this value.
fn at(path: &str, value: Value) -> Value {
    path.rsplit('.')
        .fold(value, |value, part| match part.strip_suffix("[0]") {
            Some(list) => json!({ list: [value] }),
            None => json!({ part: value }),
        })
}

#[test]
fn every_field_of_kubernetes_is_known() {
    for (path, fields) in FIELDS {
        for field in fields.split_whitespace() {
            let text = at(path, json!({ field: "x" })).to_string();
            let errors = parse(&text).expect_err("the value is wrong");
            let full = format!("{path}.{field}");
            let unknown = errors
                .errors
                .iter()
                .find(|e| e.path == full && e.message.contains("unknown"));
            assert_eq!(unknown, None, "{text}");
            let noted = errors.report.iter().any(|n| n.path.starts_with(&full));
            assert!(noted, "{full} is not read\n{errors}");
            let odd = at(path, json!({ "x": "x" })).to_string();
            let errors = parse(&odd).expect_err("an unknown field");
            assert!(
                errors
                    .to_string()
                    .contains(&format!("{path}.x: unknown field")),
                "{errors}"
            );
        }
    }
}
