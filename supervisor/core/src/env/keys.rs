//! Values that come from ConfigMaps and Secrets.

use super::EnvError;
use crate::config::{ConfigObject, Datum, ObjectSet};
use crate::pod::{KeyRef, ObjectRef, Pod};

/// A ConfigMap or Secret; none when it is not there and need not be.
pub(super) fn find<'o>(
    pod: &Pod,
    reference: &ObjectRef,
    objects: &'o ObjectSet,
) -> Result<Option<&'o ConfigObject>, EnvError> {
    match objects.referred(&pod.metadata.namespace, reference) {
        Some(object) => Ok(Some(object)),
        None if reference.optional => Ok(None),
        None => Err(EnvError::NotFound {
            kind: reference.kind,
            name: reference.name.clone(),
        }),
    }
}

/// The value of a key; none when it is not there and need not be.
pub(super) fn value_of(
    pod: &Pod,
    variable: &str,
    KeyRef { object, key }: &KeyRef,
    objects: &ObjectSet,
) -> Result<Option<String>, EnvError> {
    let Some(found) = find(pod, object, objects)? else {
        return Ok(None);
    };
    match found.data.get(key).filter(|datum| !datum.binary) {
        Some(datum) => text(variable, key, found, datum).map(Some),
        None if object.optional => Ok(None),
        None => Err(EnvError::NoKey {
            key: key.clone(),
            object: found.id.clone(),
        }),
    }
}

/// What a key holds, as a value.
pub(super) fn text(
    variable: &str,
    key: &str,
    object: &ConfigObject,
    datum: &Datum,
) -> Result<String, EnvError> {
    let text = String::from_utf8(datum.bytes.clone()).ok();
    text.filter(|text| !text.contains('\0'))
        .ok_or_else(|| EnvError::NoText {
            variable: variable.to_owned(),
            key: key.to_owned(),
            object: object.id.clone(),
        })
}
