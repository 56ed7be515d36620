//! `linux.resources.blockIO`: weights and throttles of block devices.

use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice, LinuxWeightDevice};

use super::super::dir::Dir;
use super::super::{Cgroup, CgroupError};
use super::set;

pub fn apply(cgroup: &Cgroup, io: &LinuxBlockIo) -> Result<(), CgroupError> {
    if *io == LinuxBlockIo::default() {
        return Ok(());
    }
    // The controller is `blkio` in v1 and `io` in v2.
    let dir = match cgroup.dir("blkio") {
        Some(dir) => dir,
        None => cgroup.dir_for("io", "resources.blockIO")?,
    };
    if dir.hierarchy.unified {
        apply_v2(dir, io)
    } else {
        apply_v1(dir, io)
    }
}

fn apply_v1(dir: &Dir, io: &LinuxBlockIo) -> Result<(), CgroupError> {
    // The weight belongs to the BFQ scheduler, to CFQ before Linux 5.0.
    let bfq = dir.has("blkio.bfq.weight");
    let (weight, device) = if bfq {
        ("blkio.bfq.weight", "blkio.bfq.weight_device")
    } else {
        ("blkio.weight", "blkio.weight_device")
    };
    if let Some(value) = io.weight().filter(|&value| value != 0) {
        set(dir, "blockIO.weight", weight, &value.to_string())?;
    }
    if let Some(value) = io.leaf_weight().filter(|&value| value != 0) {
        set(
            dir,
            "blockIO.leafWeight",
            "blkio.leaf_weight",
            &value.to_string(),
        )?;
    }
    for entry in io.weight_device().iter().flatten() {
        if let Some(value) = entry.weight().filter(|&value| value != 0) {
            set(
                dir,
                "blockIO.weightDevice",
                device,
                &line(entry, u64::from(value)),
            )?;
        }
        if let Some(value) = entry.leaf_weight().filter(|&value| value != 0) {
            let file = "blkio.leaf_weight_device";
            set(
                dir,
                "blockIO.weightDevice",
                file,
                &line(entry, u64::from(value)),
            )?;
        }
    }
    for (list, limit, file) in [
        (
            io.throttle_read_bps_device(),
            "throttleReadBpsDevice",
            "blkio.throttle.read_bps_device",
        ),
        (
            io.throttle_write_bps_device(),
            "throttleWriteBpsDevice",
            "blkio.throttle.write_bps_device",
        ),
        (
            io.throttle_read_iops_device(),
            "throttleReadIOPSDevice",
            "blkio.throttle.read_iops_device",
        ),
        (
            io.throttle_write_iops_device(),
            "throttleWriteIOPSDevice",
            "blkio.throttle.write_iops_device",
        ),
    ] {
        for entry in list.iter().flatten() {
            let value = format!("{}:{} {}", entry.major(), entry.minor(), entry.rate());
            set(dir, limit, file, &value)?;
        }
    }
    Ok(())
}

fn line(entry: &LinuxWeightDevice, value: u64) -> String {
    format!("{}:{} {value}", entry.major(), entry.minor())
}

fn apply_v2(dir: &Dir, io: &LinuxBlockIo) -> Result<(), CgroupError> {
    let bfq = dir.has("io.bfq.weight");
    let file = if bfq { "io.bfq.weight" } else { "io.weight" };
    if let Some(value) = io.weight().filter(|&value| value != 0) {
        // BFQ keeps v1's range; only `io.weight` has the wider one.
        let value = if bfq { u64::from(value) } else { weight(value) };
        set(dir, "blockIO.weight", file, &value.to_string())?;
    }
    for entry in io.weight_device().iter().flatten() {
        if let Some(value) = entry.weight().filter(|&value| value != 0) {
            let value = if bfq { u64::from(value) } else { weight(value) };
            set(dir, "blockIO.weightDevice", file, &line(entry, value))?;
        }
    }
    if io.leaf_weight().is_some_and(|value| value != 0) {
        tracing::debug!("blockIO.leafWeight is left out: cgroup v2 has no such weight");
    }
    for (list, limit, key) in [
        (
            io.throttle_read_bps_device(),
            "throttleReadBpsDevice",
            "rbps",
        ),
        (
            io.throttle_write_bps_device(),
            "throttleWriteBpsDevice",
            "wbps",
        ),
        (
            io.throttle_read_iops_device(),
            "throttleReadIOPSDevice",
            "riops",
        ),
        (
            io.throttle_write_iops_device(),
            "throttleWriteIOPSDevice",
            "wiops",
        ),
    ] {
        for entry in list.iter().flatten() {
            set(dir, limit, "io.max", &throttle(entry, key))?;
        }
    }
    Ok(())
}

/// A line for `io.max`; a rate of 0 takes the limit away, as in v1.
fn throttle(entry: &LinuxThrottleDevice, key: &str) -> String {
    let rate = if entry.rate() == 0 {
        "max".to_owned()
    } else {
        entry.rate().to_string()
    };
    format!("{}:{} {key}={rate}", entry.major(), entry.minor())
}

/// A v1 weight (10 to 1000) as a v2 one (1 to 10000), by runc's straight line.
fn weight(value: u16) -> u64 {
    1 + u64::from(value.saturating_sub(10)) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::weight;

    #[test]
    fn weights_span_the_whole_range() {
        assert_eq!(
            [weight(10), weight(500), weight(1000), weight(1)],
            [1, 4950, 10_000, 1]
        );
    }
}
