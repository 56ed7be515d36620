//! A document as a tree in which every value knows its place.

/// A place in the text; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub line: usize,
    pub column: usize,
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub at: Position,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Not yet taken for a string, number, …: the field's type decides.
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(super) struct Scalar {
    pub text: String,
    /// Neither quoted nor a block: may be a number, boolean or null.
    pub plain: bool,
}

/// One `key: value`. Keys of a map are unique.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: Scalar,
    pub key_at: Position,
    pub value: Node,
}

/// Why a document is no tree.
#[derive(Debug)]
pub(super) struct Problem {
    /// Which document, from 1.
    pub document: usize,
    pub at: Position,
    /// Path of the value, as far as it is known.
    pub path: String,
    pub message: String,
}

impl Node {
    /// True for what YAML takes for "no value".
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(s) if s.is_null())
    }

    /// The scalar, when this is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// The value of a key, when this is a map that has it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key.text == key),
            _ => None,
        }
    }
}

impl Scalar {
    /// True for what YAML takes for "no value".
    pub fn is_null(&self) -> bool {
        self.plain && matches!(&*self.text, "" | "~" | "null" | "Null" | "NULL")
    }

    /// What `kubectl` would take this for when it is no string: it reads YAML 1.1.
    pub fn other_type(&self) -> Option<&'static str> {
        if !self.plain {
            return None;
        }
        if self.is_null() {
            return Some("null");
        }
        if matches!(
            &*self.text.to_ascii_lowercase(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
        ) {
            return Some("a boolean");
        }
        is_number(&self.text).then_some("a number")
    }
}

/// YAML 1.1's numbers: `1`, `-1.5e3`, `0x1F`, `0o7`, `0b1`, `1_000`, `.inf`.
fn is_number(text: &str) -> bool {
    let text = text.replace('_', "").to_ascii_lowercase();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
    if matches!(digits, ".inf" | ".nan") {
        return true;
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = digits.strip_prefix(prefix) {
            return !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix));
        }
    }
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && digits.parse::<f64>().is_ok()
}

/// The path of a key below `path`; a key that is no plain name is quoted.
pub(super) fn child(path: &str, key: &str) -> String {
    let plain = !key.is_empty()
        && key.len() <= 64
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    match (plain, path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{path}.{key}"),
        (false, _) => format!("{path}[{}]", quoted(key)),
    }
}

/// A text of the manifest for a message: quoted, without control characters, not too long.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
