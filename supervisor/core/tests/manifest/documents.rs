//! Bad documents: what is no Pod at all, or says something twice, wrongly spelt or of another type.

use crate::{accepted, container, errors, metadata, parse, refused, spec};

#[test]
fn b01_empty_file() {
    for text in ["", "\n\n", "# nothing\n", "---\n---\n", "null", "~"] {
        let errors = errors(text);
        assert_eq!(
            errors,
            ["pod.yaml:1:1: there is no Pod in it: it is empty or has only comments"],
            "{text:?}"
        );
    }
    let list = "apiVersion: v1\nkind: List\nitems: []\n";
    assert!(errors(list)[0].contains("its lists are empty"));
    assert!(errors("[]")[0].contains("must be a map, not a list"));
    assert!(errors("hello")[0].contains("is not a map"));
}

#[test]
fn b02_missing_spec_or_containers() {
    assert_eq!(
        errors("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"),
        ["pod.yaml:1:1: spec: required"]
    );
    assert_eq!(
        errors("apiVersion: v1\nkind: Pod\n"),
        [
            "pod.yaml:1:1: metadata: required",
            "pod.yaml:1:1: spec: required"
        ]
    );
    let pod =
        |spec: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {spec}\n");
    refused(&pod("{}"), "spec.containers", "required");
    refused(&pod("{containers: }"), "spec.containers", "required");
    refused(
        &pod("{containers: []}"),
        "spec.containers",
        "at least one container",
    );
    refused(
        &pod("{containers: {}}"),
        "spec.containers",
        "must be a list, not a map",
    );
    assert_eq!(
        errors(pod("{containers: [{}]}")),
        [
            "pod.yaml:4:21: spec.containers[0].name: required",
            "pod.yaml:4:21: spec.containers[0].image: required",
        ]
    );
    refused(&metadata("namespace: x"), "metadata.name", "required");
    refused(
        &metadata("generateName: x-"),
        "metadata.name",
        "generateName",
    );
}

#[test]
fn b03_wrong_kind() {
    let other =
        |version: &str, kind: &str| format!("apiVersion: {version}\nkind: {kind}\nspec: {{}}\n");
    refused(
        &other("v1", "Service"),
        "kind",
        "\"Service\" is no kind that Carob runs",
    );
    refused(
        &other("apps/v1", "Deployment"),
        "kind",
        "make a Pod of the metadata and spec in its template",
    );
    refused(&other("v1", "pod"), "kind", "did you mean Pod?");
    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service}\n";
    refused(
        list,
        "items[0].kind",
        "\"Service\" is no kind that Carob runs",
    );
    let beta = spec("").replace("apiVersion: v1", "apiVersion: v1beta1");
    refused(&beta, "apiVersion", "\"v1beta1\" is not one of \"v1\"");
    refused(
        "apiVersion: v1\nkind: List\nitems: [{kind: List}]\n",
        "items[0].kind",
        "a list cannot hold another",
    );
    assert_eq!(
        errors("services: {web: {image: nginx}}")[0],
        "pod.yaml:1:1: apiVersion: required"
    );
}

#[test]
fn b04_misspelt_field_is_named_with_a_suggestion() {
    assert_eq!(
        errors(container("imagePulPolicy: Always")),
        [
            "pod.yaml:9:5: spec.containers[0].imagePulPolicy: unknown field; did you mean imagePullPolicy?"
        ]
    );
    let text = spec("").replace("containers", "contaners");
    assert_eq!(
        errors(text),
        [
            "pod.yaml:5:3: spec.containers: required",
            "pod.yaml:5:3: spec.contaners: unknown field; did you mean containers?",
        ]
    );
    for (text, path, words) in [
        (
            spec("restartpolicy: Never"),
            "spec.restartpolicy",
            "did you mean restartPolicy?",
        ),
        (
            spec("nodeSelecter: {a: b}"),
            "spec.nodeSelecter",
            "did you mean nodeSelector?",
        ),
        (
            container("livenessprobe: {}"),
            "spec.containers[0].livenessprobe",
            "did you mean livenessProbe?",
        ),
        (
            container("enviroment: []"),
            "spec.containers[0].enviroment",
            "unknown field",
        ),
        (
            container("evn: []"),
            "spec.containers[0].evn",
            "did you mean env?",
        ),
        (
            spec("\u{1b}[31m: 1"),
            "spec[\"\\u{1b}[31m\"]",
            "unknown field",
        ),
        (
            metadata("name: p, label: {}"),
            "metadata.label",
            "did you mean labels?",
        ),
        (
            container("resources: {limit: {cpu: 1}}"),
            "spec.containers[0].resources.limit",
            "did you mean limits?",
        ),
        (
            container("resources: {limits: {mem: 1}}"),
            "spec.containers[0].resources.limits.mem",
            "no resource that a container can have",
        ),
    ] {
        // A raw escape character is no YAML at all.
        let text = text
            .replace('\u{1b}', "\\e")
            .replace("\\e[31m", "\"\\e[31m\"");
        refused(&text, path, words);
    }
    let top = spec("") + "sepc: {}\n";
    refused(&top, "sepc", "did you mean spec?");
}

