//! A container's environment, and what refers to it: `$(VAR)` in commands, arguments and `subPathExpr`.
//!
//! The rules are those of Kubernetes (`third_party/forked/golang/expansion`, and the kubelet's
//! `makeEnvironmentVariables`): a variable sees those before it, what comes from the Pod's fields is not
//! expanded again, and the image's own variables are not seen. All sizes are checked on the way, as each
//! reference can multiply them.

mod keys;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::config::{ObjectId, ObjectKind, ObjectSet};
use crate::pod::{Container, EnvFrom, EnvSource, EnvVar, Pod, Quantity, ResourceList};
use keys::{find, text, value_of};

/// The longest text that Linux gives to a program (`MAX_ARG_STRLEN`, with its NUL).
const MAX_STRING: usize = 128 << 10;
/// The most that Linux gives to a program in all, whatever its stack limit (`_STK_LIM / 4 * 3`).
const MAX_TOTAL: usize = 6 << 20;

/// What a container may ask for that its manifest does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The machine's name: `spec.nodeName`.
    pub node_name: String,
    /// The machine's addresses, the first one being `status.hostIP`.
    pub host_ips: Vec<IpAddr>,
    /// The Pod's addresses, the first one being `status.podIP`; with `hostNetwork` the machine's are taken.
    pub pod_ips: Vec<IpAddr>,
    /// What the machine has of `cpu`, `memory` and `ephemeral-storage`: the limit of a container without one.
    pub node: ResourceList,
}

/// Why a container cannot have its environment. The container cannot start before its manifest changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// A `fieldRef` that Kubernetes does not know.
    #[error("env {variable}: {path:?} is no field of a Pod that a variable can have")]
    UnknownField {
        /// The variable.
        variable: String,
        /// Its `fieldPath`.
        path: String,
    },
    /// A `resourceFieldRef` to a container that the Pod does not have.
    #[error("env {variable}: the Pod has no container {container:?}")]
    UnknownContainer {
        /// The variable.
        variable: String,
        /// Its `containerName`.
        container: String,
    },
    /// A ConfigMap or Secret that is not there (as a kubelet's API client says it).
    #[error("{} {name:?} not found", kind.resource())]
    NotFound {
        /// Which of the two.
        kind: ObjectKind,
        /// Its name.
        name: String,
    },
    /// A key that a ConfigMap or Secret does not have (`makeEnvironmentVariables`, kubelet_pods.go).
    #[error("couldn't find key {key} in {object}")]
    NoKey {
        /// The key.
        key: String,
        /// Whose.
        object: ObjectId,
    },
    /// A value that no variable can have.
    #[error(
        "env {variable}: the key {key} of {object} is no text: it is not UTF-8 or has a NUL; mount it as a file"
    )]
    NoText {
        /// The variable.
        variable: String,
        /// The key.
        key: String,
        /// Whose.
        object: ObjectId,
    },
    /// A text that Linux would refuse.
    #[error("{what} is longer than the {MAX_STRING} bytes that Linux allows; pass it in a file")]
    TooLong {
        /// Such as `env A`.
        what: String,
    },
    /// All variables, or all words of a command, are together more than Linux takes.
    #[error(
        "the environment or the command is larger than the {MAX_TOTAL} bytes that Linux allows; pass it in files"
    )]
    TooLarge,
    /// A `subPathExpr` that refers to a variable that is not there.
    #[error("subPathExpr {expression:?}: there is no variable {variable:?}")]
    UnknownVariable {
        /// The expression.
        expression: String,
        /// The variable.
        variable: String,
    },
    /// A `subPathExpr` that leads out of its volume.
    #[error("subPathExpr {expression:?} is {path:?}, which must be relative and without '..'")]
    BadSubPath {
        /// The expression.
        expression: String,
        /// What it expands to.
        path: String,
    },
}

