//! Bad numbers, quantities, ports, words and addresses.

use crate::{accepted, container, parse, refused, spec};

#[test]
fn b07_ports() {
    let path = "spec.containers[0].ports[0].containerPort";
    for (port, words) in [
        ("http", "is not a whole number"),
        ("0", "\"0\" must be between 1 and 65535, inclusive"),
        ("65536", "between 1 and 65535"),
        ("-1", "between 1 and 65535"),
        ("80.0", "is not a whole number"),
        ("\"80\"", "write the number 80 without quotes"),
        ("080", "without leading zeros"),
        ("", "required"),
    ] {
        refused(
            &container(&format!("ports: [{{containerPort: {port}}}]")),
            path,
            words,
        );
    }
    for (port, field, words) in [
        (
            "name: HTTP, containerPort: 80",
            "name",
            "must contain only lower case",
        ),
        (
            "containerPort: 80, protocol: tcp",
            "protocol",
            "did you mean TCP?",
        ),
        (
            "containerPort: 80, hostPort: 80",
            "hostPort",
            "not supported by Carob",
        ),
        (
            "containerPort: 80, hostIP: localhost",
            "hostIP",
            "is not an IP address",
        ),
    ] {
        let path = format!("spec.containers[0].ports[0].{field}");
        refused(&container(&format!("ports: [{{{port}}}]")), &path, words);
    }
    refused(
        &container("ports: [{name: a, containerPort: 1}, {name: a, containerPort: 2}]"),
        "spec.containers[0].ports[1].name",
        "is there twice, first on line 9",
    );
}

#[test]
fn b08_grace_overflows() {
    for seconds in ["9223372036854775808", "99999999999999999999999"] {
        let text = spec(&format!("terminationGracePeriodSeconds: {seconds}"));
        refused(
            &text,
            "spec.terminationGracePeriodSeconds",
            "must be between",
        );
    }
}

#[test]
fn b09_grace_negative_zero_and_huge() {
    for (given, seconds) in [
        ("-1", 1),
        ("-9223372036854775808", 1),
        ("0", 0),
        ("1000000000", 1_000_000_000),
    ] {
        let manifest = accepted(&spec(&format!("terminationGracePeriodSeconds: {given}")));
        assert_eq!(
            manifest.pods[0].spec.termination_grace_period_seconds,
            seconds
        );
    }
}

#[test]
fn b19_duplicate_host_ports() {
    let text = container("ports: [{containerPort: 80}, {containerPort: 80, protocol: UDP}]")
        .replace("  volumes:", "  hostNetwork: true\n  volumes:");
    let ports = &accepted(&text).pods[0].spec.containers[0].ports;
    assert_eq!(ports[0].host_port, Some(80));
    let twice = text.replace(", protocol: UDP", "");
    refused(
        &twice,
        "spec.containers[0].ports[1].containerPort",
        "is there twice",
    );
    let other = text.replace(
        "containerPort: 80, protocol",
        "containerPort: 81, hostPort: 82, protocol",
    );
    refused(
        &other,
        "spec.containers[0].ports[1].hostPort",
        "same as containerPort when hostNetwork",
    );
}

#[test]
fn b20_quantities() {
    let limits = |cpu: &str, memory: &str| {
        container(&format!(
            "resources: {{limits: {{cpu: {cpu}, memory: {memory}}}}}"
        ))
    };
    let path = "spec.containers[0].resources.limits";
    for bad in [
        "1.5.2", "1e400", "\" 1Gi\"", "1gi", "\"\"", "abc", "0x10", "[]",
    ] {
        let errors = parse(limits("1", bad)).expect_err(bad);
        assert_eq!(errors.errors.len(), 1, "{errors}");
        assert_eq!(errors.errors[0].path, format!("{path}.memory"), "{errors}");
    }
    refused(
        &limits("-1", "1Gi"),
        &format!("{path}.cpu"),
        "\"-1\" must be greater than or equal to 0",
    );
    refused(&limits("0100", "1Gi"), &format!("{path}.cpu"), "octal");
    let manifest = accepted(&limits("0.1", "100m"));
    let note = manifest
        .report
        .iter()
        .find(|n| n.path.ends_with("memory"))
        .unwrap();
    assert!(
        format!("{:?}", note.verdict).contains("fraction of a byte"),
        "{note:?}"
    );
    for (name, words) in [
        ("nvidia.com/gpu", "it has no device plugins"),
        ("hugepages-2Mi", "it reserves no huge pages"),
        ("memry", "did you mean memory?"),
    ] {
        let text = container(&format!("resources: {{limits: {{{name}: 1}}}}"));
        let errors = parse(text).expect_err(name);
        assert!(errors.to_string().contains(words), "{errors}");
    }
}

