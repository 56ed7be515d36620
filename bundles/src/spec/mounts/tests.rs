//! Order, replacement and options of mounts; masked paths.

use serde_json::{Value, json};

use super::*;
use crate::spec::testing::World;

fn bind(source: &str, destination: &str) -> VolumeBind {
    VolumeBind {
        source: source.into(),
        destination: destination.into(),
        read_only: false,
        recursive_read_only: false,
        propagation: MountPropagation::None,
    }
}

/// Destinations in order.
fn destinations(world: &World) -> Vec<String> {
    let json = world.json();
    let mounts = json["mounts"].as_array().unwrap();
    mounts
        .iter()
        .map(|m| m["destination"].as_str().unwrap().to_owned())
        .collect()
}

fn find(world: &World, destination: &str) -> Value {
    let json = world.json();
    let mounts = json["mounts"].as_array().unwrap();
    mounts
        .iter()
        .find(|m| m["destination"] == destination)
        .cloned()
        .unwrap_or_default()
}

#[test]
fn the_runtimes_mounts_and_the_pods_files() {
    let mut world = World::new();
    assert_eq!(
        destinations(&world),
        [
            "/proc",
            "/dev",
            "/dev/pts",
            "/dev/mqueue",
            "/sys",
            "/sys/fs/cgroup",
            "/etc/hostname",
            "/etc/hosts",
            "/etc/resolv.conf",
            "/dev/shm",
            "/dev/termination-log",
        ]
    );
    let hosts = |access: &str| {
        json!({
            "destination": "/etc/hosts", "type": "bind", "source": "/pods/6f1c/hosts",
            "options": ["rbind", "rprivate", access],
        })
    };
    assert_eq!(find(&world, "/etc/hosts"), hosts("rw"));
    assert_eq!(
        world.json()["root"],
        json!({ "path": "rootfs", "readonly": false })
    );
    world.security().read_only_root_filesystem = true;
    assert_eq!(find(&world, "/etc/hosts"), hosts("ro"));
    assert_eq!(find(&world, "/dev/shm")["options"][2], "rw");
    assert_eq!(find(&world, "/dev/termination-log")["options"][2], "rw");
    assert_eq!(
        world.json()["root"],
        json!({ "path": "rootfs", "readonly": true })
    );
}

#[test]
fn parents_are_mounted_before_children() {
    let mut world = World::new();
    world.mounts = ["/a/b/c", "/a", "/z", "/a/b", "/etc"]
        .map(|d| bind("/v", d))
        .to_vec();
    let all = destinations(&world);
    let supplied = &all[6..];
    assert_eq!(
        supplied,
        [
            "/a",
            "/z",
            "/etc",
            "/a/b",
            "/etc/hostname",
            "/etc/hosts",
            "/etc/resolv.conf",
            "/dev/shm",
            "/dev/termination-log",
            "/a/b/c",
        ]
    );
}

#[test]
fn a_volume_replaces_what_is_mounted_in_its_place() {
    let mut world = World::new();
    for place in [
        "/dev/shm",
        "/etc/hosts/",
        "/dev/mqueue",
        "/sys/fs/cgroup",
        "/dev/termination-log",
    ] {
        world.mounts = vec![bind("/volume", place)];
        let place = clean(place);
        let found = destinations(&world).iter().filter(|d| **d == place).count();
        assert_eq!(found, 1, "{place}");
        assert_eq!(find(&world, &place)["source"], "/volume", "{place}");
    }
}

#[test]
fn a_container_without_the_pods_shm_has_its_own() {
    let world = World::new();
    let (mounts, _) = world.with(|input| {
        let mut input = *input;
        input.files.shm = None;
        all(&input).unwrap()
    });
    let shm = mounts
        .iter()
        .find(|m| m.destination() == Path::new("/dev/shm"))
        .unwrap();
    assert_eq!(shm.typ().as_deref(), Some("tmpfs"));
}