#[test]
fn b05_duplicate_key() {
    assert_eq!(
        errors(container("image: j")),
        ["pod.yaml:9:5: spec.containers[0].image: duplicate key, first given on line 8"]
    );
    assert!(
        errors("{\"apiVersion\": \"v1\", \"apiVersion\": \"v1\"}").contains(
            &"pod.yaml:1:22: apiVersion: duplicate key, first given on line 1".to_owned()
        )
    );
}

#[test]
fn b06_unquoted_strings_of_another_type() {
    let value = "spec.containers[0].env[0].value";
    for text in [
        "1", "1.10", "yes", "0755", "true", "on", "n", "1e3", "0x1F", "1_000", "-.5", ".inf",
    ] {
        let env = container(&format!("env: [{{name: A, value: {text}}}]"));
        refused(&env, value, &format!("quote it: {text:?}"));
        accepted(&container(&format!(
            "env: [{{name: A, value: \"{text}\"}}]"
        )));
        accepted(&container(&format!(
            "env: [{{name: A, value: !!str {text}}}]"
        )));
        let label = metadata(&format!("name: p, labels: {{version: {text}}}"));
        refused(&label, "metadata.labels.version", "must be a string");
    }
    for text in [
        "1.2.3",
        "10.0.0.1",
        "12:30",
        "2026-11-01",
        "1Gi",
        "yesterday",
        "--x",
        "v1",
    ] {
        accepted(&container(&format!("env: [{{name: A, value: {text}}}]")));
    }
    refused(
        &container("args: [1]"),
        "spec.containers[0].args[0]",
        "quote it",
    );
    refused(
        &container("args: sleep"),
        "spec.containers[0].args",
        "is not a list",
    );
    refused(
        &container("command: [[sh]]"),
        "spec.containers[0].command[0]",
        "must be a string, not a list",
    );
    refused(
        &metadata("name: p, labels: {1: a}"),
        "metadata.labels.1",
        "a key must be a string",
    );
    refused(
        &metadata("name: 1"),
        "metadata.name",
        "YAML takes \"1\" for a number",
    );
    refused(
        &container("stdin: \"true\""),
        "spec.containers[0].stdin",
        "true or false, without quotes",
    );
    refused(
        &container("stdin: yes"),
        "spec.containers[0].stdin",
        "true or false",
    );
    refused(
        &container("env: [{name: A, value: !x a}]"),
        value,
        "YAML tags are not supported",
    );
}

#[test]
fn b13_several_documents() {
    let other = spec("").replace("name: p", "name: q");
    let manifest = accepted(&format!("{}---\n# nothing\n---\n{other}", spec("")));
    let names: Vec<_> = manifest.pods.iter().map(|p| &*p.metadata.name).collect();
    assert_eq!(names, ["p", "q"]);
    let twice = format!("{}---\n{}", spec(""), spec(""));
    refused(
        &twice,
        "metadata.name",
        "\"p\" is there twice, first on line 3",
    );
    let list = "apiVersion: v1\nkind: List\nmetadata: {resourceVersion: ''}\nitems:\n";
    let items =
        [&spec(""), &other].map(|pod| format!("- {}", pod.trim_end().replace('\n', "\n  ")));
    let manifest = accepted(&format!("{list}{}\n", items.join("\n")));
    assert_eq!(manifest.pods.len(), 2);
    // An error in one document does not hide those of the others.
    let text = "a: [\n---\nkind: Service\n---\nkind: Pod\n";
    let errors = errors(text);
    assert!(errors[0].contains("not valid YAML"), "{errors:?}");
    assert!(errors[1].starts_with("pod.yaml:3:7: kind:"), "{errors:?}");
    assert!(
        errors[2].starts_with("pod.yaml:5:1: apiVersion: required"),
        "{errors:?}"
    );
}

#[test]
fn every_error_of_a_manifest_is_told() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: A, lables: {}}\nspec:\n  restartPolicy: always\n  containers:\n  - name: c\n    image: \" \"\n    ports: [{containerPort: 0}]\n  nodeSelector: {a: b}\n";
    let places: Vec<String> = errors(text)
        .iter()
        .map(|e| e.split(": ").take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        places,
        [
            "pod.yaml:3:18 metadata.name",
            "pod.yaml:3:21 metadata.lables",
            "pod.yaml:5:18 spec.restartPolicy",
            "pod.yaml:8:12 spec.containers[0].image",
            "pod.yaml:9:29 spec.containers[0].ports[0].containerPort",
            "pod.yaml:10:3 spec.nodeSelector",
        ]
    );
}

#[test]
fn error_messages_hold_no_control_characters() {
    let text = metadata("name: \"\\e[31mred\\r\\n\", \"\\e[0m\": x");
    let message = parse(text).expect_err("an error").to_string();
    assert!(
        message.chars().all(|c| c == '\n' || !c.is_control()),
        "{message:?}"
    );
    assert_eq!(message.lines().count(), 2, "{message:?}");
}
