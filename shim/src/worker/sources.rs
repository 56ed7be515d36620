//! Binds for user namespaces: of files shown with other owners than they have (id-mapped mounts, mount_setattr(2), Linux
//! 5.12), and of those in directories which the container's root may not pass through.
//!
//! libcontainer knows neither: it looks for sources as the container's root, and binds whatever is there. So a clone
//! is attached in the worker's own mount namespace, below the bundle, where that user may go, and becomes the source.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Mount, Spec};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::{WorkerError, pipe};
use crate::exec::clone::{Clone, clone, kill, reap};
use crate::guard;

/// Below the bundle: where clones are attached.
const DIRECTORY: &str = "sources";

/// Whether a mount of the spec is to be mapped.
pub fn is_wanted(mount: &Mount) -> bool {
    let option = |option: &String| option == "idmap" || option == "ridmap";
    !maps(mount.uid_mappings()).is_empty()
        || !maps(mount.gid_mappings()).is_empty()
        || mount.options().iter().flatten().any(option)
}

/// Why a mount that is to be mapped can't be.
pub fn check(mount: &Mount, spec: &Spec) -> Result<(), &'static str> {
    let own = [mount.uid_mappings(), mount.gid_mappings()].map(|all| !maps(all).is_empty());
    if !super::spec::is_bind(mount) {
        Err("only binds can be id-mapped")
    } else if own[0] != own[1] {
        Err("it needs uidMappings and gidMappings, or none of them for the container's")
    } else if !own[0] && Users::of(spec).is_none() {
        Err("it has no mappings, and the container has no user namespace with some")
    } else {
        Ok(())
    }
}

fn maps(mappings: &Option<Vec<LinuxIdMapping>>) -> &[LinuxIdMapping] {
    mappings.as_deref().unwrap_or_default()
}

/// Where the owners' mapping comes from.
enum Users<'a> {
    /// Users' and groups' ranges.
    Ranges([&'a [LinuxIdMapping]; 2]),
    /// A user namespace that exists.
    Namespace(PathBuf),
}

impl<'a> Users<'a> {
    /// Those of the container.
    fn of(spec: &'a Spec) -> Option<Self> {
        let linux = spec.linux().as_ref()?;
        let mut namespaces = linux.namespaces().iter().flatten();
        let user = namespaces.find(|each| each.typ() == LinuxNamespaceType::User)?;
        if let Some(path) = user.path() {
            return Some(Self::Namespace(path.clone()));
        }
        let ranges = [maps(linux.uid_mappings()), maps(linux.gid_mappings())];
        ranges
            .iter()
            .all(|all| !all.is_empty())
            .then_some(Self::Ranges(ranges))
    }

    fn open(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Ranges(ranges) => user_namespace(&ranges.map(lines)),
            Self::Namespace(path) => Ok(File::open(path)?.into()),
        }
    }
}

/// As `/proc/PID/uid_map` wants them (user_namespaces(7)): what is on the file system, what is shown, how many.
fn lines(ranges: &[LinuxIdMapping]) -> String {
    let line = |range: &LinuxIdMapping| {
        format!(
            "{} {} {}\n",
            range.container_id(),
            range.host_id(),
            range.size()
        )
    };
    ranges.iter().map(line).collect()
}

/// The options `uidmap=` and `gidmap=` of containerd's snapshotters, taken out of `options`: FROM:TO:SIZE, with commas
/// between several.
pub fn take_options(options: &mut Vec<String>) -> Option<[String; 2]> {
    let mut take = |name: &str| {
        let at = options.iter().position(|option| option.starts_with(name))?;
        let ranges = options.remove(at);
        let lines = ranges[name.len()..].replace(',', "\n").replace(':', " ");
        Some(lines + "\n")
    };
    let (users, groups) = (take("uidmap="), take("gidmap="));
    users.zip(groups).map(<[_; 2]>::from)
}

/// A user namespace with these lines of users and groups. Its only process is gone again.
pub fn user_namespace(lines: &[String; 2]) -> io::Result<OwnedFd> {
    let (ready, tell) = pipe()?;
    match clone(None)? {
        Clone::Child { .. } => {
            let entered = unshare(CloneFlags::CLONE_NEWUSER).is_ok();
            if entered && io::Write::write_all(&mut File::from(tell), b"x").is_ok() {
                loop {
                    // SAFETY: waits for the signal that ends it; touches no memory.
                    unsafe { libc::pause() };
                }
            }
            // SAFETY: ends the process, which has nothing to tidy up.
            unsafe { libc::_exit(1) }
        }
        Clone::Parent { pid, pidfd } => {
            // The child's end alone is left, so that its death is an end of file.
            drop(tell);
            let made = (|| {
                io::Read::read_exact(&mut File::from(ready), &mut [0])
                    .map_err(|_| io::Error::other("a user namespace can't be made"))?;
                for (name, lines) in ["uid_map", "gid_map"].iter().zip(lines) {
                    fs::write(format!("/proc/{pid}/{name}"), lines)?;
                }
                File::open(format!("/proc/{pid}/ns/user"))
            })();
            kill(pidfd.as_fd());
            reap(pidfd.as_fd());
            Ok(made?.into())
        }
    }
}

