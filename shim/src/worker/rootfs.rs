//! Mounts the root file system that a Create request carries, in the worker's mount namespace.
//!
//! An image with many layers has more `lowerdir` text than the one page that mount(2) takes. Then
//! the layers' common directory becomes the working directory and they are named from there, and if
//! that isn't enough, the newer mount calls add one layer at a time.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};

use super::WorkerError;
use super::sources::{self, Staging};

/// What mount(2) takes as options, in bytes: a page, with its closing zero.
const PAGE: usize = 4095;

/// One mount, as containerd describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootMount {
    /// The file system's type, or `bind`.
    pub kind: String,
    /// The device or directory.
    pub source: String,
    /// A path below the root file system's directory; usually empty.
    pub target: String,
    /// mount(8)'s options.
    pub options: Vec<String>,
}

/// Mounts `mounts` at `rootfs`, in their order.
pub fn mount_all(
    mounts: &[RootMount],
    rootfs: &Path,
    staging: &mut Staging,
) -> Result<(), WorkerError> {
    if mounts.is_empty() {
        return Ok(());
    }
    match std::fs::create_dir(rootfs) {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
            return Err(WorkerError::step(
                format!("{} can't be made", rootfs.display()),
                cause,
            ));
        }
        _ => {}
    }
    for each in mounts {
        let what = || format!("the root file system's {} of {:?}", each.kind, each.source);
        if !each.target.is_empty() {
            let cause = io::Error::other("a target below the root is not supported");
            return Err(WorkerError::mount(what(), rootfs, cause));
        }
        id_mapped(each.clone(), staging)
            .and_then(|each| mount_one(&each, rootfs))
            .map_err(|cause| WorkerError::mount(what(), rootfs, cause))?;
    }
    Ok(())
}

/// Where a snapshotter wants a mount's files shown as a user namespace's: their mapped clones in place of them. Of an
/// overlay these are its lower layers; what is above is written by the container and has the right owners.
fn id_mapped(mut each: RootMount, staging: &mut Staging) -> io::Result<RootMount> {
    let Some(lines) = sources::take_options(&mut each.options) else {
        return Ok(each);
    };
    let users = sources::user_namespace(&lines)?;
    let mut clone = |source: &str| {
        let clone = staging.add(Path::new(source), false, Some((&users, false)))?;
        Ok::<_, io::Error>(clone.display().to_string())
    };
    if each.kind != "overlay" {
        each.source = clone(&each.source)?;
        return Ok(each);
    }
    for option in &mut each.options {
        if let Some(layers) = option.strip_prefix("lowerdir=") {
            let clones: io::Result<Vec<_>> = layers.split(':').map(&mut clone).collect();
            *option = format!("lowerdir={}", clones?.join(":"));
        }
    }
    Ok(each)
}

/// An option string taken apart: flags for the kernel, and what the file system itself reads.
#[derive(Debug)]
struct Options<'a> {
    flags: MsFlags,
    propagation: MsFlags,
    data: Vec<&'a str>,
}

fn parse(options: &[String]) -> Options<'_> {
    let mut parsed = Options {
        flags: MsFlags::empty(),
        propagation: MsFlags::empty(),
        data: Vec::new(),
    };
    for option in options {
        let (set, clear) = match option.as_str() {
            "ro" => (MsFlags::MS_RDONLY, MsFlags::empty()),
            "rw" => (MsFlags::empty(), MsFlags::MS_RDONLY),
            "bind" => (MsFlags::MS_BIND, MsFlags::empty()),
            "rbind" => (MsFlags::MS_BIND | MsFlags::MS_REC, MsFlags::empty()),
            "nosuid" => (MsFlags::MS_NOSUID, MsFlags::empty()),
            "suid" => (MsFlags::empty(), MsFlags::MS_NOSUID),
            "nodev" => (MsFlags::MS_NODEV, MsFlags::empty()),
            "dev" => (MsFlags::empty(), MsFlags::MS_NODEV),
            "noexec" => (MsFlags::MS_NOEXEC, MsFlags::empty()),
            "exec" => (MsFlags::empty(), MsFlags::MS_NOEXEC),
            "noatime" => (MsFlags::MS_NOATIME, MsFlags::MS_RELATIME),
            "relatime" => (MsFlags::MS_RELATIME, MsFlags::MS_NOATIME),
            "sync" => (MsFlags::MS_SYNCHRONOUS, MsFlags::empty()),
            "private" | "rprivate" | "slave" | "rslave" => {
                parsed.propagation = MsFlags::MS_PRIVATE;
                continue;
            }
            "defaults" | "" => continue,
            data => {
                parsed.data.push(data);
                continue;
            }
        };
        parsed.flags.remove(clear);
        parsed.flags.insert(set);
    }
    parsed
}

