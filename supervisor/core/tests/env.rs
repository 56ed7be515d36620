//! The environment of containers, from manifests.

use carob_core::config::ObjectSet;
use carob_core::env::{EnvError, Environment, Facts};
use carob_core::parse::parse_manifest;
use carob_core::pod::{Container, EnvSource, EnvVar, Pod};

fn facts() -> Facts {
    let ips = |list: &[&str]| {
        list.iter()
            .map(|ip| ip.parse().expect("an address"))
            .collect()
    };
    let amount = |name: &str, text: &str| (name.to_owned(), text.parse().expect("a quantity"));
    Facts {
        node_name: "box".into(),
        host_ips: ips(&["192.0.2.1", "2001:db8::1"]),
        pod_ips: ips(&["10.88.0.2", "fd00::2"]),
        node: [amount("cpu", "2"), amount("memory", "4Gi")].into(),
    }
}

fn pod(spec: &str, env: &str) -> Pod {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web, uid: u1, labels: {{app: a, x/y: z}}, annotations: {{note: m}}}}\nspec:\n  {spec}\n  containers:\n  - name: c\n    image: i\n    resources: {{limits: {{memory: 64Mi}}, requests: {{cpu: 250m}}}}\n    env: [{env}]\n  - {{name: d, image: i, resources: {{limits: {{cpu: 1500m}}}}}}\n"
    );
    let manifest = parse_manifest(text.as_bytes(), "pod.yaml", &mut || "u".into());
    manifest
        .unwrap_or_else(|e| panic!("{e}\n{text}"))
        .pods
        .remove(0)
}

fn env(env: &str) -> Result<Environment, EnvError> {
    let pod = pod("hostname: h", env);
    Environment::of(
        &pod,
        &pod.spec.containers[0],
        &facts(),
        &ObjectSet::default(),
    )
}

