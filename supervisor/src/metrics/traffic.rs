//! What containers read and write, and what Pods send and receive.

#![expect(
    clippy::cast_precision_loss,
    reason = "metrics are floating-point numbers"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use super::cadvisor::{Row, labels, with};
use super::family::Family;
use super::resource::Read;
use crate::stats::cgroup::Io;
use crate::stats::network::Traffic;

/// Name, help, and where the number is.
type Number<T> = (&'static str, &'static str, fn(&T) -> u64);

pub(super) fn io(rows: &[Row<'_>]) -> Vec<Family> {
    const NUMBERS: [Number<Io>; 4] = [
        (
            "container_fs_reads_bytes_total",
            "Cumulative count of bytes read",
            |io| io.read_bytes,
        ),
        (
            "container_fs_writes_bytes_total",
            "Cumulative count of bytes written",
            |io| io.written_bytes,
        ),
        (
            "container_fs_reads_total",
            "Cumulative count of reads completed",
            |io| io.reads,
        ),
        (
            "container_fs_writes_total",
            "Cumulative count of writes completed",
            |io| io.writes,
        ),
    ];
    let of = |(name, help, read): Number<Io>| {
        let mut family = Family::counter(name, help);
        for row in rows {
            for io in &row.stats.io {
                let device = device(io.major, io.minor);
                family.add(&with(&row.labels, &[("device", &device)]), read(io) as f64);
            }
        }
        family
    };
    NUMBERS.map(of).into()
}

/// A device's name, which it keeps as long as the machine runs.
fn device(major: u32, minor: u32) -> String {
    static KNOWN: Mutex<BTreeMap<(u32, u32), String>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let name = || {
        let link = std::fs::read_link(format!("/sys/dev/block/{major}:{minor}"));
        match link.ok().as_deref().and_then(Path::file_name) {
            Some(name) => format!("/dev/{}", name.to_string_lossy()),
            None => format!("{major}:{minor}"),
        }
    };
    known.entry((major, minor)).or_insert_with(name).clone()
}

pub(super) fn network(read: &Read) -> Vec<Family> {
    const NUMBERS: [Number<Traffic>; 8] = [
        (
            "container_network_receive_bytes_total",
            "Cumulative count of bytes received",
            |t| t.received.bytes,
        ),
        (
            "container_network_receive_packets_total",
            "Cumulative count of packets received",
            |t| t.received.packets,
        ),
        (
            "container_network_receive_packets_dropped_total",
            "Cumulative count of packets dropped while receiving",
            |t| t.received.dropped,
        ),
        (
            "container_network_receive_errors_total",
            "Cumulative count of errors encountered while receiving",
            |t| t.received.errors,
        ),
        (
            "container_network_transmit_bytes_total",
            "Cumulative count of bytes transmitted",
            |t| t.sent.bytes,
        ),
        (
            "container_network_transmit_packets_total",
            "Cumulative count of packets transmitted",
            |t| t.sent.packets,
        ),
        (
            "container_network_transmit_packets_dropped_total",
            "Cumulative count of packets dropped while transmitting",
            |t| t.sent.dropped,
        ),
        (
            "container_network_transmit_errors_total",
            "Cumulative count of errors encountered while transmitting",
            |t| t.sent.errors,
        ),
    ];
    let of = |(name, help, number): Number<Traffic>| {
        let mut family = Family::counter(name, help);
        for pod in &read.pods {
            let traffic = pod
                .target
                .veth
                .as_ref()
                .and_then(|veth| read.network.get(veth));
            if let Some(traffic) = traffic {
                let labels = with(&labels(&pod.target, None), &[("interface", "eth0")]);
                family.add(&labels, number(traffic) as f64);
            }
        }
        family
    };
    NUMBERS.map(of).into()
}