fn mount_one(each: &RootMount, rootfs: &Path) -> io::Result<()> {
    let Options {
        mut flags,
        propagation,
        data,
    } = parse(&each.options);
    if each.kind == "bind" {
        flags.insert(MsFlags::MS_BIND);
    }
    let text = data.join(",");
    let source = Some(each.source.as_str());
    if flags.contains(MsFlags::MS_BIND) {
        let bind = flags & (MsFlags::MS_BIND | MsFlags::MS_REC);
        mount(source, rootfs, None::<&str>, bind, None::<&str>)?;
        let more = flags - (MsFlags::MS_BIND | MsFlags::MS_REC);
        if !more.is_empty() {
            // The first call ignores everything but the binding itself (mount(2)).
            let again = more | MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
            mount(None::<&str>, rootfs, None::<&str>, again, None::<&str>)?;
        }
    } else if text.len() <= PAGE {
        mount(
            source,
            rootfs,
            Some(each.kind.as_str()),
            flags,
            Some(text.as_str()),
        )?;
    } else if each.kind == "overlay" {
        mount_long_overlay(each, &data, flags, rootfs)?;
    } else {
        return Err(io::Error::other("its options are longer than a page"));
    }
    if !propagation.is_empty() {
        mount(
            None::<&str>,
            rootfs,
            None::<&str>,
            propagation,
            None::<&str>,
        )?;
    }
    Ok(())
}

/// An overlay whose options don't fit into a page.
fn mount_long_overlay(
    each: &RootMount,
    data: &[&str],
    flags: MsFlags,
    rootfs: &Path,
) -> io::Result<()> {
    let layers: Vec<&str> = data
        .iter()
        .filter_map(|option| option.strip_prefix("lowerdir="))
        .flat_map(|layers| layers.split(':'))
        .collect();
    let others = || {
        data.iter()
            .filter(|option| !option.starts_with("lowerdir="))
            .copied()
    };
    let common = common_directory(&layers);
    let before = std::env::current_dir()?;
    std::env::set_current_dir(common)?;
    let short: Vec<&str> = layers
        .iter()
        .map(|layer| {
            layer
                .strip_prefix(common)
                .unwrap_or(layer)
                .trim_start_matches('/')
        })
        .collect();
    let lower = format!("lowerdir={}", short.join(":"));
    let text = std::iter::once(lower.as_str())
        .chain(others())
        .collect::<Vec<_>>()
        .join(",");
    let done = if text.len() <= PAGE {
        mount(
            Some(each.source.as_str()),
            rootfs,
            Some("overlay"),
            flags,
            Some(text.as_str()),
        )
        .map_err(Into::into)
    } else {
        mount_layer_by_layer(&short, others(), flags, rootfs)
    };
    std::env::set_current_dir(before)?;
    done
}

/// The longest directory that all layers are below.
fn common_directory<'a>(layers: &[&'a str]) -> &'a str {
    let Some((first, rest)) = layers.split_first() else {
        return "/";
    };
    let mut length = first.rfind('/').unwrap_or(0);
    while !rest.iter().all(|layer| {
        layer.get(..length) == first.get(..length) && layer.as_bytes().get(length) == Some(&b'/')
    }) {
        match first.get(..length).and_then(|shorter| shorter.rfind('/')) {
            Some(shorter) if length > 0 => length = shorter,
            _ => return "/",
        }
    }
    if length == 0 { "/" } else { &first[..length] }
}

