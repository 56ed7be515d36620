//! Where a mount really goes when the image has symbolic links on the way.
//!
//! libcontainer follows links of the image within the root, but gives up at one that dangles, like
//! Debian's `/etc/resolv.conf -> ../run/systemd/resolve/stub-resolv.conf`. runc makes what is missing
//! there, inside the root. So each destination is rewritten to the path that its links lead to, as
//! the mounts before it will show it. This only reads: whatever a container changes meanwhile, the
//! mount itself is made by libcontainer, beneath the root and by descriptor.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::Mount;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2, readlinkat};
use rustix::io::Errno;

use super::WorkerError;
use super::spec::is_bind;

/// How many links may be followed for one path, as the kernel has it (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Files below `/proc` that may be mounted over, as runc has them (those that lxcfs emulates).
const PROC_FILES: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// Rewrites the destinations of `mounts`, in their order, for the root file system at `rootfs`.
///
/// # Errors
/// [`WorkerError::Image`] for what can't be a mount point: `/proc` and its like that are no
/// directories, links in a circle, or that lead into `/proc`.
pub fn settle(mounts: &mut [Mount], rootfs: &Path) -> Result<(), WorkerError> {
    let root = open(rootfs).map_err(|cause| {
        WorkerError::step(format!("{} can't be opened", rootfs.display()), cause)
    })?;
    check_dev(&root)?;
    let mut view = View {
        root,
        covers: Vec::new(),
    };
    for mount in mounts {
        let wanted = mount.destination();
        let kind = mount.typ().as_deref().unwrap_or_default();
        // Links to these can only be meant to deceive whoever trusts what is in them.
        if matches!(kind, "proc" | "sysfs") {
            view.must_be_directory(wanted, kind)?;
        }
        let settled = view.settle(wanted)?;
        refuse_in_proc(wanted, &settled, mount)?;
        view.covers.push(Cover::of(mount, settled.clone()));
        mount.set_destination(settled);
    }
    Ok(())
}

/// Refuses an image whose `/dev` is not a directory of its own: libcontainer makes links below it by
/// path before it enters the root, so a symbolic link would lead it into the host (trap 13, C7).
fn check_dev(root: &OwnedFd) -> Result<(), WorkerError> {
    match look(root, Path::new("dev")) {
        Ok(Found::Directory) | Err(Errno::NOENT) => Ok(()),
        Ok(found) => Err(not_a_directory("/dev".as_ref(), &found, "devices")),
        Err(cause) => Err(WorkerError::step("the image's /dev can't be used", cause)),
    }
}

fn not_a_directory(path: &Path, found: &Found, what: &str) -> WorkerError {
    let is = match found {
        Found::Link(target) => format!("a symbolic link to {}", target.display()),
        _ => "not a directory".to_owned(),
    };
    WorkerError::Image {
        path: path.to_owned(),
        why: format!(
            "is {is}, so {what} can't be put there: make it a directory in the image, or leave it out"
        ),
    }
}

/// Nothing but procfs goes over `/proc`, and nothing but a few files below: what is written there
/// must reach the kernel (CVE-2019-16884).
fn refuse_in_proc(wanted: &Path, settled: &Path, mount: &Mount) -> Result<(), WorkerError> {
    let Ok(below) = settled.strip_prefix("/proc") else {
        return Ok(());
    };
    let allowed = match below.as_os_str().is_empty() {
        true => mount.typ().as_deref() == Some("proc") || (is_bind(mount) && shows_proc(mount)),
        false => PROC_FILES.iter().any(|file| settled == Path::new(file)),
    };
    if allowed {
        return Ok(());
    }
    let leads = match wanted == settled {
        true => String::new(),
        false => format!("leads to {} and ", settled.display()),
    };
    Err(WorkerError::Image {
        path: wanted.to_owned(),
        why: format!(
            "{leads}can't be mounted over, because it is in /proc: mount {} elsewhere",
            mount.source().as_deref().unwrap_or("it".as_ref()).display()
        ),
    })
}

