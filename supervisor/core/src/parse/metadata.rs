//! `metadata`: who the Pod is.

use std::collections::BTreeMap;

use super::field::Field;
use super::names::{dns_label, dns_subdomain, label_value, qualified_name, uid};
use super::object::Object;
use super::unhonoured::METADATA;
use crate::pod::Metadata;

/// Kubernetes' `TotalAnnotationSizeLimitB`.
const MAX_ANNOTATIONS: usize = 256 << 10;

/// The annotations by which AppArmor was configured before Kubernetes 1.30.
const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Who the Pod is; what is missing or wrong has been reported.
pub(super) fn metadata(
    field: &Field<'_>,
    make_uid: &mut dyn FnMut() -> String,
) -> Option<Metadata> {
    field.object(METADATA, |o| {
        let name = name(o);
        let namespace = match o.text("namespace") {
            Some(field) => field.checked(dns_label).map(str::to_owned),
            None => Some(Metadata::DEFAULT_NAMESPACE.to_owned()),
        };
        let uid = match o.text("uid") {
            Some(field) => field.checked(uid).map(str::to_owned),
            None => Some(make_uid()),
        };
        let labels = o.get("labels").map(|f| labels(&f)).unwrap_or_default();
        let annotations = o
            .get("annotations")
            .map(|f| annotations(&f))
            .unwrap_or_default();
        Some(Metadata {
            name: name?,
            namespace: namespace?,
            uid: uid?,
            labels,
            annotations,
        })
    })?
}

fn name(o: &mut Object<'_, '_>) -> Option<String> {
    let generate = o.text("generateName");
    let Some(field) = o.text("name") else {
        o.missing(
            "name",
            match generate {
                Some(_) => "required; Carob does not make names of generateName",
                None => "required",
            },
        );
        return None;
    };
    if let Some(generate) = generate {
        generate.ignore("the Pod has a name");
    }
    field.checked(dns_subdomain).map(str::to_owned)
}

fn labels(field: &Field<'_>) -> BTreeMap<String, String> {
    let pairs = field.pairs().into_iter().filter_map(|(key, value)| {
        if let Err(rule) = qualified_name(key) {
            value.error(format!("the key {rule}"));
        }
        Some((key.to_owned(), value.checked(label_value)?.to_owned()))
    });
    pairs.collect()
}

fn annotations(field: &Field<'_>) -> BTreeMap<String, String> {
    let pairs = field.pairs().into_iter().filter_map(|(key, value)| {
        // Kubernetes takes annotations' keys in any case.
        if let Err(rule) = qualified_name(&key.to_ascii_lowercase()) {
            value.error(format!("the key {rule}"));
        }
        let text = value.string()?;
        if key.starts_with(APPARMOR) && !matches!(text, "runtime/default" | "unconfined" | "") {
            value.unsupported("it loads no AppArmor profiles; remove the annotation");
        }
        Some((key.to_owned(), text.to_owned()))
    });
    let annotations: BTreeMap<String, String> = pairs.collect();
    let size: usize = annotations.iter().map(|(k, v)| k.len() + v.len()).sum();
    if size > MAX_ANNOTATIONS {
        field.error(format!(
            "must have at most {MAX_ANNOTATIONS} bytes in all, has {size}"
        ));
    }
    annotations
}