/// Needs Linux 6.8, which knows `lowerdir+`.
fn mount_layer_by_layer<'a>(
    layers: &[&str],
    others: impl Iterator<Item = &'a str>,
    flags: MsFlags,
    rootfs: &Path,
) -> io::Result<()> {
    let context: OwnedFd = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in layers {
        fsconfig_set_string(context.as_fd(), "lowerdir+", *layer)?;
    }
    for option in others {
        match option.split_once('=') {
            Some((key, value)) => fsconfig_set_string(context.as_fd(), key, value)?,
            None => fsconfig_set_flag(context.as_fd(), option)?,
        }
    }
    fsconfig_create(context.as_fd())?;
    let mut attributes = MountAttrFlags::empty();
    for (flag, attribute) in [
        (MsFlags::MS_RDONLY, MountAttrFlags::MOUNT_ATTR_RDONLY),
        (MsFlags::MS_NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (MsFlags::MS_NODEV, MountAttrFlags::MOUNT_ATTR_NODEV),
        (MsFlags::MS_NOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC),
        (MsFlags::MS_NOATIME, MountAttrFlags::MOUNT_ATTR_NOATIME),
    ] {
        if flags.contains(flag) {
            attributes |= attribute;
        }
    }
    let mounted = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    move_mount(
        mounted.as_fd(),
        "",
        rustix::fs::CWD,
        rootfs,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_apart() {
        let options = ["ro", "lowerdir=/a:/b", "nosuid", "index=off", "suid"].map(str::to_owned);
        let parsed = parse(&options);
        assert_eq!(parsed.flags, MsFlags::MS_RDONLY);
        assert_eq!(parsed.data, ["lowerdir=/a:/b", "index=off"]);
    }

    #[test]
    fn the_common_directory_is_a_directory_of_all() {
        for (layers, wanted) in [
            (&["/var/l/1/fs", "/var/l/2/fs"][..], "/var/l"),
            (&["/var/l/1/fs", "/var/l/10/fs"], "/var/l"),
            (&["/a/fs", "/b/fs"], "/"),
            (&["/a/b"], "/a"),
            (&["/a", "/b"], "/"),
            (&[], "/"),
        ] {
            assert_eq!(common_directory(layers), wanted, "{layers:?}");
        }
    }

    /// An overlay of `count` layers, mounted in a private namespace, has a file of the last one.
    fn overlay_of(count: usize, padding: usize) {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let mut layers = Vec::new();
        for number in 0..count {
            let layer = temp
                .path()
                .join(format!("{}-{number}", "x".repeat(padding)))
                .join("fs");
            std::fs::create_dir_all(&layer).expect("made");
            std::fs::write(layer.join(format!("file{number}")), "").expect("written");
            layers.push(layer.display().to_string());
        }
        let rootfs = temp.path().join("rootfs");
        let root = RootMount {
            kind: "overlay".into(),
            source: "overlay".into(),
            target: String::new(),
            options: vec!["ro".into(), format!("lowerdir={}", layers.join(":"))],
        };
        let last = rootfs.join(format!("file{}", count - 1));
        // Mount namespaces belong to threads, so a thread of the test may have its own.
        let seen = std::thread::spawn(move || {
            super::super::mounts::enter_private_namespace("/".as_ref(), false).expect("root");
            // The working directory belongs to the process unless it is unshared as well.
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).expect("root");
            let mut staging = Staging::below(Path::new("/nowhere"));
            mount_all(&[root], &rootfs, &mut staging).expect("mounted");
            last.exists()
        });
        assert!(seen.join().expect("no panic"));
        assert!(
            !temp.path().join("rootfs/file0").exists(),
            "it leaked out of the namespace"
        );
    }

    #[test]
    fn a_few_layers() {
        overlay_of(2, 1);
    }

    #[test]
    fn layers_that_fit_only_from_their_common_directory() {
        overlay_of(120, 10);
    }

    #[test]
    fn layers_that_never_fit_into_a_page() {
        overlay_of(100, 100);
    }
}
