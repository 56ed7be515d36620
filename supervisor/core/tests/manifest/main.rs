//! Manifests good and bad: a bad one is refused with its place, its cause and the way out. Tests of bad
//! ones are named after the entries of the project's catalogue of bad inputs.

mod documents;
mod file_sources;
mod good;
mod hooks;
mod known_fields;
mod limits;
mod names;
mod paths_and_rights;
mod pods;
mod probes;
mod properties;
mod restart;
mod values;

use carob_core::parse::{Manifest, ManifestErrors, parse_manifest};

fn parse(text: impl AsRef<[u8]>) -> Result<Manifest, ManifestErrors> {
    let mut n = 0;
    let mut make_uid = || {
        n += 1;
        format!("uid-{n}")
    };
    parse_manifest(text.as_ref(), "pod.yaml", &mut make_uid)
}

/// The errors of a text that has some, as a person sees them.
fn errors(text: impl AsRef<[u8]>) -> Vec<String> {
    let errors = parse(text).expect_err("an error");
    errors.to_string().lines().map(str::to_owned).collect()
}

/// A Pod with more in its spec, indented by two.
fn spec(more: &str) -> String {
    let more = more.replace('\n', "\n  ");
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers:\n  - name: c\n    image: i\n  {more}\n"
    )
}

/// A Pod with more in its container.
fn container(more: &str) -> String {
    let more = more.replace('\n', "\n    ");
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  volumes: [{{name: v}}]\n  containers:\n  - name: c\n    image: i\n    {more}\n"
    )
}

/// A Pod with such metadata.
fn metadata(flow: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{{flow}}}\nspec: {{containers: [{{name: c, image: i}}]}}\n"
    )
}

/// Asserts one error, of this path and with these words.
#[track_caller]
fn refused(text: &str, path: &str, words: &str) {
    let errors = parse(text).expect_err(text);
    assert_eq!(errors.errors.len(), 1, "{text}\n{errors}");
    let error = &errors.errors[0];
    assert_eq!(error.path, path, "{text}\n{errors}");
    assert!(error.message.contains(words), "{text}\n{errors}");
}

#[track_caller]
fn accepted(text: &str) -> Manifest {
    parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}