#[test]
fn with_host_ipc_shared_memory_is_the_machines() {
    let mut world = World::new();
    assert_eq!(find(&world, "/dev/shm")["source"], "/pods/6f1c/shm");
    world.pod.spec.host_ipc = true;
    assert_eq!(find(&world, "/dev/shm")["source"], "/dev/shm");
}

#[test]
fn read_only_and_propagation() {
    let mut world = World::new();
    let mut volume = bind("/volume", "/data");
    let rows = [
        (
            false,
            false,
            MountPropagation::None,
            json!(["rbind", "rprivate", "rw"]),
            Value::Null,
        ),
        (
            true,
            false,
            MountPropagation::None,
            json!(["rbind", "rprivate", "ro"]),
            Value::Null,
        ),
        (
            true,
            true,
            MountPropagation::None,
            json!(["rbind", "rprivate", "rro"]),
            Value::Null,
        ),
        (
            true,
            false,
            MountPropagation::HostToContainer,
            json!(["rbind", "rslave", "ro"]),
            json!("slave"),
        ),
        (
            false,
            false,
            MountPropagation::Bidirectional,
            json!(["rbind", "rshared", "rw"]),
            json!("shared"),
        ),
    ];
    for (read_only, recursive, propagation, options, root) in rows {
        volume.read_only = read_only;
        volume.recursive_read_only = recursive;
        volume.propagation = propagation;
        world.mounts = vec![volume.clone()];
        assert_eq!(find(&world, "/data")["options"], options);
        assert_eq!(world.json()["linux"]["rootfsPropagation"], root);
    }
    volume.recursive_read_only = true;
    for (read_only, propagation) in [
        (false, MountPropagation::None),
        (true, MountPropagation::HostToContainer),
    ] {
        volume.read_only = read_only;
        volume.propagation = propagation;
        world.mounts = vec![volume.clone()];
        assert!(world.error().contains("recursiveReadOnly needs readOnly"));
    }
}

#[test]
fn places_where_nothing_can_be_mounted() {
    let mut world = World::new();
    for place in [
        "relative",
        "/a/../../b",
        "/",
        "//",
        "/.",
        "/dev",
        "/dev/",
        "/x\0y",
        "",
    ] {
        world.mounts = vec![bind("/volume", place)];
        let error = world.spec().unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("container \"main\": cannot mount at"),
            "{place:?}: {error}"
        );
        assert_eq!(error.reason(), "CreateContainerConfigError");
    }
    world.mounts.clear();
    world.container().termination_message_path = "/../etc/passwd".into();
    assert!(world.spec().is_err());
}

#[test]
fn paths_that_tell_of_the_machine_are_masked() {
    let mut world = World::new();
    world.machine.thermal_throttle = vec!["/sys/devices/system/cpu/cpu0/thermal_throttle".into()];
    let linux = world.json()["linux"].clone();
    assert_eq!(linux["maskedPaths"].as_array().unwrap().len(), 13);
    assert_eq!(
        linux["maskedPaths"][12],
        "/sys/devices/system/cpu/cpu0/thermal_throttle"
    );
    assert_eq!(linux["readonlyPaths"], json!(READ_ONLY));
    world.security().proc_mount = ProcMount::Unmasked;
    let linux = world.json()["linux"].clone();
    assert_eq!(
        (&linux["maskedPaths"], &linux["readonlyPaths"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn privileged_containers_may_change_sys_and_their_cgroups() {
    let mut world = World::new();
    for (privileged, access) in [(false, "ro"), (true, "rw")] {
        world.security().privileged = privileged;
        assert_eq!(
            find(&world, "/sys")["options"],
            json!(["nosuid", "noexec", "nodev", access])
        );
        assert_eq!(find(&world, "/sys/fs/cgroup")["options"][4], access);
        assert_eq!(world.json()["linux"]["maskedPaths"].is_null(), privileged);
    }
}