fn value(environment: &Environment, name: &str) -> String {
    let found = environment.iter().find(|(n, _)| *n == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {environment:?}"))
        .1
        .to_owned()
}

#[test]
fn b23_references_see_what_is_before_them() {
    let environment = env(
        "{name: A, value: a}, {name: B, value: $(A)$(C)}, {name: C, value: $$(A) $(}, {name: D, value: $(C)}, {name: E, value: \"$$$(A) $A $ $\"}, {name: S, value: $(S)x}, {name: A, value: $(A)2}",
    )
    .unwrap();
    for (name, expected) in [
        ("A", "a2"),
        ("B", "a$(C)"),
        ("C", "$(A) $("),
        ("D", "$(A) $("),
        ("E", "$a $A $ $"),
        ("S", "$(S)x"),
    ] {
        assert_eq!(value(&environment, name), expected, "{name}");
    }
}

#[test]
fn words_are_expanded_as_kubernetes_does() {
    let environment =
        env("{name: VAR_A, value: A}, {name: VAR_B, value: B}, {name: VAR_E, value: \"\"}")
            .unwrap();
    for (text, expected) in [
        ("$(VAR_A)", "A"),
        ("___$(VAR_B)___", "___B___"),
        ("$(VAR_A)_$(VAR_B)", "A_B"),
        ("$$(VAR_A)_$(VAR_B)", "$(VAR_A)_B"),
        ("$$$(VAR_A)", "$A"),
        ("$$$$$(VAR_A)", "$$A"),
        ("f000-$VAR_A", "f000-$VAR_A"),
        ("foo$(VAR_E)bar", "foobar"),
        ("$(DFLT", "$(DFLT"),
        ("$(VAR_A", "$(VAR_A"),
        ("$()", "$()"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$(VAR_A)$", "A$"),
        ("$(((VAR_A)))", "$(((VAR_A)))"),
        ("($VAR_A)", "($VAR_A)"),
        ("\u{e9}$\u{e9}$(VAR_A)", "\u{e9}$\u{e9}A"),
    ] {
        assert_eq!(
            environment.expand(&[text.to_owned()]).unwrap(),
            [expected],
            "{text}"
        );
    }
}

#[test]
fn fields_of_the_pod() {
    let variables = [
        ("metadata.name", "web"),
        ("metadata.namespace", "default"),
        ("metadata.uid", "u1"),
        ("spec.nodeName", "box"),
        ("status.hostIP", "192.0.2.1"),
        ("status.hostIPs", "192.0.2.1,2001:db8::1"),
        ("status.podIP", "10.88.0.2"),
        ("status.podIPs", "10.88.0.2,fd00::2"),
        ("metadata.labels['x/y']", "z"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['note']", "m"),
    ];
    let text: Vec<String> = variables
        .iter()
        .enumerate()
        .map(|(i, (path, _))| {
            format!("{{name: V{i}, valueFrom: {{fieldRef: {{fieldPath: {path:?}}}}}}}")
        })
        .collect();
    let environment = env(&text.join(", ")).unwrap();
    for (i, (path, expected)) in variables.iter().enumerate() {
        assert_eq!(value(&environment, &format!("V{i}")), *expected, "{path}");
    }
    let host = pod(
        "hostNetwork: true",
        "{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}",
    );
    let environment = Environment::of(
        &host,
        &host.spec.containers[0],
        &facts(),
        &ObjectSet::default(),
    )
    .unwrap();
    assert_eq!(value(&environment, "IP"), "192.0.2.1");
}

#[test]
fn resources_of_a_container() {
    let reference = |name: &str, fields: &str| {
        format!("{{name: {name}, valueFrom: {{resourceFieldRef: {{{fields}}}}}}}")
    };
    let environment = env(&[
        reference("MEMORY", "resource: limits.memory"),
        reference("MEBI", "resource: limits.memory, divisor: 1Mi"),
        reference("REQUEST", "resource: requests.cpu"),
        reference("MILLI", "resource: requests.cpu, divisor: 1m"),
        reference("MACHINE", "resource: limits.cpu"),
        reference("OTHER", "resource: limits.cpu, containerName: d"),
        reference("NONE", "resource: requests.ephemeral-storage"),
    ]
    .join(", "))
    .unwrap();
    for (name, expected) in [
        ("MEMORY", "67108864"),
        ("MEBI", "64"),
        ("REQUEST", "1"),
        ("MILLI", "250"),
        ("MACHINE", "2"),
        ("OTHER", "2"),
        ("NONE", "0"),
    ] {
        assert_eq!(value(&environment, name), expected, "{name}");
    }
}

#[test]
fn b23_values_that_multiply_are_refused() {
    let bomb: Vec<String> = std::iter::once("{name: A0, value: xxxxxxxxxxxxxxxx}".to_owned())
        .chain((1..60).map(|i| format!("{{name: A{i}, value: $(A{0})$(A{0})}}", i - 1)))
        .collect();
    let error = env(&bomb.join(", ")).unwrap_err();
    assert_eq!(
        error,
        EnvError::TooLong {
            what: "env A13".into()
        }
    );
    let wide = format!(
        "{{name: A, value: {}}}, {{name: B, value: {}}}",
        "x".repeat(100_000),
        "$(A)".repeat(100_000)
    );
    assert_eq!(
        env(&wide).unwrap_err(),
        EnvError::TooLong {
            what: "env B".into()
        }
    );
    let many: Vec<String> = std::iter::once(format!("{{name: A, value: {}}}", "x".repeat(100_000)))
        .chain((0..80).map(|i| format!("{{name: A{i}, value: $(A)}}")))
        .collect();
    assert_eq!(env(&many.join(", ")).unwrap_err(), EnvError::TooLarge);
    let environment = env(&many[0]).unwrap();
    let words = |count: usize| environment.expand(&vec!["$(A)".to_owned(); count]);
    assert_eq!(words(3).unwrap().len(), 3);
    assert_eq!(words(1000), Err(EnvError::TooLarge));
}

#[test]
fn b40_a_value_too_long_for_linux_is_explained() {
    let long = |length: usize| env(&format!("{{name: LONG, value: {}}}", "x".repeat(length)));
    let message = long(1 << 20).unwrap_err().to_string();
    assert_eq!(
        message,
        "env LONG is longer than the 131072 bytes that Linux allows; pass it in a file"
    );
    // NAME=value and its NUL.
    assert!(long(131_072 - 6).is_ok());
    assert!(long(131_072 - 5).is_err());
}

#[test]
fn b17_sub_path_expressions_stay_in_their_volume() {
    let environment = env("{name: A, value: a/b}, {name: UP, value: ..}, {name: ROOT, value: /}, {name: E, value: ''}").unwrap();
    assert_eq!(environment.sub_path("$(A)/c").unwrap(), "a/b/c");
    assert_eq!(environment.sub_path("a..b").unwrap(), "a..b");
    for bad in ["$(UP)", "a/$(UP)/$(UP)", "$(ROOT)etc", "$(E)"] {
        let error = environment.sub_path(bad).unwrap_err();
        assert!(
            matches!(error, EnvError::BadSubPath { .. }),
            "{bad}: {error}"
        );
    }
    let error = environment.sub_path("$(NONE)").unwrap_err();
    assert_eq!(
        error.to_string(),
        "subPathExpr \"$(NONE)\": there is no variable \"NONE\""
    );
}

#[test]
fn a_probe_knows_only_the_values_that_stand_in_the_manifest() {
    let mut container = Container::new("c", "i");
    container.env = vec![
        EnvVar {
            name: "A".into(),
            source: EnvSource::Value("1".into()),
        },
        EnvVar {
            name: "B".into(),
            source: EnvSource::Value("$(A)2".into()),
        },
        EnvVar {
            name: "IP".into(),
            source: EnvSource::Field("status.podIP".into()),
        },
    ];
    let words = ["$(A) $(B)", "[$(IP)]", "$(C) $$(A)"].map(str::to_owned);
    let expanded = carob_core::env::expand_probe(&container, &words).unwrap();
    assert_eq!(expanded, ["1 $(A)2", "[]", "$(C) $(A)"]);
}
