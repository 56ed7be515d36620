//! OCI's limits as properties of a unit (systemd.resource-control(5)).
//!
//! They are set in the cgroup's files too, by us: systemd has only some of them, and must know those, as it writes them
//! anew whenever it pleases. Names and conversions are runc's.

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

use super::super::limits::{swap_alone, weight};
use super::bus::Value;

/// A property and its value.
pub type Property = (&'static str, Value);

/// The properties for those limits that are given, on a machine with cgroup v2 alone or another.
pub fn of(resources: &LinuxResources, v2: bool) -> Vec<Property> {
    let mut properties = Vec::new();
    if let Some(memory) = resources.memory() {
        of_memory(memory, v2, &mut properties);
    }
    if let Some(cpu) = resources.cpu() {
        of_cpu(cpu, v2, &mut properties);
    }
    let pids = resources.pids().as_ref().map(|pids| pids.limit());
    properties.extend(limit("TasksMax", pids));
    if let (true, Some(files)) = (v2, resources.unified()) {
        for (file, name) in [("memory.min", "MemoryMin"), ("memory.high", "MemoryHigh")] {
            let value = files.get(file).map(|value| value.trim());
            // What is no number the kernel refuses, when the file itself is written.
            let value = value.and_then(|value| match value {
                "max" => Some(u64::MAX),
                number => number.parse().ok(),
            });
            properties.extend(value.map(|value| (name, Value::Number(value))));
        }
    }
    properties
}

/// A limit of OCI's: 0 is none given, a negative one no limit, which for systemd is the greatest number.
fn limit(name: &'static str, value: Option<i64>) -> Option<Property> {
    let value = value.filter(|&value| value != 0)?;
    let value = u64::try_from(value).unwrap_or(u64::MAX);
    Some((name, Value::Number(value)))
}

fn of_memory(memory: &LinuxMemory, v2: bool, properties: &mut Vec<Property>) {
    let name = if v2 { "MemoryMax" } else { "MemoryLimit" };
    properties.extend(limit(name, memory.limit()));
    if v2 {
        properties.extend(limit("MemoryLow", memory.reservation()));
        // What makes no sense is refused where the file is written.
        let limits = memory.limit().filter(|&limit| limit != 0);
        if let Ok(Some(swap)) = swap_alone(limits, memory.swap().unwrap_or(0)) {
            let swap = u64::try_from(swap).unwrap_or(u64::MAX);
            properties.push(("MemorySwapMax", Value::Number(swap)));
        }
    }
}

fn of_cpu(cpu: &LinuxCpu, v2: bool, properties: &mut Vec<Property>) {
    let shares = cpu.shares().filter(|&shares| shares != 0);
    properties.extend(shares.map(|shares| match v2 {
        true => ("CPUWeight", Value::Number(weight(shares))),
        false => ("CPUShares", Value::Number(shares)),
    }));
    let period = cpu.period().filter(|&period| period != 0);
    if let (true, Some(period)) = (v2, period) {
        properties.push(("CPUQuotaPeriodUSec", Value::Number(period)));
    }
    let quota = cpu.quota().filter(|&quota| quota != 0);
    if quota.is_some() || period.is_some() {
        let quota = quota.and_then(|quota| u64::try_from(quota).ok());
        let a_second = quota.map_or(u64::MAX, |quota| per_second(quota, period));
        properties.push(("CPUQuotaPerSecUSec", Value::Number(a_second)));
    }
    if v2 {
        for (name, list) in [
            ("AllowedCPUs", cpu.cpus()),
            ("AllowedMemoryNodes", cpu.mems()),
        ] {
            let mask = list.as_deref().and_then(mask);
            properties.extend(mask.map(|mask| (name, Value::Bytes(mask))));
        }
    }
}

/// Microseconds of CPU time a second. systemd keeps hundredths of a CPU, so it is rounded up to one.
fn per_second(quota: u64, period: Option<u64>) -> u64 {
    const DEFAULT_PERIOD: u64 = 100_000;
    const HUNDREDTH: u64 = 10_000;
    let a_second = u128::from(quota) * 1_000_000 / u128::from(period.unwrap_or(DEFAULT_PERIOD));
    u64::try_from(a_second)
        .ok()
        .and_then(|a_second| a_second.checked_next_multiple_of(HUNDREDTH))
        .unwrap_or(u64::MAX)
}

/// A list such as `0-2,5` as bits, the lowest first. `None` when it is none: the kernel refuses it then.
fn mask(list: &str) -> Option<Vec<u8>> {
    /// More CPUs than a kernel can be built for.
    const MOST: usize = 1 << 16;
    let mut mask = Vec::new();
    for part in list
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MOST {
            return None;
        }
        for bit in first..=last {
            if mask.len() <= bit / 8 {
                mask.resize(bit / 8 + 1, 0);
            }
            mask[bit / 8] |= 1 << (bit % 8);
        }
    }
    (!mask.is_empty()).then_some(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> LinuxResources {
        serde_json::from_str(json).expect("resources")
    }

    fn numbers(json: &str, v2: bool) -> Vec<(&'static str, u64)> {
        let number = |(name, value)| match value {
            Value::Number(number) => (name, number),
            other => panic!("{name} is {other:?}"),
        };
        of(&parsed(json), v2).into_iter().map(number).collect()
    }

    #[test]
    fn limits_become_properties() {
        for (json, v2, wanted) in [
            ("{}", true, vec![]),
            (
                r#"{"memory":{"limit":100,"swap":300,"reservation":50}}"#,
                true,
                vec![
                    ("MemoryMax", 100),
                    ("MemoryLow", 50),
                    ("MemorySwapMax", 200),
                ],
            ),
            (
                r#"{"memory":{"limit":-1}}"#,
                true,
                vec![("MemoryMax", u64::MAX), ("MemorySwapMax", u64::MAX)],
            ),
            (
                r#"{"memory":{"limit":100,"reservation":50}}"#,
                false,
                vec![("MemoryLimit", 100)],
            ),
            (
                r#"{"cpu":{"shares":512,"quota":50000,"period":100000}}"#,
                true,
                vec![
                    ("CPUWeight", 59),
                    ("CPUQuotaPeriodUSec", 100_000),
                    ("CPUQuotaPerSecUSec", 500_000),
                ],
            ),
            (
                r#"{"cpu":{"shares":512,"quota":12345,"period":100000}}"#,
                false,
                vec![("CPUShares", 512), ("CPUQuotaPerSecUSec", 130_000)],
            ),
            (
                r#"{"cpu":{"quota":-1}}"#,
                true,
                vec![("CPUQuotaPerSecUSec", u64::MAX)],
            ),
            (r#"{"pids":{"limit":64}}"#, true, vec![("TasksMax", 64)]),
            (
                r#"{"pids":{"limit":-1}}"#,
                true,
                vec![("TasksMax", u64::MAX)],
            ),
            (
                r#"{"unified":{"memory.high":"max","memory.min":"4096","memory.low":"1"}}"#,
                true,
                vec![("MemoryMin", 4096), ("MemoryHigh", u64::MAX)],
            ),
            (r#"{"unified":{"memory.high":"1"}}"#, false, vec![]),
        ] {
            assert_eq!(numbers(json, v2), wanted, "{json}");
        }
    }

    #[test]
    fn lists_become_masks() {
        for (list, wanted) in [
            ("0", Some(vec![1])),
            ("0-2,9", Some(vec![7, 2])),
            ("", None),
            ("x", None),
            ("0-99999999", None),
        ] {
            assert_eq!(mask(list), wanted, "{list}");
        }
        let cpus = of(&parsed(r#"{"cpu":{"cpus":"1"}}"#), true);
        assert_eq!(cpus, [("AllowedCPUs", Value::Bytes(vec![2]))]);
    }
}
