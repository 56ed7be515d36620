//! Readers of single values, by type.
//!
//! A reader that meets an error reports it and gives nothing, so that one run finds every error.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::findings::{Findings, did_you_mean};
use super::names::Check;
use super::object::Object;
use super::report::Verdict;
use super::tree::{Entry, Node, Position, Scalar, Value, child, quoted};
use super::unhonoured::Others;
use crate::pod::Quantity;

/// A value with its place and its name.
#[derive(Clone)]
pub(super) struct Field<'m> {
    found: &'m Findings,
    path: String,
    key_at: Position,
    node: &'m Node,
}

impl<'m> Field<'m> {
    /// The value of a whole document.
    pub fn root(found: &'m Findings, node: &'m Node) -> Self {
        let (path, key_at) = (String::new(), node.at);
        Field {
            found,
            path,
            key_at,
            node,
        }
    }

    pub fn node(&self) -> &'m Node {
        self.node
    }

    /// Reports an error at the value.
    pub fn error(&self, message: impl Into<String>) {
        self.found.error(self.node.at, self.path.clone(), message);
    }

    /// Reports an error at the key.
    pub fn error_at_key(&self, message: impl Into<String>) {
        self.found.error(self.key_at, self.path.clone(), message);
    }

    /// Reports that a key of this map should be there, or should have a value.
    pub fn missing(&self, key: &str, message: impl Into<String>) {
        let at = self.node.entry(key).map_or(self.node.at, |e| e.key_at);
        self.found.error(at, child(&self.path, key), message);
    }

    /// Reports an error about the value: `"x" must be …`.
    pub fn invalid(&self, rule: &str) {
        let value = match &self.node.value {
            Value::Scalar(scalar) => quoted(&scalar.text),
            _ => "this".to_owned(),
        };
        self.error(format!("{value} {rule}"));
    }

    /// Notes that the field has its effect.
    pub fn honour(&self) {
        self.note(Verdict::Honoured);
    }

    /// Notes what its author may not have meant.
    pub fn warn(&self, why: impl Into<Cow<'static, str>>) {
        self.note(Verdict::Warned(why.into()));
    }

    /// Notes that it has no effect.
    pub fn ignore(&self, why: impl Into<Cow<'static, str>>) {
        self.note(Verdict::Ignored(why.into()));
    }

    fn note(&self, verdict: Verdict) {
        self.found.note(self.key_at, &self.path, verdict);
    }

    /// Reports that Carob knows the field, or its value, but cannot do it.
    pub fn unsupported(&self, why: &str) {
        self.error_at_key(format!("not supported by Carob: {why}"));
    }

    fn wrong_type(&self, wanted: &str) {
        let found = match &self.node.value {
            Value::Scalar(scalar) if scalar.plain => {
                return self.invalid(&format!("is not {wanted}"));
            }
            Value::Scalar(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        };
        self.error(format!("must be {wanted}, not {found}"));
    }

    /// A map with known keys. `read` asks for those that Carob honours; `others` are those that it knows
    /// but does not honour; any other key is an error.
    pub fn object<R>(
        &self,
        others: Others,
        read: impl FnOnce(&mut Object<'_, 'm>) -> R,
    ) -> Option<R> {
        let Value::Map(entries) = &self.node.value else {
            self.wrong_type("a map");
            return None;
        };
        let mut object = Object::new(self, entries);
        let result = read(&mut object);
        object.unasked(others);
        Some(result)
    }

    /// A list's items; none when it is no list.
    pub fn items(&self) -> Vec<Field<'m>> {
        let Value::List(items) = &self.node.value else {
            self.wrong_type("a list");
            return Vec::new();
        };
        let item = |(i, node): (usize, &'m Node)| {
            let path = format!("{}[{i}]", self.path);
            Field {
                found: self.found,
                path,
                key_at: node.at,
                node,
            }
        };
        items.iter().enumerate().map(item).collect()
    }

    /// A map with keys of the user's choice, such as labels.
    pub fn pairs(&self) -> Vec<(&'m str, Field<'m>)> {
        let Value::Map(entries) = &self.node.value else {
            self.wrong_type("a map");
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for entry in entries {
            let field = self.child(entry);
            if let Some(other) = entry.key.other_type() {
                let key = quoted(&entry.key.text);
                field.error_at_key(format!(
                    "a key must be a string, YAML takes {key} for {other}; quote it"
                ));
                continue;
            }
            field.honour();
            pairs.push((&*entry.key.text, field));
        }
        pairs
    }

    /// The value of a key, when this is a map that has it.
    pub fn entry(&self, key: &str) -> Option<Field<'m>> {
        self.node.entry(key).map(|entry| self.child(entry))
    }

    /// The value of an entry of this map.
    pub fn child(&self, entry: &'m Entry) -> Field<'m> {
        Field {
            found: self.found,
            path: child(&self.path, &entry.key.text),
            key_at: entry.key_at,
            node: &entry.value,
        }
    }

    fn scalar(&self, wanted: &str) -> Option<&'m Scalar> {
        match &self.node.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => {
                self.wrong_type(wanted);
                None
            }
        }
    }

    /// A string. What YAML 1.1 takes for another type must be quoted, as for `kubectl`.
    pub fn string(&self) -> Option<&'m str> {
        let scalar = self.scalar("a string")?;
        if let Some(other) = scalar.other_type() {
            self.error(format!(
                "must be a string, but YAML takes {0} for {other}; quote it: {1:?}",
                quoted(&scalar.text),
                scalar.text.chars().take(80).collect::<String>(),
            ));
            return None;
        }
        if scalar.text.contains('\0') {
            self.error("must not contain a NUL character");
            return None;
        }
        Some(&scalar.text)
    }

    /// A string that `check` finds nothing wrong with.
    pub fn checked(&self, check: impl FnOnce(&str) -> Check) -> Option<&'m str> {
        let text = self.string()?;
        match check(text) {
            Ok(()) => Some(text),
            Err(rule) => {
                self.invalid(&rule);
                None
            }
        }
    }

    /// A list of strings.
    pub fn strings(&self) -> Vec<String> {
        let items = self.items();
        let strings = items
            .iter()
            .filter_map(|item| item.string().map(str::to_owned));
        strings.collect()
    }

    pub fn bool(&self) -> Option<bool> {
        let scalar = self.scalar("true or false")?;
        match &*scalar.text {
            "true" | "True" | "TRUE" if scalar.plain => Some(true),
            "false" | "False" | "FALSE" if scalar.plain => Some(false),
            _ => {
                self.invalid("is not a boolean; write true or false, without quotes");
                None
            }
        }
    }

    /// A whole number in a range.
    pub fn integer(&self, range: RangeInclusive<i64>) -> Option<i64> {
        let scalar = self.scalar("a whole number")?;
        let text = &*scalar.text;
        let digits = text.strip_prefix('-').unwrap_or(text);
        let number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let (low, high) = (range.start(), range.end());
        if !number {
            self.invalid("is not a whole number");
        } else if !scalar.plain {
            self.invalid(&format!(
                "is a string; write the number {text} without quotes"
            ));
        } else if digits.len() > 1 && digits.starts_with('0') {
            self.invalid("is octal to some YAML readers; write it without leading zeros");
        } else {
            match text.parse() {
                Ok(value) if range.contains(&value) => return Some(value),
                _ => self.invalid(&format!("must be between {low} and {high}, inclusive")),
            }
        }
        None
    }

    /// A quantity, not negative.
    pub fn quantity(&self) -> Option<Quantity> {
        let scalar = self.scalar("a quantity")?;
        let text = &*scalar.text;
        let octal =
            text.len() > 1 && text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
        if scalar.plain && octal {
            self.invalid("is octal to some YAML readers; write it without leading zeros");
            return None;
        }
        match text.parse::<Quantity>() {
            Ok(quantity) if quantity.is_negative() => {
                self.invalid("must be greater than or equal to 0");
                None
            }
            Ok(quantity) => Some(quantity),
            Err(error) => {
                self.error(error.to_string());
                None
            }
        }
    }

    /// One of a few words; case counts.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.string()?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let listed: Vec<String> = names.iter().map(|n| quoted(n)).collect();
        let hint = did_you_mean(text, &names);
        self.invalid(&format!("is not one of {}{hint}", listed.join(", ")));
        None
    }
}
