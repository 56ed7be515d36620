//! What of the machine shapes a `config.json`: asked once, then an argument of the pure functions.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Capabilities;

use super::capabilities::BY_NUMBER;

/// Facts about the machine that containers run on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// All its memory, in bytes.
    pub memory_capacity: u64,
    /// Only cgroup v2 is mounted.
    pub cgroup_v2: bool,
    /// The memory controller limits swap.
    pub swap_accounting: bool,
    /// Sizes of huge pages that a controller limits, in bytes, ascending.
    pub hugepage_sizes: Vec<u64>,
    /// Version of the kernel, major and minor.
    pub kernel: (u32, u32),
    /// What this process has, and so can give to containers.
    pub capabilities: Capabilities,
    /// Directories of `/sys` that tell about the heat of processors and so about the work of neighbours.
    pub thermal_throttle: Vec<String>,
}

/// Why the machine could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell what this machine is: {}: {source}; are /proc and /sys mounted?", path.display())]
pub struct MachineError {
    path: PathBuf,
    source: io::Error,
}

impl Machine {
    /// Looks at the machine through `/proc` and `/sys`.
    ///
    /// # Errors
    ///
    /// When a file that every Linux has cannot be read or is not understood.
    pub fn detect() -> Result<Self, MachineError> {
        Self::detect_below(Path::new("/"))
    }

    fn detect_below(root: &Path) -> Result<Self, MachineError> {
        let field = |file: &str, name: &str| {
            let path = root.join(file);
            let found = fs::read_to_string(&path).and_then(|text| {
                let mut lines = text.lines();
                let value = lines.find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
                value.ok_or_else(|| {
                    io::Error::new(io::ErrorKind::InvalidData, format!("it has no {name:?}"))
                })
            });
            found.map_err(|source| MachineError { path, source })
        };
        let malformed = |file: &str, value: &str| MachineError {
            path: root.join(file),
            source: io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{value:?} is malformed"),
            ),
        };
        const MEMORY: &str = "proc/meminfo";
        const STATUS: &str = "proc/self/status";
        const RELEASE: &str = "proc/sys/kernel/osrelease";

        let memory = field(MEMORY, "MemTotal:")?;
        let kilobytes: Option<u64> = memory.strip_suffix(" kB").and_then(|n| n.parse().ok());
        let bits = field(STATUS, "CapEff:")?;
        let bits = u64::from_str_radix(&bits, 16).map_err(|_| malformed(STATUS, &bits))?;
        let release = field(RELEASE, "")?;

        let cgroup = root.join("sys/fs/cgroup");
        let cgroup_v2 = cgroup.join("cgroup.controllers").exists();
        Ok(Self {
            memory_capacity: kilobytes.ok_or_else(|| malformed(MEMORY, &memory))? * 1024,
            cgroup_v2,
            swap_accounting: match cgroup_v2 {
                true => has_swap_limit(&cgroup),
                false => cgroup.join("memory/memory.memsw.limit_in_bytes").exists(),
            },
            hugepage_sizes: match limits_hugepages(&cgroup) {
                true => hugepage_sizes(&root.join("sys/kernel/mm/hugepages")),
                false => Vec::new(),
            },
            kernel: kernel_version(&release).ok_or_else(|| malformed(RELEASE, &release))?,
            capabilities: (0..)
                .zip(BY_NUMBER)
                .filter(|(n, _)| bits >> n & 1 == 1)
                .map(|(_, c)| c)
                .collect(),
            thermal_throttle: thermal_throttle(root),
        })
    }
}

/// Version 2's root has no limits of its own; its children show what the kernel offers.
fn has_swap_limit(cgroup: &Path) -> bool {
    names(cgroup)
        .iter()
        .any(|name| cgroup.join(name).join("memory.swap.max").exists())
}

/// Where version 1 is mounted, a controller that only the version 2 beside it has is of no use: runtimes
/// take one or the other.
fn limits_hugepages(cgroup: &Path) -> bool {
    match fs::read_to_string(cgroup.join("cgroup.controllers")) {
        Ok(controllers) => controllers.split_whitespace().any(|c| c == "hugetlb"),
        Err(_) => cgroup.join("hugetlb").is_dir(),
    }
}

