//! Probes: what they are by default, and which are refused.

use carob_core::pod::{HttpGet, Port, Probe, ProbeHandler, Scheme};

use crate::{accepted, container, refused, spec};

fn probe(field: &str, probe: &str) -> Probe {
    let text = container(&format!(
        "ports: [{{name: http, containerPort: 8080}}]\n{field}: {probe}"
    ));
    let pod = accepted(&text).pods.remove(0);
    let found = &pod.spec.containers[0];
    let probes = [
        &found.startup_probe,
        &found.liveness_probe,
        &found.readiness_probe,
    ];
    probes
        .into_iter()
        .flatten()
        .next()
        .expect("a probe")
        .clone()
}

#[test]
fn defaults_are_those_of_the_api_server() {
    for field in ["startupProbe", "livenessProbe", "readinessProbe"] {
        for numbers in [
            "",
            ", periodSeconds: 0, timeoutSeconds: 0, successThreshold: 0, failureThreshold: 0, initialDelaySeconds: 0",
        ] {
            let parsed = probe(field, &format!("{{httpGet: {{port: http}}{numbers}}}"));
            let get = HttpGet {
                scheme: Scheme::Http,
                host: None,
                port: Port::Name("http".into()),
                path: "/".into(),
                headers: Vec::new(),
            };
            let expected = Probe {
                handler: ProbeHandler::HttpGet(get),
                initial_delay_seconds: 0,
                timeout_seconds: 1,
                period_seconds: 10,
                success_threshold: 1,
                failure_threshold: 3,
                termination_grace_period_seconds: None,
            };
            assert_eq!(parsed, expected);
        }
    }
}

#[test]
fn every_handler_and_number_is_read() {
    let parsed = probe(
        "livenessProbe",
        "{exec: {command: [cat, /x]}, initialDelaySeconds: 1, timeoutSeconds: 2, periodSeconds: 3, failureThreshold: 4, terminationGracePeriodSeconds: 5}",
    );
    let command = vec!["cat".to_owned(), "/x".to_owned()];
    let expected = Probe {
        handler: ProbeHandler::Exec { command },
        initial_delay_seconds: 1,
        timeout_seconds: 2,
        period_seconds: 3,
        success_threshold: 1,
        failure_threshold: 4,
        termination_grace_period_seconds: Some(5),
    };
    assert_eq!(parsed, expected);
    let parsed = probe("readinessProbe", "{grpc: {port: 9}, successThreshold: 2}");
    assert_eq!(parsed.success_threshold, 2);
    let service = String::new();
    assert_eq!(parsed.handler, ProbeHandler::Grpc { port: 9, service });
    let parsed = probe(
        "startupProbe",
        "{httpGet: {scheme: HTTPS, host: example.com, port: 1, path: \"x?y=z w\", httpHeaders: [{name: A, value: \"1\"}, {name: A}]}}",
    );
    let ProbeHandler::HttpGet(get) = parsed.handler else {
        panic!("{parsed:?}");
    };
    assert_eq!(
        (get.scheme, get.port.clone()),
        (Scheme::Https, Port::Number(1))
    );
    assert_eq!(
        (get.host.as_deref(), &*get.path),
        (Some("example.com"), "x?y=z w")
    );
    let header = |value: &str| ("A".to_owned(), value.to_owned());
    assert_eq!(get.headers, [header("1"), header("")]);
}

#[test]
fn a_named_port_is_looked_up_in_its_container() {
    let text = container("ports: [{containerPort: 1}, {name: web, containerPort: 8080}]");
    let pod = accepted(&text).pods.remove(0);
    let of = |port: Port| port.number(&pod.spec.containers[0]);
    assert_eq!(of(Port::Name("web".into())), Some(8080));
    assert_eq!(of(Port::Name("other".into())), None);
    assert_eq!(of(Port::Number(7)), Some(7));
}

