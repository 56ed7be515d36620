//! ConfigMaps and Secrets, from their manifests to the variables and files of containers.

use std::sync::Arc;

use carob_core::config::{ConfigObject, ObjectSet, payload};
use carob_core::env::{Environment, Facts};
use carob_core::parse::{Manifest, parse_manifest};
use carob_core::pod::VolumeSource;

const OBJECTS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: site, labels: {a: b}}
data: {greeting: "$(X) hello", empty: "", app.conf: "x=1\n"}
binaryData: {logo: /wA=}
---
apiVersion: v1
kind: Secret
metadata: {name: db}
type: kubernetes.io/basic-auth
data: {password: aHVudGVyMg==, raw: /w==}
stringData: {username: root}
immutable: true
"#;

fn parse(text: &str) -> Result<Manifest, Vec<String>> {
    let parsed = parse_manifest(text.as_bytes(), "f", &mut || "u".into());
    parsed.map_err(|errors| errors.to_string().lines().map(str::to_owned).collect())
}

fn objects() -> ObjectSet {
    parse(OBJECTS)
        .expect("good documents")
        .objects
        .into_iter()
        .collect()
}

fn manifest(container: &str, volumes: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, labels: {{app: web, b: c}}, annotations: {{note: 'a \"b\"'}}}}\n\
         spec:\n  volumes: [{volumes}]\n  containers: [{{name: c, image: i, resources: {{limits: {{memory: 64Mi}}}}, {container}}}]\n"
    )
}

fn variables(container: &str) -> Result<Vec<String>, String> {
    let pod = parse(&manifest(container, ""))
        .expect("a good manifest")
        .pods
        .remove(0);
    let facts = Facts::default();
    let found = Environment::of(&pod, &pod.spec.containers[0], &facts, &objects());
    let found = found.map_err(|error| error.to_string())?;
    Ok(found.iter().map(|(k, v)| format!("{k}={v}")).collect())
}

fn files(volume: &str) -> Result<Vec<String>, String> {
    let text = manifest("", &format!("{{name: v, {volume}}}"));
    let pod = parse(&text)
        .unwrap_or_else(|e| panic!("{e:?}\n{text}"))
        .pods
        .remove(0);
    let VolumeSource::Files(volume) = &pod.spec.volumes[0].source else {
        panic!("{pod:?}");
    };
    let made = payload(&pod, volume, &objects(), &Facts::default());
    let made = made.map_err(|error| error.to_string())?;
    let line = |(path, file): (String, carob_core::config::File)| {
        let text = String::from_utf8_lossy(&file.bytes).into_owned();
        format!("{path} {:o} {text:?}", file.mode)
    };
    Ok(made.into_iter().map(line).collect())
}

#[test]
fn documents_say_what_they_hold_and_nothing_shows_it() {
    let set = objects();
    let of = |text: &str| -> Arc<ConfigObject> {
        set.iter()
            .find(|o| o.id.to_string() == text)
            .unwrap()
            .clone()
    };
    let (map, secret) = (of("ConfigMap default/site"), of("Secret default/db"));
    assert_eq!(map.data["logo"].bytes, [0xff, 0]);
    assert!(map.data["logo"].binary && !map.data["greeting"].binary);
    assert_eq!(secret.data["password"].bytes, b"hunter2");
    assert_eq!(secret.data["username"].bytes, b"root");
    assert_eq!(
        secret.secret_type.as_deref(),
        Some("kubernetes.io/basic-auth")
    );
    assert!(secret.immutable && !map.immutable);
    assert!(!format!("{secret:?}").contains("hunter2"), "{secret:?}");
    let kept = serde_json::to_string(&*secret).unwrap();
    assert_eq!(
        serde_json::from_str::<ConfigObject>(&kept).unwrap(),
        *secret
    );
}

#[test]
fn b24_variables_of_config_maps_and_secrets() {
    let key = |kind: &str, name: &str, key: &str, more: &str| {
        variables(&format!(
            "env: [{{name: A, valueFrom: {{{kind}KeyRef: {{name: {name}, key: {key}{more}}}}}}}]"
        ))
    };
    let no = || Ok(Vec::new());
    let err = |text: &str| Err(text.to_owned());
    let optional = ", optional: true";
    for (found, wanted) in [
        // As it stands there: nothing is expanded in it.
        (
            key("configMap", "site", "greeting", ""),
            Ok(vec!["A=$(X) hello".to_owned()]),
        ),
        (
            key("configMap", "site", "empty", ""),
            Ok(vec!["A=".to_owned()]),
        ),
        (
            key("secret", "db", "password", ""),
            Ok(vec!["A=hunter2".to_owned()]),
        ),
        (
            key("configMap", "other", "k", ""),
            err("configmap \"other\" not found"),
        ),
        (
            key("secret", "other", "k", ""),
            err("secret \"other\" not found"),
        ),
        (
            key("configMap", "site", "k", ""),
            err("couldn't find key k in ConfigMap default/site"),
        ),
        (
            key("configMap", "site", "logo", ""),
            err("couldn't find key logo in ConfigMap default/site"),
        ),
        (
            key("secret", "db", "k", ""),
            err("couldn't find key k in Secret default/db"),
        ),
        (key("configMap", "other", "k", optional), no()),
        (key("secret", "db", "k", optional), no()),
        (
            key("secret", "other", "k", ", optional: false"),
            err("secret \"other\" not found"),
        ),
        (
            key("secret", "db", "raw", ""),
            err(
                "env A: the key raw of Secret default/db is no text: it is not UTF-8 or has a NUL; mount it as a file",
            ),
        ),
    ] {
        assert_eq!(found, wanted);
    }
}