/// From directories such as `hugepages-2048kB`.
fn hugepage_sizes(dir: &Path) -> Vec<u64> {
    let kilobytes = |name: &String| {
        name.strip_prefix("hugepages-")?
            .strip_suffix("kB")?
            .parse()
            .ok()
    };
    let mut sizes: Vec<u64> = names(dir)
        .iter()
        .filter_map(kilobytes)
        .map(|k: u64| k * 1024)
        .collect();
    sizes.sort_unstable();
    sizes
}

fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn thermal_throttle(root: &Path) -> Vec<String> {
    let cpus = root.join("sys/devices/system/cpu");
    let mut names = names(&cpus);
    names.retain(|name| {
        name.starts_with("cpu") && cpus.join(name).join("thermal_throttle").is_dir()
    });
    names.sort();
    names
        .iter()
        .map(|name| format!("/sys/devices/system/cpu/{name}/thermal_throttle"))
        .collect()
}

/// Names in a directory, none when it cannot be read: what is listed here is optional on every machine.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Capability;

    use super::*;

    /// A root with the files of a machine, each made with its directories.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let always = [
            (
                "proc/meminfo",
                "MemTotal:       16318480 kB\nMemFree: 1 kB\n",
            ),
            (
                "proc/self/status",
                "Name:\tx\nCapEff:\t0000000000000401\nCapBnd:\tff\n",
            ),
            ("proc/sys/kernel/osrelease", "6.1.0-39-cloud-amd64\n"),
        ];
        for (path, text) in always.iter().chain(files) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn cgroup_v2_with_everything() {
        let root = root(&[
            (
                "sys/fs/cgroup/cgroup.controllers",
                "cpuset cpu memory hugetlb pids\n",
            ),
            ("sys/fs/cgroup/system.slice/memory.swap.max", "max\n"),
            (
                "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages",
                "0",
            ),
            ("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0"),
            ("sys/devices/system/cpu/cpu1/thermal_throttle/count", "0"),
            ("sys/devices/system/cpu/cpu0/thermal_throttle/count", "0"),
            ("sys/devices/system/cpu/cpuidle/x", "0"),
        ]);
        let machine = Machine::detect_below(root.path()).unwrap();
        let expected = Machine {
            memory_capacity: 16_318_480 * 1024,
            cgroup_v2: true,
            swap_accounting: true,
            hugepage_sizes: vec![2 << 20, 1 << 30],
            kernel: (6, 1),
            capabilities: [Capability::Chown, Capability::NetBindService].into(),
            thermal_throttle: vec![
                "/sys/devices/system/cpu/cpu0/thermal_throttle".into(),
                "/sys/devices/system/cpu/cpu1/thermal_throttle".into(),
            ],
        };
        assert_eq!(machine, expected);
    }

    #[test]
    fn cgroup_v1_and_hybrid() {
        let mut files = vec![
            ("sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", "0"),
            ("sys/fs/cgroup/unified/cgroup.controllers", "hugetlb\n"),
            ("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0"),
        ];
        let machine = Machine::detect_below(root(&files).path()).unwrap();
        assert!(!machine.cgroup_v2 && machine.swap_accounting);
        assert_eq!(machine.hugepage_sizes, [0u64; 0]);
        files.push(("sys/fs/cgroup/hugetlb/cgroup.procs", ""));
        let machine = Machine::detect_below(root(&files).path()).unwrap();
        assert_eq!(machine.hugepage_sizes, [2 << 20]);
    }

    #[test]
    fn a_bare_machine() {
        let root = root(&[("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0")]);
        let machine = Machine::detect_below(root.path()).unwrap();
        assert!(!machine.cgroup_v2 && !machine.swap_accounting);
        assert_eq!(
            machine.hugepage_sizes, [0u64; 0],
            "no controller limits them"
        );
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (path, text, expected) in [
            (
                "proc/meminfo",
                "MemTotal: many\n",
                "/proc/meminfo: \"many\" is malformed; are",
            ),
            (
                "proc/self/status",
                "Name: x\n",
                "/proc/self/status: it has no \"CapEff:\"; are",
            ),
            (
                "proc/sys/kernel/osrelease",
                "rolling\n",
                "/osrelease: \"rolling\" is malformed; are",
            ),
        ] {
            let error = Machine::detect_below(root(&[(path, text)]).path()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn this_machine_is_one() {
        let machine = Machine::detect().unwrap();
        assert!(machine.memory_capacity > 1 << 20);
        assert!(machine.kernel >= (4, 0));
    }
}
