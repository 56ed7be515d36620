//! `linux.resources.memory`: memory, swap and what happens when they run out.

use oci_spec::runtime::LinuxMemory;

use super::super::dir::Dir;
use super::super::{Cgroup, CgroupError};
use super::{or_max, set};

pub fn apply(cgroup: &Cgroup, memory: &LinuxMemory) -> Result<(), CgroupError> {
    if *memory == LinuxMemory::default() {
        return Ok(());
    }
    let dir = cgroup.dir_for("memory", "resources.memory")?;
    if memory.check_before_update() == Some(true) {
        check_usage(dir, memory)?;
    }
    if dir.hierarchy.unified {
        apply_v2(dir, memory)
    } else {
        apply_v1(dir, memory)
    }
}

fn bad(limit: &str, why: impl Into<String>) -> CgroupError {
    CgroupError::BadLimit {
        limit: limit.to_owned(),
        why: why.into(),
    }
}

/// `checkBeforeUpdate`: no limit below what is in use already.
fn check_usage(dir: &Dir, memory: &LinuxMemory) -> Result<(), CgroupError> {
    let file = if dir.hierarchy.unified {
        "memory.current"
    } else {
        "memory.usage_in_bytes"
    };
    let used: i64 = number(dir, file)?;
    match memory.limit().filter(|&limit| limit > 0 && limit < used) {
        Some(limit) => Err(bad(
            "memory.limit",
            format!("{limit} bytes are less than the {used} in use"),
        )),
        None => Ok(()),
    }
}

fn number(dir: &Dir, file: &str) -> Result<i64, CgroupError> {
    let text = dir.read(file)?;
    // "No limit" is a number above the range of i64 in v1 and a word in v2.
    Ok(text.trim().parse().unwrap_or(i64::MAX))
}

fn apply_v1(dir: &Dir, memory: &LinuxMemory) -> Result<(), CgroupError> {
    const LIMIT: &str = "memory.limit_in_bytes";
    const SWAP: &str = "memory.memsw.limit_in_bytes";
    let limit = memory.limit().filter(|&limit| limit != 0);
    let mut swap = memory.swap().filter(|&swap| swap != 0);
    // Unlimited memory makes no sense with limited memory and swap together.
    if limit == Some(-1) && swap.is_none() && dir.has(SWAP) {
        swap = Some(-1);
    }
    let set_limit = || match limit {
        Some(value) => set(dir, "memory.limit", LIMIT, &value.max(-1).to_string()).map_err(in_use),
        None => Ok(()),
    };
    let set_swap = || match swap {
        // Without swap accounting nothing can be swapped beyond the limit that could be counted.
        Some(_) if !dir.has(SWAP) => {
            tracing::debug!("memory.swap is left out: the kernel does no swap accounting");
            Ok(())
        }
        Some(value) => set(dir, "memory.swap", SWAP, &value.max(-1).to_string()).map_err(in_use),
        None => Ok(()),
    };
    // Memory with swap may never be below memory alone, not even in between.
    let swap_first = match swap {
        Some(swap) => swap < 0 || number(dir, LIMIT)? < swap,
        None => false,
    };
    if swap_first {
        set_swap()?;
        set_limit()?;
    } else {
        set_limit()?;
        set_swap()?;
    }
    if let Some(reservation) = memory.reservation().filter(|&value| value != 0) {
        set(
            dir,
            "memory.reservation",
            "memory.soft_limit_in_bytes",
            &reservation.max(-1).to_string(),
        )?;
    }
    if let Some(limit) = memory.kernel_tcp().filter(|&value| value != 0) {
        set(
            dir,
            "memory.kernelTCP",
            "memory.kmem.tcp.limit_in_bytes",
            &limit.max(-1).to_string(),
        )?;
    }
    if memory.disable_oom_killer() == Some(true) {
        set(dir, "memory.disableOOMKiller", "memory.oom_control", "1")?;
    }
    if let Some(swappiness) = memory.swappiness() {
        if swappiness > 100 {
            return Err(bad(
                "memory.swappiness",
                format!("{swappiness} is not in 0 to 100"),
            ));
        }
        set(
            dir,
            "memory.swappiness",
            "memory.swappiness",
            &swappiness.to_string(),
        )?;
    }
    Ok(())
}

/// A refused reduction: the kernel could not free enough.
fn in_use(error: CgroupError) -> CgroupError {
    match error.errno() {
        Some(libc::EBUSY) => bad(
            "memory.limit",
            "more is in use already and can't be reclaimed",
        ),
        _ => error,
    }
}

fn apply_v2(dir: &Dir, memory: &LinuxMemory) -> Result<(), CgroupError> {
    const SWAP: &str = "memory.swap.max";
    let limit = memory.limit().filter(|&limit| limit != 0);
    if let Some(swap) = swap_alone(limit, memory.swap().unwrap_or(0))? {
        // Without swap there is nothing to limit.
        if dir.has(SWAP) {
            set(dir, "memory.swap", SWAP, &or_max(swap))?;
        } else if swap > 0 {
            return Err(bad("memory.swap", "this kernel does no swap accounting"));
        }
    }
    if let Some(limit) = limit {
        set(dir, "memory.limit", "memory.max", &or_max(limit))?;
    }
    if let Some(reservation) = memory.reservation().filter(|&value| value != 0) {
        set(
            dir,
            "memory.reservation",
            "memory.low",
            &or_max(reservation),
        )?;
    }
    Ok(())
}

/// The limit for swap alone (v2) from memory and memory plus swap (v1, OCI). `None` leaves it, -1 is
/// no limit.
pub(in crate::cgroup) fn swap_alone(
    limit: Option<i64>,
    swap: i64,
) -> Result<Option<i64>, CgroupError> {
    match (limit, swap) {
        (Some(-1), 0) => Ok(Some(-1)),
        (_, 0) => Ok(None),
        (_, ..0) => Ok(Some(-1)),
        (None | Some(..0), _) => Err(bad(
            "memory.swap",
            "it needs a limit for the memory as well",
        )),
        (Some(limit), swap) if swap < limit => Err(bad(
            "memory.swap",
            format!("{swap} bytes of memory and swap are less than the {limit} of memory alone"),
        )),
        (Some(limit), swap) => Ok(Some(swap - limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_what_exceeds_the_memory() {
        assert_eq!(swap_alone(Some(100), 300).ok(), Some(Some(200)));
        assert_eq!(swap_alone(Some(100), 100).ok(), Some(Some(0)));
        assert_eq!(swap_alone(Some(100), -1).ok(), Some(Some(-1)));
        assert_eq!(swap_alone(Some(-1), 0).ok(), Some(Some(-1)));
        assert_eq!(swap_alone(Some(100), 0).ok(), Some(None));
        assert!(swap_alone(Some(100), 99).is_err());
        assert!(swap_alone(None, 99).is_err());
        assert!(swap_alone(Some(-1), 99).is_err());
    }
}
