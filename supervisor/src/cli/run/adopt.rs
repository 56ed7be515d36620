//! `carob run --adopt`: which of the Pods that killed supervisors left go on.

use anyhow::bail;
use carob_core::config::ObjectSet;
use carob_core::encode;
use carob_core::pod::Pod;
use serde_json::Value;

use super::begin;
use crate::backend::Home;
use crate::dirs::Dirs;
use crate::life::Life;
use crate::prune;
use crate::sentence::sentence;

/// All Pods that were left behind. One that can't go on is named, and keeps no other from it.
///
/// # Errors
/// When the directories can't be read.
pub fn all(dirs: &Dirs, home: &Home) -> anyhow::Result<Vec<Life>> {
    let mut lives = Vec::new();
    for known in prune::leftovers(dirs)? {
        let name = known.name.clone().unwrap_or_else(|| known.uid.clone());
        match take_over(dirs, &known.uid, &name, home) {
            Ok(life) => lives.extend(life),
            Err(error) => eprintln!("carob: Pod {name} stays behind: {}", sentence(&error)),
        }
    }
    Ok(lives)
}

/// The Pods of a manifest: those that were left behind go on, the others begin. All or none are claimed.
///
/// # Errors
/// When one is running, or was left behind with another manifest or can't be taken over.
pub fn these(
    dirs: &Dirs,
    pods: Vec<Pod>,
    made_uids: &[String],
    objects: &ObjectSet,
    home: &Home,
) -> anyhow::Result<Vec<Life>> {
    Life::all_or_none(pods, |pod| this(dirs, pod, made_uids, objects, home))
}

fn this(
    dirs: &Dirs,
    mut pod: Pod,
    made_uids: &[String],
    objects: &ObjectSet,
    home: &Home,
) -> anyhow::Result<Life> {
    let name = format!("{}/{}", pod.metadata.namespace, pod.metadata.name);
    let left = prune::leftovers(dirs)?;
    let left = left.iter().find(|known| known.name.as_ref() == Some(&name));
    let Some(known) = left else {
        return begin(dirs, pod, objects, home);
    };
    let Some(mut life) = take_over(dirs, &known.uid, &name, home)? else {
        // Someone was faster: claiming it says so.
        return begin(dirs, pod, objects, home);
    };
    // A UID that the manifest doesn't give is the one that the Pod was given.
    if made_uids.contains(&pod.metadata.uid) {
        pod.metadata.uid.clone_from(&life.pod.metadata.uid);
    }
    let (there, here) = (encode::object(&life.pod), encode::object(&pod));
    if let Some(field) = difference(&there, &here) {
        bail!(
            "Pod {name} was left behind with another manifest ({field} differs); \
             `carob run --adopt` without a file carries it on as it was, `carob prune` removes it"
        );
    }
    // Unlike the Pod, they may have changed.
    life.bring(objects)?;
    Ok(life)
}

fn take_over(dirs: &Dirs, uid: &str, name: &str, home: &Home) -> anyhow::Result<Option<Life>> {
    let Some(life) = Life::take_over(dirs, uid)? else {
        return Ok(None);
    };
    if let Some(why) = life.cannot_go_on(home) {
        bail!("{why}; `carob prune` removes it");
    }
    eprintln!("carob: Pod {name} goes on");
    Ok(Some(life))
}

/// The first field in which two objects differ.
fn difference(one: &Value, other: &Value) -> Option<String> {
    fn find(one: &Value, other: &Value, path: String) -> Option<String> {
        match (one, other) {
            (Value::Object(a), Value::Object(b)) => {
                let names = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
                let mut found = names.filter_map(|name| {
                    let path = match path.as_str() {
                        "" => name.clone(),
                        path => format!("{path}.{name}"),
                    };
                    let of = |object: &serde_json::Map<_, _>| object.get(name).cloned();
                    find(&of(a).unwrap_or_default(), &of(b).unwrap_or_default(), path)
                });
                found.next()
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                let mut pairs = a.iter().zip(b).enumerate();
                pairs.find_map(|(i, (a, b))| find(a, b, format!("{path}[{i}]")))
            }
            (a, b) => (a != b).then_some(path),
        }
    }
    find(one, other, String::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_field_that_differs_is_named() {
        let one = json!({"spec": {"containers": [{"image": "a"}, {"image": "b", "tty": true}]}});
        assert_eq!(difference(&one, &one), None);
        for (pointer, value, field) in [
            (
                "/spec/containers/1/image",
                json!("c"),
                "spec.containers[1].image",
            ),
            (
                "/spec/containers/1",
                json!({"image": "b"}),
                "spec.containers[1].tty",
            ),
            ("/spec/containers", json!([]), "spec.containers"),
            ("", json!({"spec": 1}), "spec"),
        ] {
            let mut other = one.clone();
            *other.pointer_mut(pointer).unwrap() = value;
            assert_eq!(difference(&one, &other).as_deref(), Some(field));
            assert_eq!(difference(&other, &one).as_deref(), Some(field));
        }
    }
}