/// Whether a bind is of procfs itself.
fn shows_proc(mount: &Mount) -> bool {
    mount.source().as_ref().is_some_and(|source| {
        nix::sys::statfs::statfs(source)
            .is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::PROC_SUPER_MAGIC)
    })
}

/// What is at a path.
enum Found {
    Directory,
    Link(PathBuf),
    Other,
}

/// What an earlier mount covers.
struct Cover {
    at: PathBuf,
    /// What is seen there; of a file system of its own, nothing is known and nothing has links.
    shows: Option<OwnedFd>,
}

impl Cover {
    fn of(mount: &Mount, at: PathBuf) -> Self {
        let source = mount.source().as_ref().filter(|_| is_bind(mount));
        let shows = source.and_then(|source| open(source).ok());
        Self { at, shows }
    }
}

/// The container's files as they will be, as far as the mounts are known.
struct View {
    root: OwnedFd,
    covers: Vec<Cover>,
}

impl View {
    fn must_be_directory(&self, path: &Path, what: &str) -> Result<(), WorkerError> {
        match self.look(path) {
            None | Some(Found::Directory) => Ok(()),
            Some(found) => Err(not_a_directory(path, &found, what)),
        }
    }

    /// What is at `path`, which has no links before its last part.
    fn look(&self, path: &Path) -> Option<Found> {
        let cover = self
            .covers
            .iter()
            .rev()
            .find(|cover| path.starts_with(&cover.at));
        let (base, below) = match cover {
            Some(cover) => (cover.shows.as_ref()?, path.strip_prefix(&cover.at)),
            None => (&self.root, path.strip_prefix("/")),
        };
        let below = below.ok().filter(|below| !below.as_os_str().is_empty());
        match below {
            // A mount point; its source was followed to its end.
            None => Some(Found::Directory),
            // What can't be looked at is left to libcontainer, which says why.
            Some(below) => look(base, below).ok(),
        }
    }

    /// Follows all links in `path`. What does not exist, or isn't known, is as it is written.
    fn settle(&self, path: &Path) -> Result<PathBuf, WorkerError> {
        let mut settled = PathBuf::from("/");
        let mut left: VecDeque<OsString> = parts(path);
        let mut links = 0;
        while let Some(part) = left.pop_front() {
            if part == ".." {
                settled.pop();
                continue;
            }
            settled.push(&part);
            let Some(Found::Link(target)) = self.look(&settled) else {
                continue;
            };
            links += 1;
            if links > MOST_LINKS {
                return Err(WorkerError::Image {
                    path: path.to_owned(),
                    why: "can't be mounted over, because its symbolic links go round in a circle: mend them in the image"
                        .into(),
                });
            }
            settled.pop();
            if target.is_absolute() {
                settled = PathBuf::from("/");
            }
            for part in parts(&target).into_iter().rev() {
                left.push_front(part);
            }
        }
        Ok(settled)
    }
}

/// Names and `..` of a path.
fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

