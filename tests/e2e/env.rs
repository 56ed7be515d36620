//! What a container is started with: command, environment, working directory, as Kubernetes combines them.

use carob_tests::{Home, pod, shell, with};
use serde_json::{Value, json};

fn lines(home: &Home, container: Value) -> Vec<String> {
    let run = home.run(&pod("env", json!({"containers": [container]})));
    run.expect(0).lines_of("main")
}

#[test]
fn variables_expand_those_before_them() {
    let home = Home::new();
    let env = json!([
        {"name": "A", "value": "one"},
        {"name": "B", "value": "$(A) $(C) $$(A) $(NOPE)"},
        {"name": "C", "value": "three"},
        {"name": "EMPTY"},
    ]);
    let main = with(
        shell("main", "echo \"$B\"; echo \"[$EMPTY]\""),
        json!({"env": env}),
    );
    assert_eq!(lines(&home, main), ["one $(C) $(A) $(NOPE)", "[]"]);
}

#[test]
fn command_and_args_expand_without_a_shell() {
    let home = Home::new();
    let main = json!({
        "name": "main", "image": "busybox:1",
        "command": ["echo", "$(A)"], "args": ["$$(A)", "x$(A)y", "$A", "$(B)"],
        "env": [{"name": "A", "value": "two words"}],
    });
    assert_eq!(lines(&home, main), ["two words $(A) xtwo wordsy $A $(B)"]);
}

#[test]
fn fields_of_the_pod_can_be_variables() {
    let home = Home::new();
    let of = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let env = json!([
        of("NAME", "metadata.name"),
        of("NAMESPACE", "metadata.namespace"),
        of("UID_", "metadata.uid"),
        of("APP", "metadata.labels['app']"),
        of("NOTE", "metadata.annotations['note']"),
        of("NODE", "spec.nodeName"),
        of("IP", "status.podIP"),
        of("HOST", "status.hostIP"),
    ]);
    let script = "for v in NAME NAMESPACE UID_ APP NOTE NODE IP HOST; do eval echo $v=\\$$$v; done";
    let main = with(shell("main", script), json!({"env": env}));
    let mut manifest = pod("downward", json!({"containers": [main]}));
    manifest["metadata"]["labels"] = json!({"app": "web"});
    manifest["metadata"]["annotations"] = json!({"note": "hi"});
    manifest["metadata"]["namespace"] = json!("elsewhere");
    let run = home.run(&manifest).expect(0);
    let lines = run.lines_of("main");
    let value = |name: &str| {
        let line = lines
            .iter()
            .find_map(|l| l.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("no {name} in {lines:?}"))
            .to_owned()
    };
    assert_eq!(value("NAME"), "downward");
    assert_eq!(value("NAMESPACE"), "elsewhere");
    assert_eq!(value("UID_").len(), 36);
    assert_eq!((value("APP"), value("NOTE")), ("web".into(), "hi".into()));
    let node = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(value("NODE"), node.trim().to_lowercase());
    assert!(value("IP").starts_with("10."), "{lines:?}");
    assert!(
        value("HOST").parse::<std::net::IpAddr>().is_ok(),
        "{lines:?}"
    );
}

#[test]
fn resources_can_be_variables() {
    let home = Home::new();
    let of = |name: &str, resource: &str, divisor: &str| json!({"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": divisor}}});
    let env = json!([
        of("MI", "limits.memory", "1Mi"),
        of("BYTES", "requests.memory", "1"),
        of("MILLI", "limits.cpu", "1m"),
        of("CORES", "limits.cpu", "1"),
    ]);
    let resources = json!({
        "limits": {"memory": "64Mi", "cpu": "1500m"},
        "requests": {"memory": "16Mi", "cpu": "250m"},
    });
    let main = with(
        shell("main", "echo $MI $BYTES $MILLI $CORES"),
        json!({"env": env, "resources": resources}),
    );
    // A kubelet rounds up.
    assert_eq!(lines(&home, main), ["64 16777216 1500 2"]);
}

#[test]
fn c22_nothing_of_carobs_own_environment_is_in_the_container() {
    let home = Home::new();
    let env = json!({"env": [{"name": "OWN", "value": "yes"}]});
    let manifest = pod(
        "clean",
        json!({"containers": [with(shell("main", "env"), env)]}),
    );
    let mut command = home.command();
    command
        .args(["run", "-"])
        .env("AWS_SECRET_ACCESS_KEY", "hunter2");
    let run = home.start_command(&mut command, manifest.to_string().as_bytes());
    let mut found = run.finish().expect(0).lines_of("main");
    found.retain(|line| {
        !["SHLVL=", "PWD=", "_="]
            .iter()
            .any(|own| line.starts_with(own))
    });
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "HOME=/root",
            "HOSTNAME=clean",
            "OWN=yes",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
    );
}

#[test]
fn entrypoint_and_cmd_are_combined_with_command_and_args() {
    let home = Home::new();
    // The image: entrypoint [/bin/sh, -c], cmd ["id; pwd; echo $GREETING"], user app, directory /home/app.
    let image = json!({"name": "main", "image": "nonroot:1"});
    let own = lines(&home, image.clone());
    assert!(own[0].starts_with("uid=1000(app) gid=1000(app)"), "{own:?}");
    assert_eq!(own[1..], ["/home/app", "hello"]);
    let args = with(
        image.clone(),
        json!({"args": ["echo args; echo $GREETING"]}),
    );
    assert_eq!(lines(&home, args), ["args", "hello"]);
    // A command does away with the image's cmd too.
    let command = with(image.clone(), json!({"command": ["echo", "command"]}));
    assert_eq!(lines(&home, command), ["command"]);
    let both = with(
        image.clone(),
        json!({"command": ["echo"], "args": ["a", "b"]}),
    );
    assert_eq!(lines(&home, both), ["a b"]);
    let env = with(
        image,
        json!({"env": [{"name": "GREETING", "value": "hi"}], "args": ["echo $GREETING"]}),
    );
    assert_eq!(lines(&home, env), ["hi"]);
}

#[test]
fn working_dir_replaces_the_images_and_is_made() {
    let home = Home::new();
    let dir = json!({"workingDir": "/tmp"});
    assert_eq!(lines(&home, with(shell("main", "pwd"), dir)), ["/tmp"]);
    let dir = json!({"workingDir": "/made/for/this"});
    assert_eq!(
        lines(&home, with(shell("main", "pwd"), dir)),
        ["/made/for/this"]
    );
}

#[test]
fn standard_input_is_empty_and_descriptors_are_three() {
    let home = Home::new();
    // C3: nothing of the runtime's is open in the container; ls itself has one for the directory.
    let script = "wc -c; ls /proc/$$$$/fd; [ -t 0 ] || echo no terminal";
    let found = lines(&home, shell("main", script));
    assert_eq!(found, ["0", "0", "1", "2", "no terminal"]);
}
