//! The mounts of a container: the runtime's own, the Pod's files, the volumes; parents before children.

use std::path::{Path, PathBuf};

use carob_core::pod::{MountPropagation, ProcMount};
use oci_spec::runtime::Mount;

use super::SpecError;
use super::container::ContainerInput;

/// A directory or file of the machine that a container sees: a volume mount with its volume found, or a
/// directory for a volume of the image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeBind {
    /// What is mounted: a path of the machine, already safe to follow.
    pub source: PathBuf,
    /// Where: absolute, without `..`.
    pub destination: String,
    /// Mounted read-only.
    pub read_only: bool,
    /// Mounts below it are read-only too; only together with `read_only` and without propagation.
    pub recursive_read_only: bool,
    /// How mounts below it travel.
    pub propagation: MountPropagation,
}

/// Files that the containers of a Pod share; an absent one is not mounted.
#[derive(Debug, Clone, Copy, Default)]
pub struct PodFiles<'a> {
    /// For `/etc/hosts`.
    pub hosts: Option<&'a Path>,
    /// For `/etc/hostname`.
    pub hostname: Option<&'a Path>,
    /// For `/etc/resolv.conf`.
    pub resolv_conf: Option<&'a Path>,
    /// For `/dev/shm`; a tmpfs of the container's own when absent. With `hostIPC` it is the machine's.
    pub shm: Option<&'a Path>,
}

/// Hidden from containers: what tells of the machine and its neighbours (kubelet,
/// `pkg/securitycontext/util.go`; the same as moby's).
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Not for containers to change (the same source).
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Masked and read-only paths of a container.
pub(super) fn protected_paths(input: &ContainerInput) -> (Vec<String>, Vec<String>) {
    let security = &input.container.security;
    if security.privileged || security.proc_mount == ProcMount::Unmasked {
        return (Vec::new(), Vec::new());
    }
    let masked = MASKED.iter().map(|path| (*path).to_owned());
    (
        masked
            .chain(input.machine.thermal_throttle.iter().cloned())
            .collect(),
        READ_ONLY.iter().map(|path| (*path).to_owned()).collect(),
    )
}

/// The mounts in the order that they are made, and the propagation of the root that they need.
///
/// What the Pod mounts replaces a mount of the runtime at the same place (containerd,
/// `internal/cri/opts/spec_linux_opts.go`).
pub(super) fn all(input: &ContainerInput) -> Result<(Vec<Mount>, Option<String>), SpecError> {
    let supplied = supplied(input)?;
    let taken = |place: &Path| {
        supplied
            .iter()
            .any(|bind| Path::new(&bind.destination) == place)
    };

    let mut mounts = of_the_runtime(input.container.security.privileged);
    mounts.retain(|mount| !taken(mount.destination()));
    let propagations = supplied.iter().map(|bind| bind.propagation);
    let root = match propagations.max_by_key(|p| strength(*p)) {
        Some(MountPropagation::Bidirectional) => Some("shared".to_owned()),
        Some(MountPropagation::HostToContainer) => Some("slave".to_owned()),
        Some(MountPropagation::None) | None => None,
    };
    mounts.extend(supplied.iter().map(bind_mount));
    Ok((mounts, root))
}

fn strength(propagation: MountPropagation) -> u8 {
    match propagation {
        MountPropagation::None => 0,
        MountPropagation::HostToContainer => 1,
        MountPropagation::Bidirectional => 2,
    }
}

/// containerd's default mounts (`pkg/oci/mounts.go`) less `/run`, and the cgroups. Privileged containers
/// may change `/sys` and their cgroups.
fn of_the_runtime(privileged: bool) -> Vec<Mount> {
    let access = if privileged { "rw" } else { "ro" };
    vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        ),
        mount(
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"],
        ),
        mount(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", access],
        ),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", access],
        ),
    ]
}

pub(super) fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(destination.into())
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.into()))
        .set_options(Some(options.iter().map(|o| (*o).to_owned()).collect()));
    mount
}

fn bind_mount(bind: &VolumeBind) -> Mount {
    let propagation = match bind.propagation {
        MountPropagation::None => "rprivate",
        MountPropagation::HostToContainer => "rslave",
        MountPropagation::Bidirectional => "rshared",
    };
    let access = match (bind.read_only, bind.recursive_read_only) {
        (_, true) => "rro",
        (true, false) => "ro",
        (false, false) => "rw",
    };
    let mut mount = mount(
        &bind.destination,
        "bind",
        "",
        &["rbind", propagation, access],
    );
    mount.set_source(Some(bind.source.clone()));
    mount
}

/// Volumes, the Pod's files and the termination message file, parents before children. Where the Pod mounts
/// a volume over one of the files, the volume counts.
fn supplied(input: &ContainerInput) -> Result<Vec<VolumeBind>, SpecError> {
    let mut all = Vec::new();
    for bind in input.mounts {
        all.push(checked(bind, input)?);
    }
    let own = |source: Option<&Path>, destination: &str, read_only| {
        source.map(|source| VolumeBind {
            source: source.to_owned(),
            destination: destination.to_owned(),
            read_only,
            recursive_read_only: false,
            propagation: MountPropagation::None,
        })
    };
    let read_only = input.container.security.read_only_root_filesystem;
    let shm = match input.pod.spec.host_ipc {
        true => Some(Path::new("/dev/shm")),
        false => input.files.shm,
    };
    let files = [
        own(input.files.hostname, "/etc/hostname", read_only),
        own(input.files.hosts, "/etc/hosts", read_only),
        own(input.files.resolv_conf, "/etc/resolv.conf", read_only),
        own(shm, "/dev/shm", false),
        own(
            input.termination_log,
            &input.container.termination_message_path,
            false,
        ),
    ];
    for file in files.iter().flatten() {
        let file = checked(file, input)?;
        if !all.iter().any(|bind| bind.destination == file.destination) {
            all.push(file);
        }
    }
    all.sort_by_key(|bind| bind.destination.split('/').count());
    Ok(all)
}

/// The same with a clean destination.
fn checked(bind: &VolumeBind, input: &ContainerInput) -> Result<VolumeBind, SpecError> {
    let refuse = |reason: &str| SpecError::Mount {
        container: input.container.name.clone(),
        destination: bind.destination.clone(),
        reason: reason.to_owned(),
    };
    if !is_plain_absolute(&bind.destination) {
        return Err(refuse(
            "it is not an absolute path without .. and NUL; name one",
        ));
    }
    let destination = clean(&bind.destination);
    match destination.as_str() {
        "/" => return Err(refuse("it would hide the image; mount below the root")),
        // The runtime makes its own device nodes and links there, and would make them in the volume.
        "/dev" => {
            return Err(refuse(
                "the container's devices are there; mount the volume elsewhere, such as /host/dev",
            ));
        }
        _ => {}
    }
    if bind.recursive_read_only && (!bind.read_only || bind.propagation != MountPropagation::None) {
        return Err(refuse(
            "recursiveReadOnly needs readOnly and no mountPropagation; set them so",
        ));
    }
    Ok(VolumeBind {
        destination,
        ..bind.clone()
    })
}

/// True for absolute paths that stay below the root whatever they are joined to.
pub(super) fn is_plain_absolute(path: &str) -> bool {
    path.starts_with('/') && !path.contains('\0') && !path.split('/').any(|part| part == "..")
}

/// A plain absolute path without `.`, double and trailing slashes.
pub(super) fn clean(path: &str) -> String {
    let parts = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".");
    let joined = parts.collect::<Vec<_>>().join("/");
    format!("/{joined}")
}

#[cfg(test)]
mod tests;