#[test]
fn b24_all_keys_as_variables() {
    let found = variables(
        "envFrom: [{configMapRef: {name: site}}, {prefix: P_, configMapRef: {name: site}}, \
         {secretRef: {name: none, optional: true}}], env: [{name: empty, value: $(greeting)}]",
    );
    let wanted = [
        "P_app.conf=x=1\n",
        "P_empty=",
        "P_greeting=$(X) hello",
        "app.conf=x=1\n",
        "empty=$(X) hello",
        "greeting=$(X) hello",
    ];
    assert_eq!(found.unwrap(), wanted);
    let missing = variables("envFrom: [{secretRef: {name: none}}]");
    assert_eq!(missing.unwrap_err(), "secret \"none\" not found");
}

#[test]
fn files_of_config_maps_secrets_and_the_pod() {
    for (volume, wanted) in [
        (
            "configMap: {name: site, defaultMode: 0600, items: [{key: app.conf, path: a/./b, mode: 292}, {key: empty, path: e}]}",
            Ok(vec!["a/b 444 \"x=1\\n\"", "e 600 \"\""]),
        ),
        (
            "secret: {secretName: db, items: [{key: username, path: u}]}",
            Ok(vec!["u 644 \"root\""]),
        ),
        ("secret: {secretName: none, optional: true}", Ok(vec![])),
        (
            "secret: {secretName: none}",
            Err("secret \"none\" not found"),
        ),
        (
            "configMap: {name: none}",
            Err("configmap \"none\" not found"),
        ),
        (
            "configMap: {name: site, items: [{key: k, path: k}]}",
            Err("references non-existent config key: k"),
        ),
        (
            "secret: {secretName: db, items: [{key: k, path: k}]}",
            Err("references non-existent secret key: k"),
        ),
        (
            "configMap: {name: site, optional: true, items: [{key: k, path: k}]}",
            Ok(vec![]),
        ),
        (
            "downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}, \
             {path: note, fieldRef: {fieldPath: metadata.annotations}}, {path: one, fieldRef: {fieldPath: \"metadata.labels['app']\"}}, \
             {path: mem, resourceFieldRef: {containerName: c, resource: limits.memory, divisor: 1Mi}}]}",
            Ok(vec![
                "labels 644 \"app=\\\"web\\\"\\nb=\\\"c\\\"\\n\"",
                "mem 644 \"64\"",
                "note 644 \"note=\\\"a \\\\\\\"b\\\\\\\"\\\"\\n\"",
                "one 644 \"web\"",
            ]),
        ),
        (
            "projected: {defaultMode: 0400, sources: [{secret: {name: db, items: [{key: username, path: x/u}]}}, \
             {configMap: {name: site, items: [{key: empty, path: x/e, mode: 0o644}]}}, \
             {downwardAPI: {items: [{path: me, fieldRef: {fieldPath: metadata.name}}]}}]}",
            Ok(vec!["me 400 \"p\"", "x/e 644 \"\"", "x/u 400 \"root\""]),
        ),
        (
            "projected: {sources: [{configMap: {name: site}}, {configMap: {name: site}}]}",
            Err(
                "the file \"app.conf\" comes from two of its sources; give one another path by items",
            ),
        ),
    ] {
        let found = files(volume);
        let wanted = wanted.map_err(str::to_owned);
        let wanted = wanted.map(|lines| lines.into_iter().map(str::to_owned).collect());
        assert_eq!(found, wanted, "{volume}");
    }
}

