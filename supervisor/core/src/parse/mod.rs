//! Strict parsing of manifests: text in, valid Pods, ConfigMaps and Secrets with every default out, or every error with its place.
//!
//! Kubernetes' own readers take an empty object for a Pod and pass over what they do not know. Here a
//! misspelt field is an error, and so is a field that Carob does not honour, unless it changes nothing on
//! a single machine. The rules for values are those of Kubernetes' `pkg/apis/core/validation`, the
//! defaults those of `pkg/apis/core/v1/defaults.go`, as of 1.36.
//!
//! ```text
//! text ──yaml──► tree with places ──read──► Pods
//! ```

mod config_object;
mod container;
mod downward;
mod env_vars;
mod field;
mod file_volume;
mod findings;
mod lifecycle;
mod metadata;
mod mounts;
mod names;
mod network;
mod object;
mod probe;
mod report;
mod resources;
mod restart;
mod security;
mod spec;
mod text;
mod tree;
mod unhonoured;
mod volume;
mod yaml;

use std::sync::Arc;

use crate::config::ConfigObject;
use crate::pod::Pod;
use field::Field;
use findings::{Findings, Unique, did_you_mean};
pub use report::{FieldNote, Manifest, ManifestError, ManifestErrors, Verdict};
use unhonoured::{LIST, POD};

/// Parses a manifest: one or more YAML (or JSON) documents, each a `v1` Pod, ConfigMap or Secret, or a list of them.
///
/// `source_name` is what errors call the text, such as its file name. `make_uid` is called for each Pod
/// that has no `metadata.uid`; what it makes must be unique, of letters, digits and `-`.
///
/// # Errors
///
/// Everything that is wrong with any document, in the order of the text. Limits: 3 MiB of text, 64 levels,
/// 200 000 values.
pub fn parse_manifest(
    text: &[u8],
    source_name: &str,
    make_uid: &mut dyn FnMut() -> String,
) -> Result<Manifest, ManifestErrors> {
    let found = Findings::default();
    let (documents, problems) = match text::decode(text) {
        Ok(text) => yaml::documents(text),
        Err(problem) => (Vec::new(), vec![problem]),
    };
    let sound = problems.is_empty();
    problems
        .into_iter()
        .for_each(|problem| found.problem(problem));
    let mut reader = Reader {
        make_uid,
        pods: Vec::new(),
        objects: Vec::new(),
        names: Unique::default(),
        uids: Unique::default(),
    };
    for (number, root) in &documents {
        found.document(*number);
        reader.document(&Field::root(&found, root));
    }
    let Reader { pods, objects, .. } = reader;
    let (mut errors, report) = found.finish();
    if errors.is_empty() && pods.is_empty() && objects.is_empty() {
        let message = match sound && documents.is_empty() {
            true => "there is no Pod in it: it is empty or has only comments",
            false => "there is no Pod in it: its lists are empty",
        };
        errors.push(ManifestError {
            line: 1,
            column: 1,
            path: String::new(),
            message: message.to_owned(),
        });
    }
    if errors.is_empty() {
        return Ok(Manifest {
            pods,
            objects,
            report,
        });
    }
    Err(ManifestErrors {
        source_name: source_name.to_owned(),
        errors,
        report,
    })
}

struct Reader<'a> {
    make_uid: &'a mut dyn FnMut() -> String,
    pods: Vec<Pod>,
    objects: Vec<Arc<ConfigObject>>,
    names: Unique,
    uids: Unique,
}

impl Reader<'_> {
    /// A Pod, ConfigMap or Secret, or a list of them.
    fn document(&mut self, field: &Field<'_>) {
        match kind(field) {
            Some("List" | "PodList" | "ConfigMapList" | "SecretList") => {
                field.object(LIST, |o| {
                    api_version(o.require("apiVersion"));
                    o.get("kind");
                    for item in o.require("items").map(|f| f.items()).unwrap_or_default() {
                        self.item(&item);
                    }
                });
            }
            _ => self.item(field),
        }
    }

    fn item(&mut self, field: &Field<'_>) {
        let Some(kind) = kind(field).and_then(config_object::kind) else {
            return self.pod(field);
        };
        let Some(object) = config_object::config_object(field, kind) else {
            return;
        };
        let name = field.entry("metadata").and_then(|f| f.entry("name"));
        if let Some(name) = name {
            self.names.check(&name, object.id.to_string());
        }
        self.objects.push(Arc::new(object));
    }

    fn pod(&mut self, field: &Field<'_>) {
        let kind = kind(field);
        if let Some(kind) = kind.filter(|kind| *kind != "Pod") {
            return wrong_kind(field, kind);
        }
        field.object(POD, |o| {
            api_version(o.require("apiVersion"));
            if kind.is_none() {
                o.require("kind");
            } else {
                o.get("kind");
            }
            let metadata = o.require("metadata");
            let meta = metadata
                .as_ref()
                .and_then(|f| metadata::metadata(f, self.make_uid));
            let spec = o.require("spec").and_then(|f| spec::spec(&f));
            let (Some(place), Some(metadata), Some(spec)) = (metadata, meta, spec) else {
                return;
            };
            if let Some(name) = place.entry("name") {
                let full = format!("{}/{}", metadata.namespace, metadata.name);
                self.names.check(&name, full);
            }
            if let Some(uid) = place.entry("uid") {
                self.uids.check(&uid, &*metadata.uid);
            }
            self.pods.push(Pod { metadata, spec });
        });
    }
}

/// What the document says that it is.
fn kind<'m>(field: &Field<'m>) -> Option<&'m str> {
    let scalar = field.node().entry("kind")?.value.scalar()?;
    (!scalar.is_null() && !scalar.text.is_empty()).then_some(&*scalar.text)
}

fn api_version(field: Option<Field<'_>>) {
    if let Some(field) = field {
        field.choice(&[("v1", ())]);
    }
}

/// One error for a document that is no Pod, whatever else it holds.
fn wrong_kind(field: &Field<'_>, kind: &str) {
    let way_out = match kind {
        "CronJob"
        | "DaemonSet"
        | "Deployment"
        | "Job"
        | "PodTemplate"
        | "ReplicaSet"
        | "ReplicationController"
        | "StatefulSet" => "; make a Pod of the metadata and spec in its template".to_owned(),
        "List" | "PodList" | "ConfigMapList" | "SecretList" => {
            "; a list cannot hold another".to_owned()
        }
        _ => match did_you_mean(kind, &["Pod", "ConfigMap", "Secret", "List", "PodList"]) {
            hint if hint.is_empty() => "; remove this document".to_owned(),
            hint => hint,
        },
    };
    if let Some(kind) = field.entry("kind") {
        kind.invalid(&format!(
            "is no kind that Carob runs: it runs Pods and gives them ConfigMaps and Secrets{way_out}"
        ));
    }
}
