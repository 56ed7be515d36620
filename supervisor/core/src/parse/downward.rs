//! What is known of a Pod, for variables and files: `fieldRef` and `resourceFieldRef`.

use std::collections::BTreeSet;

use super::findings::did_you_mean;
use super::names::qualified_name;
use super::object::Object;
use super::resources::is_reference;
use crate::pod::Quantity;

/// The downward API's paths for variables (`validEnvDownwardAPIFieldPathExpressions`).
pub(super) const ENV_PATHS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// The downward API's paths for files (`validVolumeDownwardAPIFieldPathExpressions`).
pub(super) const FILE_PATHS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "metadata.labels",
    "metadata.annotations",
];

/// An amount that a container has or asks for.
pub(super) struct ResourceRef {
    /// Its name; absent for the container that asks.
    pub container: Option<String>,
    pub resource: String,
    /// Never zero.
    pub divisor: Quantity,
}

/// The path of a `fieldRef`: one of `paths`, or a label or annotation.
pub(super) fn field_ref(o: &mut Object<'_, '_>, paths: &[&str]) -> Option<String> {
    if let Some(version) = o.text("apiVersion") {
        version.choice(&[("v1", ())]);
    }
    let field = o.require("fieldPath")?;
    let path = field.string()?;
    if path == "spec.serviceAccountName" {
        field.unsupported("it has no service accounts; write the value into the manifest");
        return None;
    }
    let subscript = ["metadata.labels['", "metadata.annotations['"]
        .iter()
        .find_map(|prefix| path.strip_prefix(prefix)?.strip_suffix("']"));
    match subscript {
        Some(key) => {
            // Kubernetes takes annotations' keys in any case.
            if let Err(rule) = qualified_name(key) {
                field.invalid(&format!("has a key that {rule}"));
            }
        }
        None if paths.contains(&path) => {}
        None => {
            let hint = did_you_mean(path, paths);
            field.invalid(&format!(
                "is none of {}, metadata.labels['KEY'], metadata.annotations['KEY']{hint}",
                paths.join(", ")
            ));
        }
    }
    Some(path.to_owned())
}

/// A `resourceFieldRef`.
pub(super) fn resource_ref(
    o: &mut Object<'_, '_>,
    containers: &BTreeSet<&str>,
) -> Option<ResourceRef> {
    let container = o.text("containerName").and_then(|field| {
        let name = field.string()?;
        if !containers.contains(name) {
            field.invalid("is no container of this Pod");
        }
        Some(name.to_owned())
    });
    let resource = o.require("resource").and_then(|field| {
        let text = field.string()?;
        if !is_reference(text) {
            field.invalid(
                "is none of limits.cpu, limits.memory, limits.ephemeral-storage and the same with requests",
            );
            return None;
        }
        Some(text.to_owned())
    });
    let given = o.text("divisor");
    let divisor = given
        .as_ref()
        .and_then(|f| f.quantity())
        .filter(|d| !d.is_zero());
    let divisor = divisor.unwrap_or_else(|| Quantity::from(1));
    let (resource, field) = (resource?, given);
    if let Some(field) = field
        && !is_divisor(&resource, &divisor)
    {
        let allowed = if resource.ends_with(".cpu") {
            "1m or 1"
        } else {
            "1, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi or Ei with a 1 before it"
        };
        field.invalid(&format!("must be {allowed}"));
    }
    Some(ResourceRef {
        container,
        resource,
        divisor,
    })
}

/// `validateContainerResourceDivisor`.
fn is_divisor(resource: &str, divisor: &Quantity) -> bool {
    let allowed: &[&str] = match resource.ends_with(".cpu") {
        true => &["1m", "1"],
        false => &[
            "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
        ],
    };
    allowed
        .iter()
        .any(|text| text.parse().is_ok_and(|q: Quantity| q == *divisor))
}
