//! The limits of a container: OCI's `linux.resources` in the files of cgroup v1 and v2.
//!
//! Conversions from the v1 values of the OCI specification to those of v2 are runc's.

mod block_io;
mod cpu;
mod few;
mod memory;

pub(super) use cpu::weight;
pub(super) use memory::swap_alone;
use oci_spec::runtime::LinuxResources;

use super::dir::Dir;
use super::{Cgroup, CgroupError, devices};

/// When limits are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// On a cgroup just made, which has the kernel's defaults.
    Create,
    /// On one that has processes and limits.
    Update,
}

/// Sets every limit that is given.
pub fn apply(
    cgroup: &Cgroup,
    resources: Option<&LinuxResources>,
    occasion: Occasion,
) -> Result<(), CgroupError> {
    if let Some(resources) = resources {
        refuse_negative(resources)?;
    }
    let rules = resources
        .and_then(|resources| resources.devices().as_deref())
        .unwrap_or_default();
    if occasion == Occasion::Create || !rules.is_empty() {
        devices::apply(cgroup, rules, occasion)?;
    }
    let Some(resources) = resources else {
        return Ok(());
    };
    if let Some(cpu) = resources.cpu() {
        cpu::apply(cgroup, cpu)?;
    }
    if let Some(memory) = resources.memory() {
        memory::apply(cgroup, memory)?;
    }
    if let Some(block_io) = resources.block_io() {
        block_io::apply(cgroup, block_io)?;
    }
    few::apply(cgroup, resources)
}

/// Of negative numbers only -1 means something, "no limit": another one is a mistake in a calculation,
/// and is refused before anything is set.
fn refuse_negative(resources: &LinuxResources) -> Result<(), CgroupError> {
    let memory = resources.memory().as_ref();
    let limits = [
        ("memory.limit", memory.and_then(|memory| memory.limit())),
        ("memory.swap", memory.and_then(|memory| memory.swap())),
        (
            "memory.reservation",
            memory.and_then(|memory| memory.reservation()),
        ),
        (
            "cpu.quota",
            resources.cpu().as_ref().and_then(|cpu| cpu.quota()),
        ),
        (
            "pids.limit",
            resources.pids().as_ref().map(|pids| pids.limit()),
        ),
    ];
    match limits
        .iter()
        .find_map(|(name, value)| Some((name, value.filter(|value| *value < -1)?)))
    {
        Some((name, value)) => Err(CgroupError::BadLimit {
            limit: (*name).to_owned(),
            why: format!("{value} is negative: use -1 for no limit"),
        }),
        None => Ok(()),
    }
}

/// An integer limit, where -1 stands for "no limit", which v2 calls `max`.
fn or_max(value: i64) -> String {
    if value < 0 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

/// Writes a limit, naming it when the kernel refuses the value.
fn set(dir: &Dir, limit: &str, file: &str, value: &str) -> Result<(), CgroupError> {
    dir.write(file, value).map_err(|error| match error.errno() {
        Some(libc::EINVAL | libc::ERANGE) => CgroupError::BadLimit {
            limit: limit.to_owned(),
            why: format!("the kernel takes no {value:?} in {file} of {:?}", dir.path),
        },
        Some(libc::ENOENT) => CgroupError::BadLimit {
            limit: limit.to_owned(),
            why: format!("this kernel has no {file}"),
        },
        _ => error,
    })
}
