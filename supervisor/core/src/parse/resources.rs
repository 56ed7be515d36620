//! A container's `resources`.

use super::field::Field;
use super::findings::did_you_mean;
use super::object::Object;
use super::unhonoured::RESOURCES;
use crate::pod::{Quantity, Resources};

const KNOWN: [&str; 3] = ["cpu", "ephemeral-storage", "memory"];

/// Requests and limits; a request that is absent is set to its limit (`SetDefaults_Pod`).
pub(super) fn resources(field: &Field<'_>) -> Resources {
    let resources = field.object(RESOURCES, |o| {
        let limits = amounts(o, "limits");
        let requests = amounts(o, "requests");
        let mut resources = Resources::default();
        for (name, field, amount) in requests {
            if let Some((_, _, limit)) = limits.iter().find(|(n, _, _)| *n == name)
                && amount > *limit
            {
                field.invalid(&format!(
                    "must be less than or equal to the {name} limit of {limit}"
                ));
            }
            resources.requests.insert(name.to_owned(), amount);
        }
        for (name, _, limit) in limits {
            let request = resources.requests.entry(name.to_owned());
            request.or_insert_with(|| limit.clone());
            resources.limits.insert(name.to_owned(), limit);
        }
        resources
    });
    resources.unwrap_or_default()
}

fn amounts<'m>(o: &mut Object<'_, 'm>, list: &'static str) -> Vec<(&'m str, Field<'m>, Quantity)> {
    let pairs = o.get(list).map(|f| f.pairs()).unwrap_or_default();
    let read = |(name, field): (&'m str, Field<'m>)| {
        if !is_known(name, &field) {
            return None;
        }
        let amount = field.quantity()?;
        if name == "memory" && amount.milli_value() % 1000 != 0 {
            field.warn(format!(
                "{amount} is a fraction of a byte, rounded up to {}; Mi is a mebibyte, m a thousandth",
                amount.value()
            ));
        }
        if name == "ephemeral-storage" {
            field.warn("`carob daemon` evicts for it, `carob run` does not");
        }
        Some((name, field, amount))
    };
    pairs.into_iter().filter_map(read).collect()
}

fn is_known(name: &str, field: &Field<'_>) -> bool {
    if KNOWN.contains(&name) {
        return true;
    }
    if name.starts_with("hugepages-") {
        field.unsupported("it reserves no huge pages yet; remove the resource");
    } else if name.contains('/') {
        field.unsupported("it has no device plugins; remove the resource");
    } else {
        let hint = did_you_mean(name, &KNOWN);
        field.error(format!(
            "no resource that a container can have ({}){hint}",
            KNOWN.join(", ")
        ));
    }
    false
}

/// The resources that `resourceFieldRef` can name, each `limits.` or `requests.`.
pub(super) fn is_reference(text: &str) -> bool {
    let name = text
        .strip_prefix("limits.")
        .or_else(|| text.strip_prefix("requests."));
    name.is_some_and(|name| KNOWN.contains(&name))
}
