//! How much disk a directory takes. Whoever fills it may change it at any moment: no path in it is trusted.

use std::collections::{HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use carob_core::eviction::DiskUsage;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;
use nix::sys::stat::{FileStat, SFlag, fstat, fstatat};

/// Files and directories after which counting stops: about a second of work.
const MOST: u64 = 500_000;

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Blocks and inodes. A file with several names counts once.
    pub usage: DiskUsage,
    /// False when there was more than could be counted.
    pub complete: bool,
}

/// Counts what a directory and all below it take, on its own file system only. Nothing when it is not there.
///
/// # Errors
/// When the directory itself can't be read.
pub fn count(path: &Path) -> io::Result<Counted> {
    let root = match nix::fcntl::open(path, FLAGS, Mode::empty()) {
        Ok(root) => root,
        Err(Errno::ENOENT) => {
            return Ok(Counted {
                complete: true,
                ..Counted::default()
            });
        }
        Err(errno) => return Err(errno.into()),
    };
    let top = fstat(&root)?;
    let mut sum = Sum::new(top);
    let mut waiting: VecDeque<PathBuf> = VecDeque::from([PathBuf::from(".")]);
    while let Some(path) = waiting.pop_front() {
        // By its path from the top each time: no depth needs more than two descriptors.
        let opened = openat2(&root, &path, inside()).and_then(Dir::from_fd);
        let Ok(mut dir) = opened else {
            sum.counted.complete &= path != Path::new(".");
            continue;
        };
        let mut names: Vec<OsString> = Vec::new();
        for entry in dir.iter().flatten() {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        for name in names {
            if sum.counted.usage.inodes >= MOST {
                sum.counted.complete = false;
                return Ok(sum.counted);
            }
            let Ok(found) = fstatat(&dir, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) else {
                continue;
            };
            if sum.add(&found) {
                waiting.push_back(path.join(name));
            }
        }
    }
    Ok(sum.counted)
}

const FLAGS: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

fn inside() -> OpenHow {
    OpenHow::new().flags(FLAGS).resolve(
        ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_XDEV,
    )
}

struct Sum {
    counted: Counted,
    device: nix::libc::dev_t,
    /// Files with several names that were counted.
    linked: HashSet<nix::libc::ino_t>,
}

impl Sum {
    fn new(top: FileStat) -> Self {
        let mut sum = Self {
            counted: Counted {
                complete: true,
                ..Counted::default()
            },
            device: top.st_dev,
            linked: HashSet::new(),
        };
        sum.add(&top);
        sum
    }

    /// Adds a file; true for a directory to look into.
    fn add(&mut self, found: &FileStat) -> bool {
        if found.st_dev != self.device {
            return false;
        }
        let is_dir =
            SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR;
        if is_dir || found.st_nlink < 2 || self.linked.insert(found.st_ino) {
            let bytes = u64::try_from(found.st_blocks).unwrap_or(0) * 512;
            self.counted.usage = self.counted.usage + DiskUsage { bytes, inodes: 1 };
        }
        is_dir
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_directories_and_links_count_as_du_counts_them() {
        let temp = tempfile::tempdir().unwrap();
        let deep = temp.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), vec![1; 100_000]).unwrap();
        fs::hard_link(deep.join("file"), temp.path().join("again")).unwrap();
        symlink("/", temp.path().join("machine")).unwrap();
        symlink("a", temp.path().join("loop")).unwrap();
        let counted = count(temp.path()).unwrap();
        assert!(counted.complete);
        assert_eq!(counted.usage.inodes, 6);
        let du = std::process::Command::new("du")
            .args(["-s", "-B1"])
            .arg(temp.path())
            .output();
        let du = String::from_utf8(du.unwrap().stdout).unwrap();
        let bytes: u64 = du.split('\t').next().unwrap().parse().unwrap();
        assert_eq!(counted.usage.bytes, bytes);
    }

    #[test]
    fn what_is_not_there_takes_nothing() {
        let counted = count(Path::new("/nonexistent/directory")).unwrap();
        assert_eq!(
            (counted.usage, counted.complete),
            (DiskUsage::default(), true)
        );
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let link = temp.path().join("link");
        symlink("/etc", &link).unwrap();
        assert!(count(&link).is_err());
    }
}
