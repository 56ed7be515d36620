//! Where the machine's cgroup controllers are mounted: v1, v2, or both.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Mount points by controller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hierarchies {
    v1: BTreeMap<String, PathBuf>,
    unified: Option<PathBuf>,
}

impl Hierarchies {
    /// The machine's.
    ///
    /// # Errors
    /// When `/proc` can't be read.
    pub fn detect() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    /// Reads a table of mounts (proc_pid_mountinfo(5)). Of a hierarchy mounted twice the first is taken.
    fn parse(mountinfo: &str) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some((front, back)) = line.split_once(" - ") else {
                continue;
            };
            let (Some(point), mut back) = (front.split(' ').nth(4), back.split(' ')) else {
                continue;
            };
            match (back.next(), back.nth(1)) {
                (Some("cgroup"), Some(options)) => {
                    for option in options.split(',') {
                        let point = || point.into();
                        found.v1.entry(option.to_owned()).or_insert_with(point);
                    }
                }
                (Some("cgroup2"), _) => {
                    found.unified.get_or_insert_with(|| point.into());
                }
                _ => {}
            }
        }
        found
    }

    /// The directory of a cgroup in the v1 hierarchy of a controller.
    pub(super) fn v1(&self, controller: &str, cgroup: &str) -> Option<PathBuf> {
        self.v1.get(controller).map(|point| below(point, cgroup))
    }

    /// The directory of a cgroup in the unified hierarchy.
    pub(super) fn unified(&self, cgroup: &str) -> Option<PathBuf> {
        self.unified.as_deref().map(|point| below(point, cgroup))
    }

    /// True when memory is accounted for by v2.
    pub fn is_v2(&self) -> bool {
        !self.v1.contains_key("memory") && self.unified.is_some()
    }
}

fn below(point: &Path, cgroup: &str) -> PathBuf {
    point.join(cgroup.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_and_v2() {
        let hybrid = "30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n31 30 0:27 / /sys/fs/cgroup/cpu rw shared:5 - cgroup cgroup rw,cpu,cpuacct\n33 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n32 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = Hierarchies::parse(hybrid);
        assert!(!found.is_v2());
        assert_eq!(
            found.v1("cpuacct", "/a/b"),
            Some("/sys/fs/cgroup/cpu/a/b".into())
        );
        assert_eq!(found.unified("a"), Some("/sys/fs/cgroup/unified/a".into()));
        let v2 = Hierarchies::parse("31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert!(v2.is_v2());
        assert_eq!(v2.v1("memory", "a"), None);
    }
}
