//! A container's `env`.

use std::collections::BTreeSet;

use super::field::Field;
use super::findings::did_you_mean;
use super::names::{env_name, qualified_name};
use super::object::Object;
use super::resources::is_reference;
use super::unhonoured::{ENV_SOURCE, NONE};
use crate::pod::{EnvSource, EnvVar, Quantity};

/// The downward API's paths for variables (`validEnvDownwardAPIFieldPathExpressions`).
const PATHS: [&str; 8] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// One variable. `containers` are the names of all containers of the Pod.
pub(super) fn variable(field: &Field<'_>, containers: &BTreeSet<&str>) -> Option<EnvVar> {
    field.object(NONE, |o| {
        let name = o.require("name").and_then(|f| f.checked(env_name));
        let value = o.text("value");
        let source = match (o.get("valueFrom"), &value) {
            (Some(from), Some(_)) => {
                from.error("may not be specified when `value` is not empty");
                None
            }
            (Some(from), None) => from.object(ENV_SOURCE, |o| value_from(&from, o, containers))?,
            (None, Some(value)) => value.string().map(|text| EnvSource::Value(text.to_owned())),
            (None, None) => Some(EnvSource::Value(String::new())),
        };
        Some(EnvVar {
            name: name?.to_owned(),
            source: source?,
        })
    })?
}

fn value_from(
    from: &Field<'_>,
    o: &mut Object<'_, '_>,
    containers: &BTreeSet<&str>,
) -> Option<EnvSource> {
    match (o.get("fieldRef"), o.get("resourceFieldRef")) {
        (Some(_), Some(_)) => {
            from.error("may not have more than one field specified at a time");
            None
        }
        (Some(field), None) => field.object(NONE, field_ref)?,
        (None, Some(field)) => field.object(NONE, |o| resource_ref(o, containers))?,
        (None, None) => {
            // A source that is not supported is an error of its own.
            let others = ENV_SOURCE
                .iter()
                .any(|(name, _)| from.node().entry(name).is_some());
            if !others {
                from.error("must specify one of: `fieldRef`, `resourceFieldRef`");
            }
            None
        }
    }
}

fn field_ref(o: &mut Object<'_, '_>) -> Option<EnvSource> {
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
        None if PATHS.contains(&path) => {}
        None => {
            let hint = did_you_mean(path, &PATHS);
            field.invalid(&format!(
                "is none of {}, metadata.labels['KEY'], metadata.annotations['KEY']{hint}",
                PATHS.join(", ")
            ));
        }
    }
    Some(EnvSource::Field(path.to_owned()))
}

fn resource_ref(o: &mut Object<'_, '_>, containers: &BTreeSet<&str>) -> Option<EnvSource> {
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
    Some(EnvSource::Resource {
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
