//! What Pods send and receive, from the machine's ends of their interfaces: one file for all of them.

use std::collections::BTreeMap;
use std::fs;
use std::io;

/// What an interface has passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// To the Pod.
    pub received: Count,
    /// From the Pod.
    pub sent: Count,
}

/// In one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets that could not be passed.
    pub errors: u64,
    /// Packets that were thrown away.
    pub dropped: u64,
}

/// The traffic of Pods by the name of the machine's end of their pair.
///
/// # Errors
/// When `/proc` can't be read.
pub fn read() -> io::Result<BTreeMap<String, Traffic>> {
    Ok(parse(&fs::read_to_string("/proc/net/dev")?))
}

/// What the machine's end sends is what the Pod receives.
fn parse(text: &str) -> BTreeMap<String, Traffic> {
    let line = |line: &str| {
        let (name, counts) = line.split_once(':')?;
        let counts: Vec<u64> = counts
            .split_whitespace()
            .map_while(|n| n.parse().ok())
            .collect();
        let count = |from: usize| {
            let at = |offset: usize| counts.get(from + offset).copied();
            Some(Count {
                bytes: at(0)?,
                packets: at(1)?,
                errors: at(2)?,
                dropped: at(3)?,
            })
        };
        let traffic = Traffic {
            sent: count(0)?,
            received: count(8)?,
        };
        Some((name.trim().to_owned(), traffic))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pods_view_is_the_machines_turned_round() {
        let text = "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\nveth0: 100 1 2 3 0 0 0 0 500 5 6 7 0 0 0 0\n";
        let found = parse(text);
        assert_eq!(found.len(), 1);
        let traffic = found["veth0"];
        assert_eq!((traffic.sent.bytes, traffic.sent.dropped), (100, 3));
        assert_eq!((traffic.received.bytes, traffic.received.errors), (500, 6));
    }
}
