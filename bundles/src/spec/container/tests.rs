//! The parts of a container's `config.json` that are not a file of their own.

use serde_json::{Value, json};

use crate::spec::testing::World;

#[test]
fn a_plain_container() {
    let json = World::new().json();
    let process = &json["process"];
    assert_eq!(
        process["user"],
        json!({ "uid": 0, "gid": 0, "additionalGids": [0] })
    );
    assert_eq!(process["oomScoreAdj"], 1000);
    for absent in ["rlimits", "noNewPrivileges", "terminal", "apparmorProfile"] {
        assert_eq!(process[absent], Value::Null, "{absent}");
    }
    assert_eq!(json["hostname"], Value::Null);
    assert_eq!(json["linux"]["cgroupsPath"], "/carob/0123/pod6f1c/c0ffee");
    assert_eq!(json["linux"]["seccomp"], Value::Null);
}

#[test]
fn c11_annotations_come_from_the_pod_alone() {
    let expected = json!({
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": "main",
        "io.kubernetes.cri.image-name": "registry.example/app:1",
        "io.kubernetes.cri.sandbox-id": "5andb0x",
        "io.kubernetes.cri.sandbox-name": "web",
        "io.kubernetes.cri.sandbox-namespace": "default",
        "io.kubernetes.cri.sandbox-uid": "6f1c",
    });
    let mut world = World::new();
    let planted = (
        "io.kubernetes.cri.sandbox-id".to_owned(),
        "other".to_owned(),
    );
    world.pod.metadata.annotations.extend([planted]);
    assert_eq!(world.json()["annotations"], expected);
}

fn namespaces(world: &World) -> Value {
    world.json()["linux"]["namespaces"].clone()
}

#[test]
fn joins_the_namespaces_of_the_sandbox() {
    let mut world = World::new();
    let joined =
        |name: &str, kind: &str| json!({ "type": kind, "path": format!("/proc/4711/ns/{name}") });
    let (mount, pid, cgroup) = (
        json!({ "type": "mount" }),
        json!({ "type": "pid" }),
        json!({ "type": "cgroup" }),
    );
    let (net, uts, ipc) = (
        joined("net", "network"),
        joined("uts", "uts"),
        joined("ipc", "ipc"),
    );
    assert_eq!(
        namespaces(&world),
        json!([mount, net, uts, ipc, pid, cgroup])
    );
    world.pod.spec.share_process_namespace = true;
    let shared = joined("pid", "pid");
    assert_eq!(
        namespaces(&world),
        json!([mount, net, uts, ipc, shared, cgroup])
    );
    world.machine.cgroup_v2 = false;
    assert_eq!(namespaces(&world), json!([mount, net, uts, ipc, shared]));
    world.machine.cgroup_v2 = true;
    world.security().privileged = true;
    assert_eq!(namespaces(&world), json!([mount, net, uts, ipc, shared]));
    world.security().privileged = false;
    world.pod.spec.share_process_namespace = false;
    world.pod.spec.host_network = true;
    assert_eq!(namespaces(&world), json!([mount, ipc, pid, cgroup]));
    world.pod.spec.host_ipc = true;
    world.pod.spec.host_pid = true;
    assert_eq!(namespaces(&world), json!([mount, cgroup]));
}

#[test]
fn no_new_privileges_is_set_or_absent() {
    let mut world = World::new();
    for (allow, expected) in [
        (None, Value::Null),
        (Some(true), Value::Null),
        (Some(false), json!(true)),
    ] {
        world.security().allow_privilege_escalation = allow;
        assert_eq!(world.json()["process"]["noNewPrivileges"], expected);
    }
}

#[test]
fn the_containers_user_comes_before_the_pods() {
    let mut world = World::new();
    world.image.user = "web".into();
    let user = |world: &World| world.json()["process"]["user"].clone();
    assert_eq!(
        user(&world),
        json!({ "uid": 33, "gid": 33, "additionalGids": [4, 33] })
    );
    world.pod.spec.security.run_as_user = Some(1000);
    world.pod.spec.security.run_as_group = Some(2000);
    world.pod.spec.security.fs_group = Some(3000);
    world.pod.spec.security.supplemental_groups = vec![4000];
    assert_eq!(
        user(&world),
        json!({ "uid": 1000, "gid": 2000, "additionalGids": [2000, 3000, 4000] })
    );
    world.security().run_as_user = Some(33);
    world.security().run_as_group = Some(5);
    assert_eq!(
        user(&world),
        json!({ "uid": 33, "gid": 5, "additionalGids": [4, 5, 3000, 4000] })
    );
    world.pod.spec.security.supplemental_groups_strict = true;
    assert_eq!(
        user(&world),
        json!({ "uid": 33, "gid": 5, "additionalGids": [5, 3000, 4000] })
    );
}

#[test]
fn b25_run_as_non_root_with_kubelets_words() {
    let suffix =
        " (pod: \"web_default(6f1c)\", container: main); set runAsUser to a number above 0";
    // image's user, runAsUser, what is said
    let rows = [
        (
            "",
            None,
            "container has runAsNonRoot and image will run as root",
        ),
        (
            "0",
            None,
            "container has runAsNonRoot and image will run as root",
        ),
        (
            "0:33",
            None,
            "container has runAsNonRoot and image will run as root",
        ),
        (
            "web",
            None,
            "container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root",
        ),
        (
            "33",
            Some(0),
            "container's runAsUser breaks non-root policy",
        ),
    ];
    for (image, run_as, message) in rows {
        let mut world = World::new();
        world.image.user = image.into();
        world.security().run_as_user = run_as;
        assert!(world.spec().is_ok(), "without runAsNonRoot");
        world.pod.spec.security.run_as_non_root = Some(true);
        let error = world.spec().unwrap_err();
        assert_eq!(error.to_string(), format!("{message}{suffix}"));
        assert_eq!(error.reason(), "CreateContainerConfigError");
        world.security().run_as_non_root = Some(false);
        assert!(world.spec().is_ok(), "the container's own word counts");
    }
    let mut world = World::new();
    world.security().run_as_non_root = Some(true);
    for (image, run_as) in [
        ("33", None),
        ("33:0", None),
        ("", Some(1)),
        ("web", Some(33)),
    ] {
        world.image.user = image.into();
        world.security().run_as_user = run_as;
        assert!(world.spec().is_ok(), "{image} {run_as:?}");
    }
}

#[test]
fn c13_run_as_non_root_is_not_bypassed_by_numbers() {
    let mut world = World::new();
    world.security().run_as_non_root = Some(true);
    world.users = crate::image::users::Users::parse(b"4294967296:x:0:0:::\n1000:x:0:0:::\n", b"");
    for user in ["4294967296", "2147483648", "-1", "+1", "1:2:3"] {
        world.image.user = user.into();
        assert!(world.error().starts_with("container \"main\": "), "{user}");
    }
    world.image.user = "1000".into();
    assert_eq!(world.json()["process"]["user"]["uid"], 1000);
}
