//! `linux.resources.cpu`: shares, quota and the CPUs to run on.

use oci_spec::runtime::LinuxCpu;

use super::super::dir::Dir;
use super::super::{Cgroup, CgroupError};
use super::set;

/// CFS's default period in microseconds (kernel: Documentation/scheduler/sched-bwc.rst).
const DEFAULT_PERIOD: u64 = 100_000;

pub fn apply(cgroup: &Cgroup, cpu: &LinuxCpu) -> Result<(), CgroupError> {
    let time = cpu.shares().is_some_and(|shares| shares != 0)
        || cpu.quota().is_some_and(|quota| quota != 0)
        || cpu.period().is_some_and(|period| period != 0)
        || cpu.burst().is_some()
        || cpu.idle().is_some()
        || cpu.realtime_runtime().is_some_and(|runtime| runtime != 0)
        || cpu.realtime_period().is_some_and(|period| period != 0);
    if time {
        let dir = cgroup.dir_for("cpu", "resources.cpu")?;
        if dir.hierarchy.unified {
            apply_v2(dir, cpu)?
        } else {
            apply_v1(dir, cpu)?
        }
    }
    let (cpus, mems) = (cpu.cpus().as_deref(), cpu.mems().as_deref());
    if [cpus, mems].iter().flatten().any(|list| !list.is_empty()) {
        // The files have the same names in both versions.
        let dir = cgroup.dir_for("cpuset", "resources.cpu.cpus")?;
        for (limit, file, list) in [
            ("cpu.cpus", "cpuset.cpus", cpus),
            ("cpu.mems", "cpuset.mems", mems),
        ] {
            if let Some(list) = list.filter(|list| !list.is_empty()) {
                set(dir, limit, file, list)?;
            }
        }
    }
    Ok(())
}

fn apply_v1(dir: &Dir, cpu: &LinuxCpu) -> Result<(), CgroupError> {
    if let Some(shares) = cpu.shares().filter(|&shares| shares != 0) {
        set(dir, "cpu.shares", "cpu.shares", &shares.to_string())?;
    }
    if let Some(idle) = cpu.idle() {
        set(dir, "cpu.idle", "cpu.idle", &idle.to_string())?;
    }
    if let Some(period) = cpu.realtime_period().filter(|&period| period != 0) {
        set(
            dir,
            "cpu.realtimePeriod",
            "cpu.rt_period_us",
            &period.to_string(),
        )?;
    }
    if let Some(runtime) = cpu.realtime_runtime().filter(|&runtime| runtime != 0) {
        set(
            dir,
            "cpu.realtimeRuntime",
            "cpu.rt_runtime_us",
            &runtime.to_string(),
        )?;
    }
    // The burst may not exceed the quota: lower it before, raise it after.
    let burst = cpu.burst().map(|burst| burst.to_string());
    let early = burst
        .as_ref()
        .is_some_and(|burst| set(dir, "cpu.burst", "cpu.cfs_burst_us", burst).is_ok());
    let period = cpu.period().filter(|&period| period != 0);
    let quota = cpu.quota().filter(|&quota| quota != 0);
    // Period and quota are checked against the parent's together: what is refused with the old
    // quota may be taken after the new one.
    let mut late = None;
    if let Some(period) = period.map(|period| period.to_string())
        && let Err(error) = set(dir, "cpu.period", "cpu.cfs_period_us", &period)
    {
        if quota.is_none() {
            return Err(error);
        }
        late = Some(period);
    }
    if let Some(quota) = quota {
        set(
            dir,
            "cpu.quota",
            "cpu.cfs_quota_us",
            &quota.max(-1).to_string(),
        )?;
    }
    if let Some(period) = late {
        set(dir, "cpu.period", "cpu.cfs_period_us", &period)?;
    }
    match burst {
        Some(burst) if !early => set(dir, "cpu.burst", "cpu.cfs_burst_us", &burst),
        _ => Ok(()),
    }
}

fn apply_v2(dir: &Dir, cpu: &LinuxCpu) -> Result<(), CgroupError> {
    if cpu.realtime_runtime().is_some_and(|runtime| runtime != 0)
        || cpu.realtime_period().is_some_and(|period| period != 0)
    {
        return Err(CgroupError::BadLimit {
            limit: "cpu.realtimeRuntime".to_owned(),
            why: "cgroup v2 has no real-time group scheduling: remove it".to_owned(),
        });
    }
    if let Some(idle) = cpu.idle() {
        set(dir, "cpu.idle", "cpu.idle", &idle.to_string())?;
    }
    // An idle group has no weight (EINVAL).
    if let Some(shares) = cpu.shares().filter(|&shares| shares != 0)
        && cpu.idle() != Some(1)
    {
        set(dir, "cpu.shares", "cpu.weight", &weight(shares).to_string())?;
    }
    let burst = cpu.burst().map(|burst| burst.to_string());
    let early = burst
        .as_ref()
        .is_some_and(|burst| set(dir, "cpu.burst", "cpu.max.burst", burst).is_ok());
    if let Some(line) = cpu_max(cpu.quota(), cpu.period()) {
        set(dir, "cpu.quota", "cpu.max", &line)?;
    }
    match burst {
        Some(burst) if !early => set(dir, "cpu.burst", "cpu.max.burst", &burst),
        _ => Ok(()),
    }
}

/// The line for `cpu.max`; a quota alone keeps the kernel's present period, a period alone means no
/// quota, as in runc.
fn cpu_max(quota: Option<i64>, period: Option<u64>) -> Option<String> {
    let quota = quota.filter(|&quota| quota != 0);
    let period = period.filter(|&period| period != 0);
    if quota.is_none() && period.is_none() {
        return None;
    }
    let limit = quota
        .filter(|&quota| quota > 0)
        .map_or("max".to_owned(), |quota| quota.to_string());
    Some(format!("{limit} {}", period.unwrap_or(DEFAULT_PERIOD)))
}

/// CPU shares (2 to 262144) as a v2 weight (1 to 10000): the curve through the minimum, the default
/// (1024 is 100) and the maximum which runc 1.3.2, crun 1.23 and Kubernetes use.
pub(in crate::cgroup) fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let l = f64::from(u32::try_from(shares).unwrap_or(u32::MAX)).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            // In 1 to 10000 by the curve.
            10f64.powf(exponent).ceil() as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_as_in_kubernetes() {
        // What Kubernetes gives as examples of the conversion.
        for (shares, wanted) in [(2, 1), (102, 17), (512, 59), (1024, 100), (262_144, 10_000)] {
            assert_eq!(weight(shares), wanted, "{shares}");
        }
        assert_eq!((weight(1), weight(u64::MAX)), (1, 10_000));
        assert!((3..3000).all(|shares| weight(shares) <= weight(shares + 1)));
    }

    #[test]
    fn quota_and_period_share_a_line() {
        for (quota, period, wanted) in [
            (None, None, None),
            (Some(0), Some(0), None),
            (Some(50_000), None, Some("50000 100000")),
            (Some(50_000), Some(10_000), Some("50000 10000")),
            (Some(-1), None, Some("max 100000")),
            (None, Some(20_000), Some("max 20000")),
        ] {
            assert_eq!(cpu_max(quota, period).as_deref(), wanted);
        }
    }
}
