//! `lifecycle`: hooks and the stop signal.

use carob_core::parse::Verdict;
use carob_core::pod::{HookHandler, Lifecycle};

use crate::{accepted, container, refused, spec};

fn lifecycle(fields: &str) -> Lifecycle {
    let text = container(&format!("lifecycle: {{{fields}}}"));
    let mut pod = accepted(&text).pods.remove(0);
    pod.spec.containers.remove(0).lifecycle
}

#[test]
fn hooks_are_read() {
    let parsed = lifecycle("postStart: {exec: {command: [a, b]}}, preStop: {sleep: {seconds: 30}}");
    let command = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(parsed.post_start, Some(HookHandler::Exec { command }));
    assert_eq!(parsed.pre_stop, Some(HookHandler::Sleep { seconds: 30 }));
    assert_eq!(parsed.stop_signal, None);
    let parsed = lifecycle("preStop: {httpGet: {port: 1}}");
    assert!(matches!(parsed.pre_stop, Some(HookHandler::HttpGet(_))));
    assert_eq!(lifecycle(""), Lifecycle::default());
}

#[test]
fn a_tcp_hook_is_warned_of() {
    let text = container("lifecycle: {preStop: {tcpSocket: {port: 1}}}");
    let report = accepted(&text).report;
    let path = "spec.containers[0].lifecycle.preStop.tcpSocket";
    let note = report.iter().find(|n| n.path == path).unwrap();
    assert!(matches!(&note.verdict, Verdict::Warned(why) if why.contains("always fails")));
}

#[test]
fn hooks_that_cannot_be() {
    for (hook, path, words) in [
        ("{}", "", "must specify a handler"),
        (
            "{exec: {command: [a]}, sleep: {seconds: 1}}",
            ".sleep",
            "more than 1 handler",
        ),
        ("{exec: {}}", ".exec.command", "required"),
        ("{sleep: {}}", ".sleep.seconds", "required"),
        ("{sleep: {seconds: -1}}", ".sleep.seconds", "between 0 and"),
        (
            "{sleep: {seconds: 31}}",
            ".sleep.seconds",
            "terminationGracePeriodSeconds (30)",
        ),
        ("{grpc: {port: 1}}", ".grpc", "unknown field"),
    ] {
        for name in ["postStart", "preStop"] {
            let text = container(&format!("lifecycle: {{{name}: {hook}}}"));
            let found = crate::errors(&text);
            let path = format!("spec.containers[0].lifecycle.{name}{path}: ");
            let hit = found.iter().any(|e| e.contains(&path) && e.contains(words));
            assert!(hit, "{text}\n{found:?}");
        }
    }
    let text = "terminationGracePeriodSeconds: 60\ninitContainers: [{name: d, image: i, restartPolicy: Always, lifecycle: {preStop: {sleep: {seconds: 60}}}}]";
    accepted(&spec(text));
}

#[test]
fn a_stop_signal_needs_its_system() {
    let with = |signal: &str, os: bool| {
        let os = if os { "  os: {name: linux}\n" } else { "" };
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n{os}  containers:\n  - {{name: c, image: i, lifecycle: {{stopSignal: {signal}}}}}\n"
        )
    };
    for (name, number) in [("SIGUSR1", 10), ("SIGRTMIN+3", 37), ("SIGCLD", 17)] {
        let mut pod = accepted(&with(name, true)).pods.remove(0);
        let signal = pod.spec.containers.remove(0).lifecycle.stop_signal.unwrap();
        assert_eq!((signal.name(), signal.number()), (name, number));
    }
    let path = "spec.containers[0].lifecycle.stopSignal";
    refused(&with("SIGTERM", false), path, "spec.os.name");
    for bad in ["TERM", "sigterm", "SIGNOPE", "SIGRTMIN+16"] {
        refused(&with(bad, true), path, "is no signal");
    }
}

#[test]
fn only_sidecars_among_init_containers_have_hooks() {
    let init = |more: &str| {
        spec(&format!(
            "initContainers: [{{name: d, image: i, {more}lifecycle: {{preStop: {{sleep: {{seconds: 1}}}}}}}}]"
        ))
    };
    accepted(&init("restartPolicy: Always, "));
    let path = "spec.initContainers[0].lifecycle";
    refused(&init(""), path, "without restartPolicy=Always");
}
