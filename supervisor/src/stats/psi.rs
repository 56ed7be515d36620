//! How long tasks wait for what is short (Documentation/accounting/psi.rst).

use std::path::Path;
use std::time::Duration;

use super::file;

/// A pressure file.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    /// Some task waited.
    pub some: Stall,
    /// All tasks did at once.
    pub full: Stall,
}

/// How long.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stall {
    /// Percent of the last 10 seconds.
    pub avg10: f64,
    /// In all.
    pub total: Duration,
}

/// Reads it; none on kernels without it.
pub fn read(path: &Path) -> Option<Pressure> {
    parse(&file::text(path)?)
}

/// The machine's, of `cpu`, `memory` or `io`.
pub fn of_machine(what: &str) -> Option<Pressure> {
    read(&Path::new("/proc/pressure").join(what))
}

fn parse(text: &str) -> Option<Pressure> {
    let mut pressure = Pressure::default();
    let mut found = false;
    for line in text.lines() {
        let mut words = line.split(' ');
        let stall = match words.next() {
            Some("some") => &mut pressure.some,
            Some("full") => &mut pressure.full,
            _ => continue,
        };
        found = true;
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            match name {
                "avg10" => stall.avg10 = value.parse().unwrap_or(0.0),
                "total" => stall.total = Duration::from_micros(value.parse().unwrap_or(0)),
                _ => {}
            }
        }
    }
    found.then_some(pressure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lines_are_read() {
        let text = "some avg10=1.50 avg60=0.00 avg300=0.00 total=42\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=7\n";
        let pressure = parse(text).unwrap();
        assert_eq!((pressure.some.avg10, pressure.full.avg10), (1.5, 0.25));
        assert_eq!(pressure.some.total, Duration::from_micros(42));
        // The CPU has one line on older kernels.
        assert_eq!(
            parse("some avg10=1.50 total=1\n").unwrap().full,
            Stall::default()
        );
        assert_eq!(parse(""), None);
    }
}
