//! Changes the container's spec so that libcontainer does only what it does well.
//!
//! It keeps namespaces, mounts, devices, masked paths, sysctls, hooks and the console. What it would
//! do slowly, unsafely or not at all is taken out and done by us: cgroups and their mount, seccomp,
//! and the last steps before `execve` (user, capabilities, limits and so on), so that init stays
//! root with all capabilities as long as it is libcontainer's.

use std::path::Path;

use oci_spec::runtime::{LinuxNamespaceType, Mount, Root, Spec, User};

use super::sources;
use crate::bundle::BundleError;

/// Refuses what can't become a container, with one sentence each.
pub fn check(spec: &Spec, bundle: &Path, rootfs_is_mounted: bool) -> Result<(), BundleError> {
    let invalid = |why: String| BundleError::Invalid {
        bundle: bundle.to_owned(),
        why,
    };
    let version = spec.version();
    if !version.starts_with("1.") {
        return Err(invalid(format!(
            "ociVersion {version:?} is not supported: only 1.x is"
        )));
    }
    if spec.linux().is_none() {
        return Err(invalid("config.json has no linux section".into()));
    }
    let Some(process) = spec.process() else {
        return Err(invalid("config.json has no process".into()));
    };
    match process.args().as_deref() {
        None | Some([]) => {
            return Err(invalid(
                "process.args is empty: name the program to run".into(),
            ));
        }
        Some([program, ..]) if program.is_empty() => {
            return Err(invalid(
                "process.args starts with an empty program name".into(),
            ));
        }
        Some(_) => {}
    }
    if !process.cwd().is_absolute() {
        return Err(invalid(format!(
            "process.cwd {:?} is not an absolute path",
            process.cwd().display()
        )));
    }
    let Some(root) = spec.root() else {
        return Err(invalid("config.json has no root".into()));
    };
    if !rootfs_is_mounted {
        let path = bundle.join(root.path());
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                return Err(invalid(format!(
                    "root.path {} is not a directory",
                    path.display()
                )));
            }
            Err(cause) => {
                return Err(invalid(format!(
                    "root.path {} can't be used: {cause}",
                    path.display()
                )));
            }
        }
    }
    for mount in spec.mounts().iter().flatten() {
        check_mount(mount, spec).map_err(invalid)?;
    }
    Ok(())
}

fn check_mount(mount: &Mount, spec: &Spec) -> Result<(), String> {
    let destination = mount.destination().display();
    if mount
        .destination()
        .components()
        .any(|part| part == std::path::Component::ParentDir)
    {
        return Err(format!(
            "the mount at {destination} has '..' in its destination"
        ));
    }
    if sources::is_wanted(mount)
        && let Err(why) = sources::check(mount, spec)
    {
        return Err(format!(
            "the mount at {destination} can't be id-mapped: {why}"
        ));
    }
    if !is_bind(mount) {
        return Ok(());
    }
    let Some(source) = mount.source() else {
        return Err(format!("the bind at {destination} has no source"));
    };
    if let Err(cause) = std::fs::metadata(source) {
        return Err(format!(
            "the mount of {} at {destination} fails: {cause}",
            source.display()
        ));
    }
    Ok(())
}

/// Whether the mount is of an existing file or directory.
pub fn is_bind(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("bind")
        || mount
            .options()
            .iter()
            .flatten()
            .any(|option| option == "bind" || option == "rbind")
}

/// Changes `spec` for libcontainer. `rootfs` is the absolute path of the root file system.
pub fn alter(spec: &mut Spec, rootfs: &Path) {
    for mount in spec.mounts_mut().iter_mut().flatten() {
        // A file system without a device needs no source, but a name for the table of mounts.
        if mount.source().is_none() {
            let kind = mount.typ().clone().unwrap_or_else(|| "none".to_owned());
            mount.set_source(Some(kind.into()));
        }
    }
    if let Some(process) = spec.process_mut() {
        process
            .set_user(User::default())
            .set_capabilities(None)
            .set_rlimits(None)
            .set_oom_score_adj(None)
            .set_no_new_privileges(None)
            // The program and its environment are ours to check; a home directory here saves
            // libcontainer a look into the image's /etc/passwd.
            .set_env(Some(vec!["HOME=/".into(), "PATH=/".into()]))
            .set_args(Some(vec!["init".into()]))
            .set_cwd("/".into());
    }
    if let Some(linux) = spec.linux_mut() {
        linux
            .set_resources(None)
            .set_cgroups_path(None)
            .set_seccomp(None);
        // libcontainer knows the words without their r, and means the recursive ones.
        let propagation = linux.rootfs_propagation().clone();
        linux.set_rootfs_propagation(propagation.map(|word| match word.strip_prefix('r') {
            Some(plain) => plain.to_owned(),
            None => word,
        }));
    }
    let readonly = spec.root().as_ref().and_then(Root::readonly);
    let mut root = Root::default();
    root.set_path(rootfs.to_owned()).set_readonly(readonly);
    spec.set_root(Some(root));
}

/// Whether it is the container's view of its own cgroup.
pub fn is_cgroup(mount: &Mount) -> bool {
    matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2"))
}

/// Whether the container has, or joins, a cgroup namespace.
pub fn has_cgroup_namespace(spec: &Spec) -> bool {
    let namespaces = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.namespaces().as_ref());
    namespaces
        .into_iter()
        .flatten()
        .any(|each| each.typ() == LinuxNamespaceType::Cgroup)
}

/// Whether the container wants mounts to reach the host (Kubernetes' `Bidirectional`).
pub fn wants_shared(spec: &Spec) -> bool {
    let word = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.rootfs_propagation().as_deref());
    matches!(word, Some("shared" | "rshared"))
}
