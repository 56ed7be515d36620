//! The words of one statement, taken one after the other.

use super::duration::parse_ms;

/// What is left of a statement.
pub(super) struct Words<'a> {
    left: Vec<&'a str>,
}

impl<'a> Words<'a> {
    pub fn new(statement: &'a str) -> Self {
        let mut left: Vec<&str> = statement.split_whitespace().collect();
        left.reverse();
        Self { left }
    }

    pub fn next(&mut self) -> Option<&'a str> {
        self.left.pop()
    }

    /// Takes the word if it comes next.
    pub fn take(&mut self, word: &str) -> bool {
        let next = self.left.last() == Some(&word);
        if next {
            self.left.pop();
        }
        next
    }

    /// The word must come next.
    pub fn expect(&mut self, word: &str) -> Result<(), String> {
        if self.take(word) {
            return Ok(());
        }
        Err(format!("{} where \"{word}\" is expected", self.found()))
    }

    /// A time must come next.
    pub fn time(&mut self) -> Result<u64, String> {
        let found = self.found();
        let time = self.next().and_then(parse_ms);
        time.ok_or_else(|| format!("{found} where a time such as 5s or 1m30s is expected"))
    }

    /// The time after this word, if the word comes next.
    pub fn time_after(&mut self, word: &str) -> Result<Option<u64>, String> {
        match self.take(word) {
            true => self.time().map(Some),
            false => Ok(None),
        }
    }

    /// `N times`, if a number comes next.
    pub fn times(&mut self) -> Result<Option<u32>, String> {
        let Some(number) = self.left.last().and_then(|w| w.parse().ok()) else {
            return Ok(None);
        };
        self.left.pop();
        if !self.take("time") {
            self.expect("times")?;
        }
        Ok(Some(number))
    }

    /// Nothing more must come.
    pub fn end(&self) -> Result<(), String> {
        match self.left.last() {
            None => Ok(()),
            Some(_) => Err(format!("{} where the statement should end", self.found())),
        }
    }

    fn found(&self) -> String {
        match self.left.last() {
            Some(word) => format!("there is {word:?}"),
            None => "it ends".to_owned(),
        }
    }
}
