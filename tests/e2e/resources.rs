//! Requests and limits reach the kernel; what the container sees of them.

use std::path::Path;

use carob_tests::{Home, pod, shell, with};
use serde_json::{Value, json};

fn lines(home: &Home, container: Value) -> Vec<String> {
    let run = home.run(&pod("limits", json!({"containers": [container]})));
    run.expect(0).lines_of("main")
}

/// On a machine with cgroup v2, and with v1 or hybrid.
fn by_version<'a>(v2: &'a str, v1: &'a str) -> &'a str {
    match Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        true => v2,
        false => v1,
    }
}

#[test]
fn limits_are_seen_in_the_containers_own_cgroup() {
    let home = Home::new();
    let resources = json!({
        "limits": {"memory": "32Mi", "cpu": "500m"},
        "requests": {"memory": "16Mi", "cpu": "250m"},
    });
    let script = by_version(
        "cat memory.max cpu.max",
        "cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpu/cpu.shares",
    );
    let script = format!("cd /sys/fs/cgroup; {script}; touch x 2>/dev/null || echo read-only");
    let found = lines(
        &home,
        with(shell("main", &script), json!({"resources": resources})),
    );
    let expected = by_version(
        "33554432|50000 100000|read-only",
        "33554432|50000|100000|256|read-only",
    );
    assert_eq!(found.join("|"), expected);
}

#[test]
fn without_limits_there_are_none_and_the_least_share_is_given() {
    let home = Home::new();
    let script = by_version(
        "cat memory.max cpu.max cpu.weight",
        "[ $(cat memory/memory.limit_in_bytes) -gt 1000000000000 ] && echo max; cat cpu/cpu.cfs_quota_us cpu/cpu.shares",
    );
    let found = lines(
        &home,
        shell("main", &format!("cd /sys/fs/cgroup; {script}")),
    );
    assert_eq!(found.join("|"), by_version("max|max 100000|1", "max|-1|2"));
}

#[test]
fn the_kernel_kills_the_least_guaranteed_first() {
    let home = Home::new();
    let of = |resources: Value| {
        let main = with(
            shell("main", "cat /proc/self/oom_score_adj"),
            json!({"resources": resources}),
        );
        lines(&home, main)[0].parse::<i32>().unwrap()
    };
    let same = json!({"memory": "32Mi", "cpu": "100m"});
    let best_effort = of(json!({}));
    let burstable = of(json!({"requests": {"memory": "32Mi"}}));
    let guaranteed = of(json!({"limits": same, "requests": same}));
    assert_eq!(best_effort, 1000);
    assert!((3..1000).contains(&burstable), "{burstable}");
    // -997 where that is permitted.
    assert!(guaranteed <= 0, "{guaranteed}");
}

#[test]
fn qos_class_is_told() {
    let home = Home::new();
    let of = |resources: Value| {
        let main = with(shell("main", ""), json!({"resources": resources}));
        let run = home
            .run_json(&pod("qos", json!({"containers": [main]})))
            .expect(0);
        run.last_pod().text("/status/qosClass").to_owned()
    };
    assert_eq!(of(json!({"requests": {"cpu": "1m"}})), "Burstable");
    assert_eq!(
        of(json!({"limits": {"memory": "32Mi", "cpu": "1"}})),
        "Guaranteed"
    );
}