#[test]
fn b22_handlers() {
    for (probe, path, words) in [
        ("{}", "", "must specify a handler"),
        ("{periodSeconds: 1}", "", "must specify a handler"),
        (
            "{exec: {command: [a]}, tcpSocket: {port: 1}}",
            ".tcpSocket",
            "more than 1 handler",
        ),
        ("{exec: {}}", ".exec.command", "required"),
        ("{exec: {command: []}}", ".exec.command", "required"),
        ("{httpGet: {path: /}}", ".httpGet.port", "required"),
        (
            "{httpGet: {port: 1, scheme: ftp}}",
            ".httpGet.scheme",
            "\"HTTP\", \"HTTPS\"",
        ),
        ("{grpc: {port: web}}", ".grpc.port", "whole number"),
    ] {
        let path = format!("spec.containers[0].livenessProbe{path}");
        refused(&container(&format!("livenessProbe: {probe}")), &path, words);
    }
}

#[test]
fn b22_ports() {
    for (port, words) in [
        ("0", "between 1 and 65535"),
        ("65536", "between 1 and 65535"),
        ("-1", "between 1 and 65535"),
        ("\"80\"", "without quotes"),
        ("web", "is the name of no port"),
        ("WEB", "lower case"),
        ("[1]", "whole number"),
    ] {
        for handler in ["httpGet", "tcpSocket"] {
            let text = format!("readinessProbe: {{{handler}: {{port: {port}}}}}");
            let path = format!("spec.containers[0].readinessProbe.{handler}.port");
            refused(&container(&text), &path, words);
        }
    }
    // A port that is wrong itself is not wrong twice.
    let text = "ports: [{name: web, containerPort: 0}]\nreadinessProbe: {httpGet: {port: web}}";
    refused(
        &container(text),
        "spec.containers[0].ports[0].containerPort",
        "65535",
    );
}

#[test]
fn b22_numbers() {
    for (field, words) in [
        ("periodSeconds: -1", "between 0 and 2147483647"),
        ("initialDelaySeconds: -1", "between 0 and 2147483647"),
        ("timeoutSeconds: 2147483648", "between 0 and 2147483647"),
        ("failureThreshold: 1.5", "whole number"),
        ("successThreshold: 2", "must be 1"),
        ("terminationGracePeriodSeconds: 0", "between 1 and"),
        ("terminationGracePeriodSeconds: -1", "between 1 and"),
    ] {
        let name = field.split(':').next().unwrap();
        for kind in ["livenessProbe", "startupProbe"] {
            let text = container(&format!("{kind}: {{tcpSocket: {{port: 1}}, {field}}}"));
            refused(&text, &format!("spec.containers[0].{kind}.{name}"), words);
        }
    }
    let text = "readinessProbe: {tcpSocket: {port: 1}, terminationGracePeriodSeconds: 1}";
    refused(
        &container(text),
        "spec.containers[0].readinessProbe.terminationGracePeriodSeconds",
        "must not be set for readiness probes",
    );
}

#[test]
fn b22_requests_cannot_be_split() {
    for (field, path) in [
        ("path: \"/\\r\\nHost: x\"", "path"),
        ("host: \"a\\nb\"", "host"),
        ("host: a b", "host"),
        ("host: http://a", "host"),
        (
            "httpHeaders: [{name: A, value: \"1\\r\\nB: 2\"}]",
            "httpHeaders[0].value",
        ),
        ("httpHeaders: [{name: \"A\\n\"}]", "httpHeaders[0].name"),
        ("httpHeaders: [{name: A B}]", "httpHeaders[0].name"),
        ("httpHeaders: [{value: A}]", "httpHeaders[0].name"),
    ] {
        let text = container(&format!("livenessProbe: {{httpGet: {{port: 1, {field}}}}}"));
        let path = format!("spec.containers[0].livenessProbe.httpGet.{path}");
        refused(&text, &path, "");
    }
}

#[test]
fn only_sidecars_among_init_containers_have_probes() {
    for kind in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let init = |more: &str| {
            spec(&format!(
                "initContainers: [{{name: d, image: i, {more}{kind}: {{tcpSocket: {{port: 1}}}}}}]"
            ))
        };
        accepted(&init("restartPolicy: Always, "));
        let path = format!("spec.initContainers[0].{kind}");
        for policy in ["", "restartPolicy: OnFailure, "] {
            refused(&init(policy), &path, "without restartPolicy=Always");
        }
    }
}