/// A container's environment, without that of its image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of a container of a Pod.
    ///
    /// # Errors
    ///
    /// See [`EnvError`]. A label or annotation that is not there is an empty value, as in Kubernetes.
    pub fn of(
        pod: &Pod,
        container: &Container,
        facts: &Facts,
        objects: &ObjectSet,
    ) -> Result<Self, EnvError> {
        let mut environment = Self::default();
        let mut total = 0;
        for from in &container.env_from {
            environment.add_all(pod, from, objects, &mut total)?;
        }
        for variable in &container.env {
            let value = match &variable.source {
                EnvSource::Value(text) => {
                    environment.expand_named(text, || format!("env {}", variable.name))?
                }
                EnvSource::Field(path) => {
                    field(pod, path, facts).ok_or_else(|| EnvError::UnknownField {
                        variable: variable.name.clone(),
                        path: path.clone(),
                    })?
                }
                EnvSource::Resource {
                    container: name,
                    resource,
                    divisor,
                } => {
                    let of = match name {
                        Some(name) => container_named(pod, name, variable)?,
                        None => container,
                    };
                    amount(of, resource, facts).divided_by(divisor).to_string()
                }
                EnvSource::Key(key) => match value_of(pod, &variable.name, key, objects)? {
                    Some(value) => value,
                    None => continue,
                },
            };
            environment.add(&variable.name, value, &mut total)?;
        }
        Ok(environment)
    }

    /// Every key of a ConfigMap or Secret. As for a kubelet, a ConfigMap's `binaryData` counts for nothing.
    fn add_all(
        &mut self,
        pod: &Pod,
        from: &EnvFrom,
        objects: &ObjectSet,
        total: &mut usize,
    ) -> Result<(), EnvError> {
        let Some(object) = find(pod, &from.object, objects)? else {
            return Ok(());
        };
        for (key, datum) in object.data.iter().filter(|(_, datum)| !datum.binary) {
            let name = format!("{}{key}", from.prefix);
            let value = text(&name, key, object, datum)?;
            self.add(&name, value, total)?;
        }
        Ok(())
    }

    fn add(&mut self, name: &str, value: String, total: &mut usize) -> Result<(), EnvError> {
        let length = name.len() + value.len() + 2;
        if length > MAX_STRING {
            return Err(EnvError::TooLong {
                what: format!("env {name}"),
            });
        }
        *total += length;
        if *total > MAX_TOTAL {
            return Err(EnvError::TooLarge);
        }
        self.0.insert(name.to_owned(), value);
        Ok(())
    }

    /// The variables, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// `command` or `args` with their references replaced. Those to unknown variables stay as they are, and
    /// `$$` is `$`.
    ///
    /// # Errors
    ///
    /// [`EnvError::TooLong`] and [`EnvError::TooLarge`].
    pub fn expand(&self, words: &[String]) -> Result<Vec<String>, EnvError> {
        let mut total = 0;
        let expand = |word: &String| {
            let word = self.expand_named(word, || "a word of command or args".to_owned())?;
            total += word.len() + 1;
            if total > MAX_TOTAL {
                return Err(EnvError::TooLarge);
            }
            Ok(word)
        };
        words.iter().map(expand).collect()
    }

    /// What a `subPathExpr` expands to: a relative path without `..`, not empty.
    ///
    /// # Errors
    ///
    /// [`EnvError::UnknownVariable`], [`EnvError::BadSubPath`] and [`EnvError::TooLong`].
    pub fn sub_path(&self, expression: &str) -> Result<String, EnvError> {
        let mut unknown = None;
        let path = replace(expression, |name| {
            let value = self.0.get(name);
            if value.is_none() {
                unknown.get_or_insert_with(|| name.to_owned());
            }
            value.map(|v| &**v)
        });
        let expression = || expression.chars().take(200).collect();
        if let Some(variable) = unknown {
            return Err(EnvError::UnknownVariable {
                expression: expression(),
                variable,
            });
        }
        let what = || "a subPathExpr".to_owned();
        let path = path.ok_or_else(|| EnvError::TooLong { what: what() })?;
        let leaves = path.is_empty() || path.starts_with('/') || path.split('/').any(|p| p == "..");
        if leaves {
            return Err(EnvError::BadSubPath {
                expression: expression(),
                path,
            });
        }
        Ok(path)
    }

    fn expand_named(&self, text: &str, what: impl Fn() -> String) -> Result<String, EnvError> {
        let expanded = replace(text, |name| self.0.get(name).map(|v| &**v));
        expanded.ok_or_else(|| EnvError::TooLong { what: what() })
    }
}

