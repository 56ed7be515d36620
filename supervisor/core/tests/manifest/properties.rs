//! What holds for every input: no text makes the parser panic, and a Pod written out parses to itself.

use carob_core::encode;
use carob_core::pod::Pod;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::pods::pod;
use crate::{accepted, container, parse};

/// Words that lead a random text deep into the readers.
const WORDS: [&str; 44] = [
    "apiVersion",
    "v1",
    "kind",
    "Pod",
    "List",
    "items",
    "metadata",
    "name",
    "labels",
    "spec",
    "containers",
    "initContainers",
    "image",
    "env",
    "value",
    "valueFrom",
    "fieldRef",
    "fieldPath",
    "ports",
    "containerPort",
    "volumes",
    "volumeMounts",
    "mountPath",
    "emptyDir",
    "hostPath",
    "resources",
    "limits",
    "cpu",
    "1Gi",
    "-1",
    "securityContext",
    "{",
    "}",
    "[",
    "]",
    ":",
    "- ",
    "\n",
    "\n  ",
    "\n    ",
    ", ",
    "&a ",
    "*a",
    "<<",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = parse(bytes);
    }

    #[test]
    fn no_words_make_it_panic(words in vec(select(WORDS.to_vec()), 0..60), gap in select(vec!["", " ", ": "])) {
        let _ = parse(words.join(gap));
    }

    #[test]
    fn no_damage_makes_it_panic(at in 0usize..400, with in "\\PC{0,4}", cut in 0usize..30) {
        let text = container("env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]\nresources: {limits: {cpu: 1, memory: 64Mi}}\nports: [{containerPort: 80}]\nsecurityContext: {runAsUser: 1}\nvolumeMounts: [{name: v, mountPath: /a}]");
        let start = at.min(text.len());
        let end = (start + cut).min(text.len());
        let text = [&text[..start], &with, &text[end..]].concat();
        if let Err(errors) = parse(&text) {
            prop_assert!(!errors.errors.is_empty());
            for error in &errors.errors {
                prop_assert!(error.line >= 1 && error.column >= 1);
                prop_assert!(error.line <= text.lines().count() + 1, "{error}");
            }
        }
    }

    #[test]
    fn a_pod_written_out_parses_to_itself(pod in pod()) {
        let object = encode::object(&pod);
        prop_assert_eq!(&accepted(&object.to_string()).pods[0], &pod);
        let pretty = serde_json::to_string_pretty(&object).expect("JSON");
        prop_assert_eq!(&accepted(&pretty).pods[0], &pod);
        let record = serde_json::to_string(&pod).expect("JSON");
        prop_assert_eq!(&serde_json::from_str::<Pod>(&record).expect("a Pod"), &pod);
    }
}
