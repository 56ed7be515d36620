//! A container's `env` and `envFrom`.

use std::collections::BTreeSet;

use super::downward::{ENV_PATHS, ResourceRef, field_ref, resource_ref};
use super::field::Field;
use super::names::{config_key, dns_subdomain, env_name};
use super::object::Object;
use super::unhonoured::{ENV_SOURCE, NONE};
use crate::config::ObjectKind;
use crate::pod::{EnvFrom, EnvSource, EnvVar, KeyRef, ObjectRef};

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
    let found = [
        o.get("fieldRef").map(|field| {
            let path = field.object(NONE, |o| field_ref(o, ENV_PATHS)).flatten();
            path.map(EnvSource::Field)
        }),
        o.get("resourceFieldRef").map(|field| {
            let amount = field
                .object(NONE, |o| resource_ref(o, containers))
                .flatten();
            amount.map(
                |ResourceRef {
                     container,
                     resource,
                     divisor,
                 }| EnvSource::Resource {
                    container,
                    resource,
                    divisor,
                },
            )
        }),
        key_ref(o, "configMapKeyRef", ObjectKind::ConfigMap),
        key_ref(o, "secretKeyRef", ObjectKind::Secret),
    ];
    let mut found = found.into_iter().flatten();
    let first = found.next();
    if found.next().is_some() {
        from.error("may not have more than one field specified at a time");
        return None;
    }
    // A source that is not supported is an error of its own.
    let refused = || {
        let mut others = ENV_SOURCE.iter();
        others.any(|(name, _)| from.node().entry(name).is_some())
    };
    if first.is_none() && !refused() {
        from.error(
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef`",
        );
    }
    first?
}

/// Nothing when there is none, an inner nothing when it is wrong.
fn key_ref(
    o: &mut Object<'_, '_>,
    name: &'static str,
    kind: ObjectKind,
) -> Option<Option<EnvSource>> {
    let field = o.get(name)?;
    let read = field.object(NONE, |o| {
        let key = o
            .require("key")
            .and_then(|f| f.checked(config_key).map(str::to_owned));
        let object = object_ref(o, "name", kind);
        Some(EnvSource::Key(KeyRef {
            object: object?,
            key: key?,
        }))
    });
    Some(read.flatten())
}

/// A ConfigMap or Secret by its name, and whether one can do without.
pub(super) fn object_ref(
    o: &mut Object<'_, '_>,
    name: &'static str,
    kind: ObjectKind,
) -> Option<ObjectRef> {
    let optional = o.bool("optional").unwrap_or_default();
    let name = o.require(name)?.checked(dns_subdomain)?;
    Some(ObjectRef {
        kind,
        name: name.to_owned(),
        optional,
    })
}

/// One entry of `envFrom`.
pub(super) fn all_of(field: &Field<'_>) -> Option<EnvFrom> {
    field.object(NONE, |o| {
        let prefix = o
            .text("prefix")
            .map(|f| f.checked(env_name).map(str::to_owned));
        let whole = |field: Option<Field<'_>>, kind| {
            field.map(|f| f.object(NONE, |o| object_ref(o, "name", kind)).flatten())
        };
        let map = whole(o.get("configMapRef"), ObjectKind::ConfigMap);
        let secret = whole(o.get("secretRef"), ObjectKind::Secret);
        let object = match (map, secret) {
            (Some(_), Some(_)) => {
                field.error("may not have more than one field specified at a time");
                None
            }
            (None, None) => {
                field.error("must specify one of: `configMapRef` or `secretRef`");
                None
            }
            (Some(object), None) | (None, Some(object)) => object,
        };
        Some(EnvFrom {
            prefix: match prefix {
                Some(prefix) => prefix?,
                None => String::new(),
            },
            object: object?,
        })
    })?
}