/// The directory with the clones. It exists when there is one.
pub struct Staging {
    directory: PathBuf,
    clones: usize,
}

impl Staging {
    /// Below `bundle`. To be used in the worker's own mount namespace only.
    pub fn below(bundle: &Path) -> Self {
        Self {
            directory: bundle.join(DIRECTORY),
            clones: 0,
        }
    }

    /// Attaches a clone of what is mounted at `source`: `tree` tells whether it takes what is mounted below along. It is
    /// mapped by the user namespace in `users`, with `true` together with what is below. Returns where it is.
    pub fn add(
        &mut self,
        source: &Path,
        tree: bool,
        users: Option<(&OwnedFd, bool)>,
    ) -> io::Result<PathBuf> {
        if self.clones == 0 {
            match fs::create_dir(&self.directory) {
                Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => return Err(cause),
                _ => {}
            }
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            let mode = Some("mode=0711");
            mount(Some("carob"), &self.directory, Some("tmpfs"), flags, mode)?;
        }
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        if tree {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        }
        let clone = open_tree(rustix::fs::CWD, source, flags)?;
        if let Some((users, recursive)) = users {
            guard::map_ids(&clone, users, recursive).map_err(|cause| unmappable(source, &cause))?;
        }
        let target = self.directory.join(self.clones.to_string());
        self.clones += 1;
        if fs::metadata(source)?.is_dir() {
            fs::create_dir(&target)?;
        } else {
            File::create_new(&target)?;
        }
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&clone, "", rustix::fs::CWD, &target, flags)?;
        Ok(target)
    }
}

fn unmappable(source: &Path, cause: &io::Error) -> io::Error {
    io::Error::other(format!(
        "the owners of {} can't be mapped: {cause}: its file system or this kernel may know no id-mapped mounts",
        source.display()
    ))
}

/// Gives binds that are to be mapped a mapped clone as their source, and in a user namespace all others a clone.
pub fn stage(spec: &mut Spec, staging: &mut Staging) -> Result<(), WorkerError> {
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    let all = has_user_namespace(spec);
    for mount in mounts.iter_mut() {
        let mapped = is_wanted(mount);
        if !(mapped || all && super::spec::is_bind(mount)) {
            continue;
        }
        let source = mount.source().clone().unwrap_or_default();
        let failed = |cause| {
            let what = format!("a clone of {}", source.display());
            WorkerError::mount(what, mount.destination(), cause)
        };
        let has = |word: &str| mount.options().iter().flatten().any(|each| each == word);
        let users = match mapped {
            true => Some(users(mount, spec).map_err(failed)?),
            false => None,
        };
        let users = users.as_ref().map(|users| (users, has("ridmap")));
        let clone = staging.add(&source, has("rbind"), users);
        let clone = clone.map_err(failed)?;
        let mut options = mount.options().clone().unwrap_or_default();
        options.retain(|option| option != "idmap" && option != "ridmap");
        mount
            .set_source(Some(clone))
            .set_options(Some(options))
            .set_uid_mappings(None)
            .set_gid_mappings(None);
    }
    spec.set_mounts(Some(mounts));
    Ok(())
}

/// The user namespace that a mount is to be mapped by.
fn users(mount: &Mount, spec: &Spec) -> io::Result<OwnedFd> {
    let own = [maps(mount.uid_mappings()), maps(mount.gid_mappings())];
    let users = match own[0].is_empty() {
        true => Users::of(spec),
        false => Some(Users::Ranges(own)),
    };
    users.ok_or(io::ErrorKind::InvalidInput)?.open()
}

fn has_user_namespace(spec: &Spec) -> bool {
    let namespaces = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.namespaces().as_ref());
    let mut namespaces = namespaces.into_iter().flatten();
    namespaces.any(|each| each.typ() == LinuxNamespaceType::User)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_snapshotters_are_taken_out() {
        let options = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
        let mut both = options(&["ro", "uidmap=0:100000:65536", "gidmap=0:5:1,1:9:2"]);
        let wanted = ["0 100000 65536\n", "0 5 1\n1 9 2\n"].map(str::to_owned);
        assert_eq!(take_options(&mut both), Some(wanted));
        assert_eq!(both, ["ro"]);
        let mut none = options(&["ro", "lowerdir=/a"]);
        assert_eq!(take_options(&mut none), None);
        assert_eq!(none.len(), 2);
    }
}