/// Opens a path of the machine only to know it.
fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// What `path` is below `base`, following nothing.
fn look(base: &OwnedFd, path: &Path) -> rustix::io::Result<Found> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let found = openat2(base, path, flags, Mode::empty(), how)?;
    Ok(match FileType::from_raw_mode(fstat(&found)?.st_mode) {
        FileType::Directory => Found::Directory,
        FileType::Symlink => {
            let target = readlinkat(&found, "", Vec::new())?;
            Found::Link(OsString::from_vec(target.into_bytes()).into())
        }
        _ => Found::Other,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A root file system with these links, and empty directories for what ends in `/`.
    fn image(entries: &[(&str, &str)]) -> tempfile::TempDir {
        let temp = tempfile::tempdir().expect("a temporary directory");
        for (path, target) in entries {
            let path = temp.path().join(path);
            std::fs::create_dir_all(path.parent().expect("below the root")).expect("made");
            match target.is_empty() {
                true => std::fs::create_dir_all(&path).expect("made"),
                false => symlink(target, &path).expect("linked"),
            }
        }
        temp
    }

    fn mount(kind: &str, source: &Path, destination: &str) -> Mount {
        let mut mount = Mount::default();
        mount
            .set_typ(Some(kind.to_owned()))
            .set_source(Some(source.to_owned()))
            .set_destination(destination.into());
        mount
    }

    fn settled(root: &Path, mut mounts: Vec<Mount>) -> Result<Vec<String>, String> {
        settle(&mut mounts, root).map_err(|error| error.to_string())?;
        let path = |mount: &Mount| mount.destination().display().to_string();
        Ok(mounts.iter().map(path).collect())
    }

    #[test]
    fn c17_links_end_inside_the_root() {
        for (link, target, leads) in [
            ("etc/hosts", "../run/hosts", "/run/hosts"),
            ("etc/hosts", "../../../../run/x/hosts", "/run/x/hosts"),
            ("etc/hosts", "/run/hosts", "/run/hosts"),
            ("etc/hosts", "./hosts.real", "/etc/hosts.real"),
            ("etc", "/usr/etc", "/usr/etc/hosts"),
            ("etc/hosts", "missing/../hosts", "/etc/hosts"),
        ] {
            let root = image(&[(link, target), ("mnt", "")]);
            let file = mount("bind", "/dev/null".as_ref(), "/etc/hosts");
            // The last one leads back to itself.
            let wanted = match target {
                "missing/../hosts" => None,
                _ => Some(vec![leads.to_owned()]),
            };
            let found = settled(root.path(), vec![file]);
            assert_eq!(found.clone().ok(), wanted, "{link} -> {target}: {found:?}");
        }
    }

    #[test]
    fn c17_links_are_seen_through_the_mounts_before() {
        let root = image(&[("run/sub", "/elsewhere"), ("etc/x", "/run/sub/x")]);
        let volume = image(&[("link", "../../data/file")]);
        let null = Path::new("/dev/null");
        let found = settled(
            root.path(),
            vec![
                mount("bind", null, "/etc/x"),
                mount("tmpfs", "tmpfs".as_ref(), "/run"),
                mount("bind", null, "/etc/x"),
                mount("bind", volume.path(), "/run/volume"),
                mount("bind", null, "/run/volume/link"),
            ],
        );
        let wanted = [
            "/elsewhere/x",
            "/run",
            "/run/sub/x",
            "/run/volume",
            "/data/file",
        ];
        assert_eq!(found.expect("all can be"), wanted);
    }

    #[test]
    fn c6_nothing_is_mounted_into_proc() {
        let root = image(&[("etc/hosts", "/proc/sys/kernel/core_pattern"), ("proc", "")]);
        let proc = || mount("proc", "proc".as_ref(), "/proc");
        let null = |at: &str| mount("bind", "/dev/null".as_ref(), at);
        for at in ["/etc/hosts", "/proc/self/attr/exec", "/proc"] {
            let why = settled(root.path(), vec![proc(), null(at)]).expect_err(at);
            assert!(why.contains("because it is in /proc"), "{why}");
        }
        let allowed = vec![
            proc(),
            null("/proc/meminfo"),
            mount("bind", "/proc".as_ref(), "/proc"),
        ];
        settled(root.path(), allowed).expect("as runc has it");
    }

    #[test]
    fn c7_proc_sys_and_dev_must_be_directories() {
        for (name, kind) in [("proc", "proc"), ("sys", "sysfs"), ("dev", "tmpfs")] {
            let root = image(&[(name, "/tmp")]);
            let at = format!("/{name}");
            let why = settled(root.path(), vec![mount(kind, kind.as_ref(), &at)]).expect_err(name);
            assert!(
                why.starts_with(&format!("the image's {at} is a symbolic link to /tmp")),
                "{why}"
            );
            assert!(
                why.ends_with("make it a directory in the image, or leave it out"),
                "{why}"
            );
            std::fs::remove_file(root.path().join(name)).expect("removed");
            settled(root.path(), vec![mount(kind, kind.as_ref(), &at)]).expect("it is made");
        }
    }
}
