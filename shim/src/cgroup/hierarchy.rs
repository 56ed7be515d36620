//! Which cgroup hierarchies this machine has and where they are mounted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::CgroupError;

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted, such as `/sys/fs/cgroup/memory`.
    pub mount_point: PathBuf,
    /// The controllers in it: several when co-mounted (`cpu`, `cpuacct`), one `name=…` for a named
    /// v1 hierarchy, none for the unified one, whose controllers are asked for where needed.
    pub controllers: Vec<String>,
    /// Whether it is the unified (v2) hierarchy.
    pub unified: bool,
}

impl Hierarchy {
    /// Whether `controller` is one of this v1 hierarchy's.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

/// All hierarchies of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// The v1 hierarchies in mount order, then the unified one when there is one.
    pub all: Vec<Hierarchy>,
}

impl Hierarchies {
    /// The machine's hierarchies, read from `/proc/self/mountinfo` once in the process's life.
    pub fn of_machine() -> Result<&'static Hierarchies, CgroupError> {
        static FOUND: OnceLock<Hierarchies> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(found);
        }
        let path = Path::new("/proc/self/mountinfo");
        let text =
            fs::read_to_string(path).map_err(|cause| CgroupError::io("read", path, cause))?;
        let found = Self::parse(&text);
        if found.all.is_empty() {
            return Err(CgroupError::NoHierarchy);
        }
        Ok(FOUND.get_or_init(|| found))
    }

    /// Reads the lines of a mountinfo file (proc(5)).
    fn parse(mountinfo: &str) -> Self {
        let mut all: Vec<Hierarchy> = Vec::new();
        let mut unified: Option<Hierarchy> = None;
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else {
                continue;
            };
            let Some(mount_point) = before.split(' ').nth(4).map(unescape) else {
                continue;
            };
            let mut after = after.split(' ');
            let (kind, options) = (after.next(), after.nth(1).unwrap_or_default());
            match kind {
                Some("cgroup") => {
                    let controllers: Vec<String> = options
                        .split(',')
                        .filter(|option| is_controller(option))
                        .map(str::to_owned)
                        .collect();
                    // The same hierarchy mounted twice: the first one is the usual place.
                    if !controllers.is_empty()
                        && !all.iter().any(|other| other.controllers == controllers)
                    {
                        all.push(Hierarchy {
                            mount_point,
                            controllers,
                            unified: false,
                        });
                    }
                }
                Some("cgroup2") if unified.is_none() => {
                    unified = Some(Hierarchy {
                        mount_point,
                        controllers: Vec::new(),
                        unified: true,
                    });
                }
                _ => {}
            }
        }
        all.extend(unified);
        Self { all }
    }
}

/// Tells a controller among the super-block options of a v1 mount.
fn is_controller(option: &str) -> bool {
    const OPTIONS: [&str; 8] = [
        "rw",
        "ro",
        "xattr",
        "noprefix",
        "clone_children",
        "cpuset_v2_mode",
        "none",
        "favordynmods",
    ];
    !option.is_empty() && !OPTIONS.contains(&option) && !option.starts_with("release_agent=")
}

/// Undoes mountinfo's octal escapes of blank, tab, newline and backslash.
fn unescape(field: &str) -> PathBuf {
    let mut path = String::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        path.push_str(&rest[..at]);
        let code = rest
            .get(at + 1..at + 4)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                path.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                path.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    path.push_str(rest);
    PathBuf::from(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Hierarchies {
        fn v1(&self, controller: &str) -> Option<&Hierarchy> {
            self.all.iter().find(|hierarchy| hierarchy.has(controller))
        }

        fn unified(&self) -> Option<&Hierarchy> {
            self.all.last().filter(|hierarchy| hierarchy.unified)
        }

        fn is_v2(&self) -> bool {
            self.all.iter().all(|hierarchy| hierarchy.unified)
        }
    }

    const HYBRID: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 27 0:32 / /mnt/again rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/bin/x,name=systemd
41 31 0:38 / /sys/fs/cgroup/a\\040b rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn hybrid_lists_v1_hierarchies_once_and_the_unified_one_last() {
        let found = Hierarchies::parse(HYBRID);
        assert_eq!(found.all.len(), 4);
        assert!(!found.is_v2());
        assert_eq!(
            found.v1("cpuacct").map(|h| h.mount_point.as_path()),
            Some(Path::new("/sys/fs/cgroup/cpu,cpuacct"))
        );
        assert_eq!(
            found.v1("memory").map(|h| h.mount_point.as_path()),
            Some(Path::new("/sys/fs/cgroup/memory"))
        );
        assert_eq!(
            found.v1("name=systemd").map(|h| h.controllers.len()),
            Some(1)
        );
        assert_eq!(found.v1("rw"), None);
        assert_eq!(
            found.unified().map(|h| h.mount_point.as_path()),
            Some(Path::new("/sys/fs/cgroup/a b"))
        );
    }

    #[test]
    fn pure_v2_is_told_from_hybrid() {
        let found = Hierarchies::parse(
            "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
        );
        assert!(found.is_v2());
        assert_eq!(found.all.len(), 1);
    }

    #[test]
    fn odd_lines_are_passed_over() {
        assert_eq!(
            Hierarchies::parse("\nx\n1 2 - cgroup\n - - -\n").all,
            Vec::new()
        );
        assert_eq!(unescape("a\\b\\04"), PathBuf::from("a\\b\\04"));
    }
}