#[test]
fn what_is_wrong_with_a_document_is_said_without_what_it_holds() {
    let doc = |kind: &str, more: &str| {
        format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: x}}\n{more}\n")
    };
    for (text, path, words) in [
        (
            doc("Secret", "data: {k: hunter2}"),
            "data.k",
            "is not base64",
        ),
        (
            doc("Secret", "stringData: {pin: 4711}"),
            "stringData.pin",
            "YAML takes it for a number; quote it",
        ),
        (
            doc("Secret", "stringData: {pin: [hunter2]}"),
            "stringData.pin",
            "not a list",
        ),
        (
            doc("ConfigMap", "data: {on: yes}"),
            "data.on",
            "a key must be a string",
        ),
        (
            doc("ConfigMap", "data: {a/b: c}"),
            "data[\"a/b\"]",
            "the key must consist of",
        ),
        (
            doc("ConfigMap", "data: {..a: c}"),
            "data[\"..a\"]",
            "the key must consist of",
        ),
        (
            doc("ConfigMap", "data: {a: b}\nbinaryData: {a: AA==}"),
            "binaryData.a",
            "in data too",
        ),
        (
            doc("ConfigMap", "stringData: {a: b}"),
            "stringData",
            "unknown field",
        ),
        (
            doc(
                "Secret",
                "type: kubernetes.io/tls\nstringData: {tls.crt: c}",
            ),
            "type",
            "tls.key",
        ),
        (
            doc(
                "Secret",
                "type: kubernetes.io/dockerconfigjson\nstringData: {.dockerconfigjson: hunter2}",
            ),
            "type",
            "must hold JSON",
        ),
        (
            doc("Secret", "type: kubernetes.io/service-account-token"),
            "type",
            "no service accounts",
        ),
        (
            doc(
                "ConfigMap",
                &format!("data: {{a: {}}}", "x".repeat((1 << 20) + 1)),
            ),
            "",
            "at most 1048576 bytes",
        ),
        (
            doc("ConfigMap", "immutable: 1"),
            "immutable",
            "is not a boolean",
        ),
    ] {
        let errors = parse(&text).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        let place = if path.is_empty() {
            String::new()
        } else {
            format!("{path}: ")
        };
        assert!(
            errors[0].contains(&place) && errors[0].contains(words),
            "{errors:?}"
        );
        assert!(
            !errors[0].contains("hunter2") && !errors[0].contains("4711"),
            "{errors:?}"
        );
    }
    let twice = format!("{}---\n{}", doc("Secret", ""), doc("Secret", ""));
    assert!(parse(&twice).unwrap_err()[0].contains("is there twice"));
    // Another kind is another name.
    parse(&format!(
        "{}---\n{}",
        doc("Secret", ""),
        doc("ConfigMap", "")
    ))
    .unwrap();
    parse("apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}]").unwrap();
}

#[test]
fn what_is_wrong_with_a_reference_has_its_place() {
    for (container, volumes, words) in [
        (
            "env: [{name: A, valueFrom: {secretKeyRef: {name: s}}}]",
            "",
            "secretKeyRef.key: required",
        ),
        (
            "env: [{name: A, valueFrom: {secretKeyRef: {key: k}}}]",
            "",
            "secretKeyRef.name: required",
        ),
        (
            "env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}, fieldRef: {fieldPath: metadata.name}}}]",
            "",
            "more than one",
        ),
        ("envFrom: [{prefix: a}]", "", "must specify one of"),
        (
            "envFrom: [{configMapRef: {name: a}, secretRef: {name: b}}]",
            "",
            "more than one",
        ),
        (
            "",
            "{name: v, configMap: {items: []}}",
            "configMap.name: required",
        ),
        (
            "",
            "{name: v, secret: {secretName: s, name: s}}",
            "secret.name: unknown field",
        ),
        (
            "",
            "{name: v, secret: {secretName: s}, emptyDir: {}}",
            "a volume has one source",
        ),
        (
            "",
            "{name: v, secret: {secretName: s, defaultMode: 01000}}",
            "must be between 0000 and 0777",
        ),
        (
            "",
            "{name: v, secret: {secretName: s, defaultMode: 512}}",
            "must be between 0 and 511",
        ),
        (
            "",
            "{name: v, configMap: {name: c, items: [{key: a, path: ../x}]}}",
            "must not contain '..'",
        ),
        (
            "",
            "{name: v, configMap: {name: c, items: [{key: a, path: /x}]}}",
            "must be a relative path",
        ),
        (
            "",
            "{name: v, configMap: {name: c, items: [{key: a, path: x}, {key: b, path: ./x}]}}",
            "is there twice",
        ),
        (
            "",
            "{name: v, downwardAPI: {items: [{path: x, fieldRef: {fieldPath: status.podIP}}]}}",
            "is none of metadata.name",
        ),
        (
            "",
            "{name: v, downwardAPI: {items: [{path: x, resourceFieldRef: {resource: limits.cpu}}]}}",
            "containerName: required",
        ),
        (
            "",
            "{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}",
            "serviceAccountToken: not supported by Carob",
        ),
        (
            "",
            "{name: v, projected: {sources: [{}]}}",
            "must specify one of",
        ),
    ] {
        let text = manifest(container, volumes);
        let errors = parse(&text).unwrap_err();
        assert!(
            errors[0].contains(words) && errors.len() == 1,
            "{words}\n{errors:?}"
        );
    }
}
