//! Users and groups: what `id` says is what the spec says.

use carob_tests::{Home, pod, shell, with};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// User, group and all groups of a container's process.
fn identity(home: &Home, pod_security: Value, container: Value) -> (String, String, Vec<u32>) {
    let spec = json!({"securityContext": pod_security, "containers": [container]});
    let run = home.run(&pod("who", spec)).expect(0);
    let line = |key: &str| -> Vec<String> {
        let lines = run.lines_of("main");
        let line = lines.iter().find(|l| l.starts_with(key)).unwrap();
        line[key.len()..]
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    let (users, groups) = (line("Uid:"), line("Gid:"));
    // Real, effective, saved and file system's.
    assert!(users.iter().all(|u| *u == users[0]) && groups.iter().all(|g| *g == groups[0]));
    let mut all: Vec<u32> = line("Groups:").iter().map(|g| g.parse().unwrap()).collect();
    all.retain(|g| g.to_string() != groups[0]);
    all.sort_unstable();
    (users[0].clone(), groups[0].clone(), all)
}

fn main() -> Value {
    shell("main", "cat /proc/self/status")
}

fn nonroot() -> Value {
    json!({"name": "main", "image": "nonroot:1", "command": ["cat", "/proc/self/status"]})
}

fn who(user: u32, group: u32, groups: &[u32]) -> (String, String, Vec<u32>) {
    (user.to_string(), group.to_string(), groups.to_vec())
}

#[test]
fn root_is_the_default() {
    let home = Home::new();
    assert_eq!(identity(&home, json!({}), main()), who(0, 0, &[]));
}

#[test]
fn c20_groups_are_those_of_the_spec() {
    let home = Home::new();
    let security = json!({
        "runAsUser": 1234, "runAsGroup": 5678, "supplementalGroups": [3, 4], "fsGroup": 2000,
    });
    assert_eq!(
        identity(&home, security, main()),
        who(1234, 5678, &[3, 4, 2000])
    );
}

#[test]
fn a_container_overrides_its_pod() {
    let home = Home::new();
    let own = json!({"securityContext": {"runAsUser": 33, "runAsGroup": 34}});
    let security = json!({"runAsUser": 1, "runAsGroup": 2});
    assert_eq!(
        identity(&home, security, with(main(), own)),
        who(33, 34, &[])
    );
}

#[test]
fn a_user_without_a_group_has_the_one_of_the_images_passwd() {
    let home = Home::new();
    let of = |user: u32| json!({"runAsUser": user});
    assert_eq!(identity(&home, of(33), main()), who(33, 33, &[]));
    assert_eq!(identity(&home, of(4242), main()), who(4242, 0, &[]));
}

#[test]
fn the_images_user_and_groups_count() {
    let home = Home::new();
    assert_eq!(
        identity(&home, json!({}), nonroot()),
        who(1000, 1000, &[2000])
    );
    let more = json!({"supplementalGroups": [7]});
    assert_eq!(
        identity(&home, more, nonroot()),
        who(1000, 1000, &[7, 2000])
    );
    let strict = json!({"supplementalGroups": [7], "supplementalGroupsPolicy": "Strict"});
    assert_eq!(identity(&home, strict, nonroot()), who(1000, 1000, &[7]));
}

#[test]
fn fs_group_owns_what_is_written_to_volumes() {
    let home = Home::new();
    let mount = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    let script = "touch /v/file; stat -c '%u:%g %a' /v/file; stat -c '%g %A' /v";
    let spec = json!({
        "securityContext": {"runAsUser": 1234, "fsGroup": 2000},
        "volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [with(shell("main", script), mount)],
    });
    let run = home.run(&pod("group", spec)).expect(0);
    assert_eq!(run.lines_of("main"), ["1234:2000 644", "2000 drwxrwsrwx"]);
}

/// What keeps `main` from being created.
fn refused(home: &Home, container: Value) -> String {
    let run = home.start_json(&pod("refused", json!({"containers": [container]})));
    let waits = run.wait_pod("it is refused", |p| {
        p.state("main") == "CreateContainerConfigError"
    });
    assert_eq!(waits.phase(), "Pending");
    run.stop(Signal::SIGINT).expect(130);
    let message = &waits.container("main")["state"]["waiting"]["message"];
    message.as_str().unwrap().to_owned()
}

#[test]
fn b25_run_as_non_root_refuses_root() {
    let home = Home::new();
    let demand = json!({"securityContext": {"runAsNonRoot": true}});
    let message = refused(&home, with(main(), demand.clone()));
    assert!(
        message.contains("runAsNonRoot") && message.contains("root"),
        "{message}"
    );
    let explicit = json!({"securityContext": {"runAsNonRoot": true, "runAsUser": 0}});
    let message = refused(&home, with(main(), explicit));
    assert!(
        message.contains("runAsUser breaks non-root policy"),
        "{message}"
    );
    // A name can be root's; a kubelet does not look it up.
    let message = refused(&home, with(nonroot(), demand));
    assert!(
        message.contains("runAsNonRoot") && message.contains("app"),
        "{message}"
    );
}

#[test]
fn run_as_non_root_lets_others_pass() {
    let home = Home::new();
    let demand = json!({"securityContext": {"runAsNonRoot": true, "runAsUser": 65534}});
    assert_eq!(identity(&home, json!({}), with(main(), demand)).0, "65534");
}

#[test]
fn c27_a_restart_keeps_the_user() {
    let home = Home::new();
    let script = "id -u; [ -e /v/second ] || { touch /v/second; exit 1; }";
    let main = with(
        shell("main", script),
        json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
    );
    let spec = json!({
        "restartPolicy": "OnFailure",
        "securityContext": {"runAsUser": 1234, "runAsNonRoot": true},
        "volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [main],
    });
    assert_eq!(
        home.run(&pod("keeps", spec)).expect(0).lines_of("main"),
        ["1234", "1234"]
    );
}
