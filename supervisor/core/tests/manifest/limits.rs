//! Texts that are too much, or no text at all.

use crate::{accepted, container, errors, refused, spec};

#[test]
fn b10_alias_bomb() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb += &format!("a{i}: &a{i} [{aliases}]\n");
    }
    assert!(
        errors(&bomb)[0].contains("aliases expanded, a manifest may hold"),
        "{:?}",
        errors(&bomb)
    );
    let long = "x".repeat(1 << 20);
    let aliases = vec!["*a"; 1000].join(", ");
    let bytes = format!("a: &a {long}\nb: [{aliases}]\n");
    assert!(errors(&bytes)[0].contains("8 MiB of text"));
    // Deep, not wide.
    let open = "[".repeat(40);
    let close = "]".repeat(40);
    let deep = format!("a: &a {open}x{close}\nb: &b {open}*a{close}\n");
    assert!(
        errors(&deep)[0].contains("nested deeper than 64 levels"),
        "{:?}",
        errors(&deep)
    );
    let anchors: String = (0..60).map(|i| format!("&a{i} [")).collect();
    let wide = format!("{anchors}{}{}", "x,".repeat(50_000), "]".repeat(60));
    assert!(
        errors(&wide)[0].contains("aliases expanded"),
        "{:?}",
        errors(&wide)
    );
    assert!(
        errors("a: &a [*a]\n")
            .concat()
            .contains("the alias refers to a value that contains it")
    );
    assert!(errors("a: *b\n")[0].contains("not valid YAML"));
}

#[test]
fn b11_nested_brackets() {
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
    ] {
        let errors = errors(&text);
        assert!(errors[0].starts_with("pod.yaml:1:"), "{}", errors[0]);
        assert!(errors[0].contains("nest"), "{}", errors[0]);
    }
}

#[test]
fn b12_encodings_and_sizes() {
    let good = spec("");
    accepted(&format!("\u{feff}{good}"));
    accepted(&good.replace('\n', "\r\n"));
    assert!(errors(vec![b'#'; 10 << 20])[0].contains("split it"));
    assert_eq!(
        errors("a: b\nc: \0\n"),
        ["pod.yaml:2:4: the text has a NUL byte; save it as UTF-8"]
    );
    assert!(errors(b"\xff\xfea\0".as_slice())[0].contains("UTF-16"));
    assert_eq!(
        errors(b"a: b\n \xe9".as_slice()),
        ["pod.yaml:2:2: the text is not valid UTF-8; save it as UTF-8"]
    );
    let tabs = "spec:\n\tcontainers: []\n";
    assert!(
        errors(tabs)[0].starts_with("pod.yaml:2:"),
        "{:?}",
        errors(tabs)
    );
    refused(
        &container("args: [\"a\\0b\"]"),
        "spec.containers[0].args[0]",
        "NUL",
    );
    // JSON, with what only JSON writers do.
    let json = "{\n\t\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"},\n\t\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"a\\/b\",\"args\":[\"\\ud83d\\ude00\"]}]}\n}";
    let pod = &accepted(json).pods[0];
    assert_eq!(pod.spec.containers[0].image, "a/b");
    assert_eq!(pod.spec.containers[0].args, ["😀"]);
}

#[test]
fn of_many_errors_the_first_are_shown() {
    let wrong: String = (0..60).map(|i| format!("wrong{i}: x\n")).collect();
    let errors = errors(spec("") + &wrong);
    assert_eq!(errors.len(), 51);
    assert_eq!(errors[50], "pod.yaml: and 10 more errors");
}
