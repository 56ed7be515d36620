//! Timestamps as Kubernetes writes them: RFC 3339 in UTC, whole seconds.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `metav1.Time`. Equal when it reads the same.
#[derive(Debug, Clone, Copy)]
pub struct Time(pub Timestamp);

impl PartialEq for Time {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_second() == other.0.as_second()
    }
}

impl Eq for Time {}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Without digits after the seconds the fraction is cut off, as Kubernetes does.
        serializer.collect_str(&format_args!("{:.0}", self.0))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Timestamp::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_in_whole_seconds() {
        let time = Time("2026-02-03T04:05:06.987654321Z".parse().unwrap());
        let json = serde_json::to_string(&time).unwrap();
        assert_eq!(json, "\"2026-02-03T04:05:06Z\"");
        assert_eq!(serde_json::from_str::<Time>(&json).unwrap(), time);
    }
}
