//! The rules that Kubernetes has for names (`k8s.io/apimachinery/pkg/util/validation`), in its own words.

use std::borrow::Cow;

/// Nothing, or the rule that was broken.
pub(super) type Check = Result<(), Cow<'static, str>>;

fn rule(ok: bool, rule: &'static str) -> Check {
    if ok { Ok(()) } else { Err(rule.into()) }
}

fn at_most(text: &str, length: usize) -> Check {
    if text.len() <= length {
        return Ok(());
    }
    Err(format!("must be no more than {length} characters").into())
}

fn alphanumeric_ends(text: &str, alphanumeric: impl Fn(&u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(&alphanumeric) && bytes.last().is_some_and(&alphanumeric)
}

fn lower_or_digit(b: &u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    alphanumeric_ends(text, lower_or_digit) && text.bytes().all(|b| lower_or_digit(&b) || b == b'-')
}

/// RFC 1123 label: at most 63 characters of `[a-z0-9-]`.
pub(super) fn dns_label(text: &str) -> Check {
    at_most(text, 63)?;
    rule(
        is_label(text),
        "is no lowercase RFC 1123 label: it must consist of lower case alphanumeric characters or '-', and \
         must start and end with an alphanumeric character",
    )
}

/// RFC 1123 subdomain: labels joined by dots, at most 253 characters.
pub(super) fn dns_subdomain(text: &str) -> Check {
    at_most(text, 253)?;
    rule(
        text.split('.').all(is_label),
        "is no lowercase RFC 1123 subdomain: it must consist of lower case alphanumeric characters, '-' or \
         '.', and must start and end with an alphanumeric character",
    )
}

/// `[-A-Za-z0-9_.]`, alphanumeric at both ends.
fn is_name(text: &str) -> bool {
    alphanumeric_ends(text, u8::is_ascii_alphanumeric)
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// The key of a label or an annotation: a name of at most 63 characters, after a DNS subdomain and `/`
/// if one likes.
pub(super) fn qualified_name(text: &str) -> Check {
    let name = match text.split_once('/') {
        Some((prefix, name)) => {
            dns_subdomain(prefix).map_err(|rule| format!("has a prefix that {rule}"))?;
            name
        }
        None => text,
    };
    at_most(name, 63)?;
    rule(
        is_name(name),
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
         alphanumeric character, with an optional DNS subdomain prefix and '/'",
    )
}

/// A label's value: empty or a name of at most 63 characters.
pub(super) fn label_value(text: &str) -> Check {
    at_most(text, 63)?;
    rule(
        text.is_empty() || is_name(text),
        "must be empty or consist of alphanumeric characters, '-', '_' or '.', and must start and end with \
         an alphanumeric character",
    )
}

/// The name of a port (`IsValidPortName`).
pub(super) fn port_name(text: &str) -> Check {
    at_most(text, 15)?;
    rule(
        is_label(text) && !text.contains("--") && text.bytes().any(|b| b.is_ascii_lowercase()),
        "must contain only lower case alphanumeric characters and single '-' between them, at least one of \
         them a letter",
    )
}

/// The name of an environment variable (`IsRelaxedEnvVarName`).
pub(super) fn env_name(text: &str) -> Check {
    rule(
        !text.is_empty()
            && text
                .bytes()
                .all(|b| (b' '..=b'~').contains(&b) && b != b'='),
        "must consist of printable ASCII characters other than '='",
    )
}

/// A key of a ConfigMap or Secret, which is a file's name too (`IsConfigMapKey`).
pub(super) fn config_key(text: &str) -> Check {
    at_most(text, 253)?;
    let characters = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    rule(
        !text.is_empty() && text.bytes().all(characters) && text != "." && !text.starts_with(".."),
        "must consist of alphanumeric characters, '-', '_' or '.', and must not be '.' or start with '..'",
    )
}

/// What identifies a Pod: it names directories, so it is stricter than Kubernetes.
pub(super) fn uid(text: &str) -> Check {
    at_most(text, 64)?;
    rule(
        alphanumeric_ends(text, u8::is_ascii_alphanumeric)
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
        "must consist of letters, digits and '-', and must start and end with a letter or digit",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rules() {
        let long = "a".repeat(64);
        for (check, good, bad) in [
            (
                dns_label as fn(&str) -> Check,
                vec!["a", "my-name", "123-abc", &long[..63]],
                vec![
                    "", "A", "a_b", "a.b", "-a", "a-", "é", &long, "a/b", "..", "a\n",
                ],
            ),
            (
                dns_subdomain,
                vec!["a", "a.b-c.d"],
                vec!["", "a..b", ".a", "a.", "A.b", "a/b"],
            ),
            (
                qualified_name,
                vec!["app", "App_1", "example.com/app"],
                vec!["", "/app", "a/", "a/b/c", "Ex.com/a", "-a", &long],
            ),
            (
                label_value,
                vec!["", "V1.0_x"],
                vec!["-", "a b", "é", &long],
            ),
            (
                port_name,
                vec!["http", "a-1"],
                vec!["", "1", "a--b", "-a", "HTTP", "sixteen-letters-"],
            ),
            (
                env_name,
                vec!["A", "a.b-c", "1A", "a b"],
                vec!["", "a=b", "a\tb", "é"],
            ),
            (
                uid,
                vec!["0", "ABC-def"],
                vec!["", "-a", "a/b", "..", "a.b"],
            ),
        ] {
            for name in good {
                assert_eq!(check(name), Ok(()), "{name:?}");
            }
            for name in bad {
                assert!(check(name).is_err(), "{name:?}");
            }
        }
    }
}