#[test]
fn b21_request_above_limit() {
    refused(
        &container("resources: {limits: {cpu: 500m}, requests: {cpu: 1}}"),
        "spec.containers[0].resources.requests.cpu",
        "\"1\" must be less than or equal to the cpu limit of 500m",
    );
    accepted(&container(
        "resources: {limits: {cpu: 1}, requests: {cpu: 1000m}}",
    ));
}

#[test]
fn b29_restart_policies() {
    for policy in ["Always", "OnFailure", "Never"] {
        accepted(&spec(&format!("restartPolicy: {policy}")));
        let lower = policy.to_lowercase();
        let text = spec(&format!("restartPolicy: {lower}"));
        refused(
            &text,
            "spec.restartPolicy",
            &format!("did you mean {policy}?"),
        );
    }
    refused(
        &spec("restartPolicy: Sometimes"),
        "spec.restartPolicy",
        "not one of \"Always\", \"OnFailure\", \"Never\"",
    );
}

#[test]
fn b32_active_deadline() {
    for seconds in ["0", "-1", "2147483648"] {
        let text = spec(&format!("activeDeadlineSeconds: {seconds}"));
        refused(
            &text,
            "spec.activeDeadlineSeconds",
            "must be between 1 and 2147483647, inclusive",
        );
    }
}

#[test]
fn b33_pull_policies() {
    refused(
        &container("imagePullPolicy: never"),
        "spec.containers[0].imagePullPolicy",
        "did you mean Never?",
    );
}

#[test]
fn b34_image_references() {
    let image = |text: &str| spec("").replace("image: i", &format!("image: {text}"));
    let path = "spec.containers[0].image";
    refused(&image("\"\""), path, "required");
    refused(&image("\" nginx\""), path, "whitespace");
    refused(&image("\"ng\\ninx\""), path, "whitespace");
    refused(&image("1"), path, "must be a string");
}

#[test]
fn b35_dns_config() {
    let config = |text: &str| spec(&format!("dnsConfig: {{{text}}}"));
    let many = vec!["a.b"; 33].join(", ");
    let long = vec!["a".repeat(63); 3].join(".");
    let long = [&*long; 11].join(", ");
    for (text, path, words) in [
        (
            config(&format!("searches: [{many}]")),
            "searches",
            "more than 32 search paths",
        ),
        (
            config(&format!("searches: [{long}]")),
            "searches",
            "more than 2048 characters",
        ),
        (
            config("nameservers: [\"::zz\"]"),
            "nameservers[0]",
            "is not an IP address",
        ),
        (
            config("nameservers: [1.1.1.1, 1.1.1.2, 1.1.1.3, 1.1.1.4]"),
            "nameservers",
            "more than 3 nameservers",
        ),
        (
            config("searches: [a b]"),
            "searches[0]",
            "RFC 1123 subdomain",
        ),
        (
            config("options: [{value: x}]"),
            "options[0].name",
            "required",
        ),
        (
            config("options: [{name: \"a\\nb\"}]"),
            "options[0].name",
            "printable",
        ),
    ] {
        refused(&text, &format!("spec.dnsConfig.{path}"), words);
    }
    refused(
        &spec("dnsPolicy: None"),
        "spec.dnsConfig",
        "at least one nameserver",
    );
    refused(
        &spec("dnsPolicy: default"),
        "spec.dnsPolicy",
        "did you mean Default?",
    );
    accepted(&config(
        "searches: [., a.b., _tcp.x], options: [{name: ndots, value: \"5\"}, {name: edns0}]",
    ));
}

#[test]
fn b36_host_aliases() {
    let alias = |text: &str| spec(&format!("hostAliases: [{{{text}}}]"));
    refused(
        &alias("ip: 1.2.3"),
        "spec.hostAliases[0].ip",
        "is not an IP address",
    );
    refused(
        &alias("hostnames: [a]"),
        "spec.hostAliases[0].ip",
        "required",
    );
    refused(
        &alias("ip: 1.2.3.4, hostnames: [\"a\\nb\"]"),
        "spec.hostAliases[0].hostnames[0]",
        "RFC 1123",
    );
}

#[test]
fn host_pid_and_a_shared_process_namespace() {
    refused(
        &spec("hostPID: true\nshareProcessNamespace: true"),
        "spec.shareProcessNamespace",
        "cannot both be enabled",
    );
}