/// The command of an `exec` probe with its references replaced. Only the values that stand in the manifest are
/// known then, as they stand there; those that come from elsewhere are empty
/// (`ExpandContainerCommandOnlyStatic`, pkg/kubelet/container/helpers.go).
///
/// # Errors
///
/// [`EnvError::TooLong`] and [`EnvError::TooLarge`].
pub fn expand_probe(container: &Container, command: &[String]) -> Result<Vec<String>, EnvError> {
    let value = |variable: &EnvVar| match &variable.source {
        EnvSource::Value(text) => text.clone(),
        EnvSource::Field(_) | EnvSource::Resource { .. } | EnvSource::Key(_) => String::new(),
    };
    let variables = container.env.iter().map(|v| (v.name.clone(), value(v)));
    Environment(variables.collect()).expand(command)
}

/// Replaces `$(NAME)` by its value, if it has one, and `$$` by `$`. Nothing when the result is longer than
/// any program can take.
fn replace<'v>(text: &str, mut value: impl FnMut(&str) -> Option<&'v str>) -> Option<String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match value(name) {
                Some(value) => result.push_str(value),
                None => {
                    result.push_str("$(");
                    result.push_str(name);
                    result.push(')');
                }
            }
            rest = after;
        } else {
            result.push('$');
        }
        if result.len() >= MAX_STRING {
            return None;
        }
    }
    result.push_str(rest);
    (result.len() < MAX_STRING).then_some(result)
}

/// The value of a `fieldRef`.
pub(crate) fn field(pod: &Pod, path: &str, facts: &Facts) -> Option<String> {
    let metadata = &pod.metadata;
    let pod_ips = match pod.spec.host_network {
        true => &facts.host_ips,
        false => &facts.pod_ips,
    };
    let first = |ips: &[IpAddr]| ips.first().map(IpAddr::to_string).unwrap_or_default();
    let all = |ips: &[IpAddr]| {
        let ips: Vec<String> = ips.iter().map(IpAddr::to_string).collect();
        ips.join(",")
    };
    let entry = |map: &BTreeMap<String, String>, prefix: &str| {
        let key = path
            .strip_prefix(prefix)?
            .strip_prefix("['")?
            .strip_suffix("']")?;
        Some(map.get(key).cloned().unwrap_or_default())
    };
    Some(match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        "spec.nodeName" => facts.node_name.clone(),
        "status.hostIP" => first(&facts.host_ips),
        "status.hostIPs" => all(&facts.host_ips),
        "status.podIP" => first(pod_ips),
        "status.podIPs" => all(pod_ips),
        _ => entry(&metadata.labels, "metadata.labels")
            .or_else(|| entry(&metadata.annotations, "metadata.annotations"))?,
    })
}

fn container_named<'p>(
    pod: &'p Pod,
    name: &str,
    variable: &EnvVar,
) -> Result<&'p Container, EnvError> {
    let container = pod.spec.all_containers().find(|c| c.name == name);
    container.ok_or_else(|| EnvError::UnknownContainer {
        variable: variable.name.clone(),
        container: name.to_owned(),
    })
}

/// The amount that a `resourceFieldRef` names. No limit is all that the machine has; no request is 0.
pub(crate) fn amount(container: &Container, resource: &str, facts: &Facts) -> Quantity {
    let resources = &container.resources;
    let amount = match resource.split_once('.') {
        Some(("limits", name)) => {
            let limit = resources.limits.get(name).filter(|limit| !limit.is_zero());
            limit.or_else(|| facts.node.get(name))
        }
        Some(("requests", name)) => resources.requests.get(name),
        _ => None,
    };
    amount.cloned().unwrap_or_else(|| Quantity::from(0))
}
