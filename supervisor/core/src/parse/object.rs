//! Readers of maps: each asks for the keys that it knows; a key that nobody asked for is an error.

use super::field::Field;
use super::findings::did_you_mean;
use super::tree::{Entry, Node, Value};
use super::unhonoured::{Others, Why};

const EMPTY: &str = "empty: the same as leaving it out";

/// A map that is being read.
pub(super) struct Object<'a, 'm> {
    field: &'a Field<'m>,
    entries: &'m [Entry],
    asked: Vec<&'static str>,
}

impl<'a, 'm> Object<'a, 'm> {
    pub fn new(field: &'a Field<'m>, entries: &'m [Entry]) -> Self {
        let asked = Vec::new();
        Object {
            field,
            entries,
            asked,
        }
    }

    /// A field; a null is as good as none.
    pub fn get(&mut self, name: &'static str) -> Option<Field<'m>> {
        self.asked.push(name);
        let entry = self.entries.iter().find(|e| e.key.text == name)?;
        let field = self.field.child(entry);
        if entry.value.is_null() {
            field.ignore(EMPTY);
            return None;
        }
        // Maps, and lists of them, are spoken for by their own fields.
        let speaks = match &entry.value.value {
            Value::Scalar(_) => true,
            Value::List(items) => !items.iter().any(|i| matches!(i.value, Value::Map(_))),
            Value::Map(entries) => entries.is_empty(),
        };
        if speaks {
            field.honour();
        }
        Some(field)
    }

    /// A string's field; an empty string is as good as none, as in Kubernetes.
    pub fn text(&mut self, name: &'static str) -> Option<Field<'m>> {
        let field = self.get(name)?;
        match &field.node().value {
            Value::Scalar(scalar) if scalar.text.is_empty() => {
                field.ignore(EMPTY);
                None
            }
            _ => Some(field),
        }
    }

    /// A field that must be there.
    pub fn require(&mut self, name: &'static str) -> Option<Field<'m>> {
        let field = self.text(name);
        if field.is_none() {
            self.missing(name, "required");
        }
        field
    }

    /// Reports that a field should be there.
    pub fn missing(&self, name: &str, message: impl Into<String>) {
        self.field.missing(name, message);
    }

    /// The keys that have no value.
    pub fn null_keys(&self) -> impl Iterator<Item = &'m str> {
        let nulls = self.entries.iter().filter(|e| e.value.is_null());
        nulls.map(|e| &*e.key.text)
    }

    /// A list's items; none when it is absent.
    pub fn list(&mut self, name: &'static str) -> Vec<Field<'m>> {
        self.get(name).map(|f| f.items()).unwrap_or_default()
    }

    pub fn strings(&mut self, name: &'static str) -> Vec<String> {
        self.get(name).map(|f| f.strings()).unwrap_or_default()
    }

    pub fn bool(&mut self, name: &'static str) -> Option<bool> {
        self.get(name)?.bool()
    }

    /// A boolean that Carob knows one value of.
    pub fn only(&mut self, name: &'static str, value: bool, why: &str) {
        if let Some(field) = self.get(name)
            && field.bool().is_some_and(|given| given != value)
        {
            field.unsupported(why);
        }
    }

    /// Reports every key that was not asked for.
    pub fn unasked(&self, others: Others) {
        for entry in self.entries {
            let key = &*entry.key.text;
            if self.asked.contains(&key) {
                continue;
            }
            let field = self.field.child(entry);
            match others.iter().find(|(name, _)| *name == key) {
                Some((_, Why::Ignored(why))) => field.ignore(*why),
                Some((_, Why::Unsupported(_))) if is_empty(&entry.value) => field.ignore(EMPTY),
                Some((_, Why::Never(_))) if entry.value.is_null() => field.ignore(EMPTY),
                Some((_, Why::Unsupported(why) | Why::Never(why))) => field.unsupported(why),
                None => {
                    let known = self.asked.iter().chain(others.iter().map(|(name, _)| name));
                    let known: Vec<&str> = known.copied().collect();
                    let hint = did_you_mean(key, &known);
                    field.error_at_key(format!("unknown field{hint}"));
                }
            }
        }
    }
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(scalar) => scalar.is_null(),
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
    }
}
