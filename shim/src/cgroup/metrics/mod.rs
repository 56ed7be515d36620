//! What a container uses, as containerd's own metrics messages.

mod v1;
mod v2;

use std::io;

use containerd_shim_protos::cgroups::metrics::Metrics as MetricsV1;
use containerd_shim_protos::cgroups_v2::metrics::Metrics as MetricsV2;
use containerd_shim_protos::protobuf::Message;

use super::dir::Dir;
use super::{Cgroup, CgroupError};

/// The metrics of a container. CPU times are nanoseconds in v1 and microseconds in v2, sizes are
/// bytes; "no limit" is the largest number.
#[derive(Debug, Clone)]
pub enum Metrics {
    /// `io.containerd.cgroups.v1.Metrics`, on v1 and hybrid machines.
    V1(Box<MetricsV1>),
    /// `io.containerd.cgroups.v2.Metrics`.
    V2(Box<MetricsV2>),
}

impl Metrics {
    /// The type URL by which containerd knows the message.
    pub fn type_url(&self) -> &'static str {
        match self {
            Self::V1(_) => "io.containerd.cgroups.v1.Metrics",
            Self::V2(_) => "io.containerd.cgroups.v2.Metrics",
        }
    }

    /// The message in protobuf's encoding.
    ///
    /// # Errors
    /// [`CgroupError::Io`] if the message can't be encoded.
    pub fn encode(&self) -> Result<Vec<u8>, CgroupError> {
        let encoded = match self {
            Self::V1(metrics) => metrics.write_to_bytes(),
            Self::V2(metrics) => metrics.write_to_bytes(),
        };
        encoded.map_err(|cause| {
            CgroupError::io("encode", self.type_url().as_ref(), io::Error::other(cause))
        })
    }
}

/// Reads all of a container's counters.
pub fn read(cgroup: &Cgroup) -> Result<Metrics, CgroupError> {
    // A cgroup that is gone would otherwise look like one that uses nothing.
    let first = cgroup.dirs.first().ok_or(CgroupError::NoHierarchy)?;
    first.read("cgroup.procs")?;
    Ok(match cgroup.unified().filter(|_| cgroup.dirs.len() == 1) {
        Some(dir) => Metrics::V2(Box::new(v2::read(dir))),
        None => Metrics::V1(Box::new(v1::read(cgroup))),
    })
}

/// A file with one number, or `max`. A file that this kernel hasn't counts as 0, as in containerd.
fn number(dir: &Dir, file: &str) -> u64 {
    match dir.read(file) {
        Ok(text) if text.trim() == "max" => u64::MAX,
        Ok(text) => text.trim().parse().unwrap_or(0),
        Err(_) => 0,
    }
}

/// Lines of `name number`.
fn table(dir: &Dir, file: &str) -> Vec<(String, u64)> {
    let text = dir.read(file).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

/// The value of `name` in a table, 0 when it isn't there.
fn value(table: &[(String, u64)], name: &str) -> u64 {
    table
        .iter()
        .find(|(other, _)| other == name)
        .map_or(0, |&(_, value)| value)
}

/// The huge page sizes that a directory has limits for, such as `2MB`.
fn huge_page_sizes(dir: &Dir, suffix: &str) -> Vec<String> {
    let mut sizes: Vec<String> = std::fs::read_dir(&dir.path)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let size = name.strip_prefix("hugetlb.")?.strip_suffix(suffix)?;
            (!size.contains('.')).then(|| size.to_owned())
        })
        .collect();
    sizes.sort_unstable();
    sizes
}
