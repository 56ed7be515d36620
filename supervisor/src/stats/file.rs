//! Small files of counters.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The file's text; none when it is not there or can't be read, as when its cgroup has just gone.
pub(super) fn text(path: &Path) -> Option<String> {
    // Not `fs::read_to_string`: it asks for the size first, which these files don't have.
    let mut text = String::with_capacity(1024);
    File::open(path).ok()?.read_to_string(&mut text).ok()?;
    Some(text)
}

/// The number in a file; none for `max`, and for files that this kernel hasn't.
pub(super) fn number(path: &Path) -> Option<u64> {
    text(path)?.trim().parse().ok()
}

/// Lines of `name number`.
pub(super) struct Table(String);

impl Table {
    pub fn read(path: &Path) -> Option<Self> {
        text(path).map(Self)
    }

    /// A number by its name.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.0.lines().find_map(|line| {
            let number = line.strip_prefix(name)?.strip_prefix(' ')?;
            number.trim().parse().ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whole() {
        let table = Table("total_rss_huge 1\ntotal_rss 2\nrss 3\n".to_owned());
        assert_eq!(table.get("total_rss"), Some(2));
        assert_eq!(table.get("rss"), Some(3));
        assert_eq!(table.get("total"), None);
    }
}
