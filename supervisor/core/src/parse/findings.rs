//! What the readers found: errors and notes, from every document.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::field::Field;
use super::report::{FieldNote, ManifestError, Verdict};
use super::tree::{Position, Problem};

/// What the readers found so far.
#[derive(Default)]
pub(super) struct Findings {
    errors: RefCell<Vec<ManifestError>>,
    notes: RefCell<BTreeMap<(usize, String), FieldNote>>,
    document: Cell<usize>,
}

impl Findings {
    pub fn error(&self, at: Position, path: String, message: impl Into<String>) {
        self.note(at, &path, Verdict::Rejected);
        let message = message.into();
        let Position { line, column } = at;
        let error = ManifestError {
            line,
            column,
            path,
            message,
        };
        self.errors.borrow_mut().push(error);
    }

    /// Says which document is read from now on.
    pub fn document(&self, number: usize) {
        self.document.set(number);
    }

    pub fn problem(&self, problem: Problem) {
        self.document(problem.document);
        self.error(problem.at, problem.path, problem.message);
    }

    /// Of several verdicts on a field, the worst stays.
    pub fn note(&self, at: Position, path: &str, verdict: Verdict) {
        if path.is_empty() {
            return;
        }
        let document = self.document.get();
        let mut notes = self.notes.borrow_mut();
        let note = notes
            .entry((document, path.to_owned()))
            .or_insert_with(|| FieldNote {
                document,
                line: at.line,
                column: at.column,
                path: path.to_owned(),
                verdict: Verdict::Honoured,
            });
        note.verdict = note.verdict.clone().max(verdict);
    }

    /// Errors and notes, in the order of the file.
    pub fn finish(self) -> (Vec<ManifestError>, Vec<FieldNote>) {
        let mut errors = self.errors.into_inner();
        errors.sort_by_key(|e| (e.line, e.column));
        let mut notes: Vec<_> = self.notes.into_inner().into_values().collect();
        notes.sort_by_key(|n| (n.line, n.column));
        (errors, notes)
    }
}

/// Finds what must not be there twice.
#[derive(Default)]
pub(super) struct Unique(BTreeMap<String, usize>);

impl Unique {
    /// Reports `field` when another had the same key.
    pub fn check(&mut self, field: &Field<'_>, key: impl Into<String>) {
        let key = key.into();
        match self.0.get(&key) {
            Some(first) => field.invalid(&format!("is there twice, first on line {first}")),
            None => {
                self.0.insert(key, field.node().at.line);
            }
        }
    }
}

/// `; did you mean x?`, or nothing when no word is near.
pub(super) fn did_you_mean(text: &str, words: &[&str]) -> String {
    let length = text.chars().count();
    let lower = text.to_lowercase();
    let distance = |word: &str| strsim::osa_distance(&lower, &word.to_lowercase());
    let near = words.iter().filter(|word| word.len().abs_diff(length) <= 3);
    let nearest = near.map(|word| (distance(word), word)).min();
    match nearest {
        Some((distance, word)) if distance <= (length / 4).max(1) => {
            format!("; did you mean {word}?")
        }
        _ => String::new(),
    }
}
