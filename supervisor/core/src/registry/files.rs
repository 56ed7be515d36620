//! Static Pods: what a directory of manifests asks for, whatever state its files are in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::{ConfigObject, ObjectId, ObjectSet};
use crate::pod::Pod;

/// What the files of a directory said when they were last in order, by file name.
#[derive(Debug, Clone, Default)]
pub struct Files {
    contents: BTreeMap<String, Content>,
}

/// What a file asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Content {
    /// Its Pods.
    pub pods: Vec<Pod>,
    /// Its ConfigMaps and Secrets.
    pub objects: Vec<Arc<ConfigObject>>,
}

/// What was found in a file now.
#[derive(Debug, Clone)]
pub enum Found {
    /// A manifest in order.
    Manifest(Content),
    /// It can't be used, or not yet.
    Nothing,
}

/// A Pod that came from a file of the directory, perhaps in another life of the daemon.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// The Pod.
    pub pod: &'a Pod,
    /// It was deleted already.
    pub terminating: bool,
}

/// What a directory asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The Pods that shall be here, with their files.
    pub wanted: Vec<(String, Pod)>,
    /// The ConfigMaps and Secrets.
    pub objects: ObjectSet,
    /// UIDs of those that shall not be here any more.
    pub unwanted: Vec<String>,
    /// What has a name that another file has.
    pub duplicates: Vec<Duplicate>,
}

/// A Pod, ConfigMap or Secret whose name is taken by one of another file, or of the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// The file that doesn't get it.
    pub file: String,
    /// Such as `Pod default/web`.
    pub name: String,
    /// The file that has it.
    pub holder: String,
}

impl Files {
    /// Takes in what all files of the directory are now.
    ///
    /// A file that can't be used asks for what it asked for before, so that a mistake in it harms no Pod. As long as
    /// there is one of which that is not known, no Pod goes whose file is not known either: it may be in that one.
    /// Of two files with a Pod of the same name, the one that has the Pod that stands keeps it, else the first by name.
    pub fn update(&mut self, found: &BTreeMap<String, Found>, standing: &[Standing<'_>]) -> Asked {
        let before = std::mem::take(&mut self.contents);
        let mut unknown = false;
        for (file, found) in found {
            let content = match found {
                Found::Manifest(content) => Some(content),
                Found::Nothing => before.get(file),
            };
            match content {
                Some(content) => {
                    self.contents.insert(file.clone(), content.clone());
                }
                None => unknown = true,
            }
        }
        let (wanted, mut duplicates) = self.wanted(standing);
        let objects = self.objects(&mut duplicates);
        let names: BTreeSet<_> = wanted.iter().map(|(_, pod)| name(pod)).collect();
        let was_here = |of: &Pod| {
            let mut pods = before.values().flat_map(|content| &content.pods);
            pods.any(|pod| name(pod) == name(of))
        };
        let unwanted = standing
            .iter()
            .filter(|standing| !standing.terminating && !names.contains(&name(standing.pod)))
            .filter(|standing| !unknown || was_here(standing.pod));
        Asked {
            unwanted: unwanted.map(|s| s.pod.metadata.uid.clone()).collect(),
            wanted,
            objects,
            duplicates,
        }
    }

    /// Each ConfigMap and Secret once: of two, that of the first file by name.
    fn objects(&self, duplicates: &mut Vec<Duplicate>) -> ObjectSet {
        let mut objects = ObjectSet::default();
        let mut holders: BTreeMap<&ObjectId, &str> = BTreeMap::new();
        for (file, content) in &self.contents {
            for object in &content.objects {
                match holders.get(&object.id) {
                    Some(holder) => duplicates.push(Duplicate {
                        file: file.clone(),
                        name: object.id.to_string(),
                        holder: (*holder).to_owned(),
                    }),
                    None => {
                        holders.insert(&object.id, file);
                        objects.insert(object.clone());
                    }
                }
            }
        }
        objects
    }

    /// Each Pod once, in the order of files, and those that come twice.
    fn wanted(&self, standing: &[Standing<'_>]) -> (Vec<(String, Pod)>, Vec<Duplicate>) {
        let stands = |pod: &Pod| standing.iter().any(|s| s.pod == pod);
        let mut holders: BTreeMap<(&str, &str), (&str, &Pod)> = BTreeMap::new();
        for (file, content) in &self.contents {
            for pod in &content.pods {
                let holder = holders.entry(name(pod)).or_insert((file, pod));
                if stands(pod) && !stands(holder.1) {
                    *holder = (file, pod);
                }
            }
        }
        let (mut wanted, mut duplicates) = (Vec::new(), Vec::new());
        for (file, content) in &self.contents {
            for pod in &content.pods {
                match holders.get(&name(pod)) {
                    Some((holder, held)) if holder != file || *held != pod => {
                        let meta = &pod.metadata;
                        duplicates.push(Duplicate {
                            file: file.clone(),
                            name: format!("Pod {}/{}", meta.namespace, meta.name),
                            holder: (*holder).to_owned(),
                        });
                    }
                    _ => wanted.push((file.clone(), pod.clone())),
                }
            }
        }
        (wanted, duplicates)
    }
}

fn name(pod: &Pod) -> (&str, &str) {
    (&pod.metadata.namespace, &pod.metadata.name)
}

/// Whether a file of the directory is meant to be read: those that editors and package managers leave beside the real
/// ones are not. A kubelet passes over names that begin with a dot only.
pub fn is_manifest_name(name: &str) -> bool {
    let backup = [
        "~",
        ".swp",
        ".swo",
        ".swx",
        ".tmp",
        ".bak",
        ".orig",
        ".rej",
        ".rpmnew",
        ".rpmsave",
        ".rpmorig",
        ".dpkg-old",
        ".dpkg-new",
        ".dpkg-dist",
        ".dpkg-tmp",
        ".ucf-old",
        ".ucf-new",
        ".ucf-dist",
    ];
    let hidden = name.starts_with('.') || name.starts_with('#') && name.ends_with('#');
    !hidden && !backup.iter().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::{Container, Metadata, PodSpec};

    fn pod(name: &str, image: &str) -> Pod {
        Pod {
            metadata: Metadata::new(name, format!("{name}-{image}")),
            spec: PodSpec::new(vec![Container::new("app", image)]),
        }
    }

    /// `"a.yaml: web=1 db=1; b.yaml: broken"`.
    fn found(text: &str) -> BTreeMap<String, Found> {
        let files = text.split(';').filter(|file| !file.trim().is_empty());
        files
            .map(|file| {
                let (name, content) = file.split_once(':').unwrap();
                let pods = content.split_whitespace().map(|p| p.split_once('='));
                let found = match pods.collect::<Option<Vec<_>>>() {
                    Some(pods) => Found::Manifest(Content {
                        pods: pods.iter().map(|(n, i)| pod(n, i)).collect(),
                        objects: Vec::new(),
                    }),
                    None => Found::Nothing,
                };
                (name.trim().to_owned(), found)
            })
            .collect()
    }

    fn asked(files: &mut Files, directory: &str, standing: &str) -> (String, String, usize) {
        let standing: Vec<Pod> = standing
            .split_whitespace()
            .map(|text| {
                let (name, image) = text.split_once('=').unwrap();
                pod(name, image)
            })
            .collect();
        let standing: Vec<_> = standing
            .iter()
            .map(|pod| Standing {
                pod,
                terminating: false,
            })
            .collect();
        let asked = files.update(&found(directory), &standing);
        let wanted = asked.wanted.iter().map(|(file, pod)| {
            let image = &pod.spec.containers[0].image;
            format!("{}={image}@{file}", pod.metadata.name)
        });
        let wanted: Vec<_> = wanted.collect();
        (
            wanted.join(" "),
            asked.unwanted.join(" "),
            asked.duplicates.len(),
        )
    }

    #[test]
    fn b57_each_state_of_a_directory_asks_for_the_right_pods() {
        for (what, before, now, standing, wanted, unwanted, duplicates) in [
            ("a new file", "", "a: web=1", "", "web=1@a", "", 0),
            (
                "several Pods in one",
                "",
                "a: web=1 db=1; b: job=1",
                "",
                "web=1@a db=1@a job=1@b",
                "",
                0,
            ),
            ("an edit", "a: web=1", "a: web=2", "web=1", "web=2@a", "", 0),
            (
                "a file gone",
                "a: web=1; b: db=1",
                "b: db=1",
                "web=1 db=1",
                "db=1@b",
                "web-1",
                0,
            ),
            (
                "a Pod gone from a file",
                "a: web=1 db=1",
                "a: db=1",
                "web=1 db=1",
                "db=1@a",
                "web-1",
                0,
            ),
            (
                "a rename", "a: web=1", "b: web=1", "web=1", "web=1@b", "", 0,
            ),
            (
                "a broken edit",
                "a: web=1; b: db=1",
                "a: broken; b: db=1",
                "web=1 db=1",
                "web=1@a db=1@b",
                "",
                0,
            ),
            (
                "a new broken file",
                "a: web=1",
                "a: web=1; b: broken",
                "web=1",
                "web=1@a",
                "",
                0,
            ),
            (
                "another file is broken, but this Pod's is known to be gone",
                "a: web=1; b: db=1",
                "b: db=1; c: broken",
                "web=1 db=1",
                "db=1@b",
                "web-1",
                0,
            ),
            ("broken, then gone", "a: web=1", "", "web=1", "", "web-1", 0),
            (
                "broken since before the daemon began",
                "",
                "a: broken; b: db=1",
                "web=1 db=1",
                "db=1@b",
                "",
                0,
            ),
            (
                "gone since before it began",
                "",
                "b: db=1",
                "web=1 db=1",
                "db=1@b",
                "web-1",
                0,
            ),
            (
                "a copy beside it, first by name",
                "b: web=1",
                "a: web=2; b: web=1",
                "web=1",
                "web=1@b",
                "",
                1,
            ),
            (
                "two at once",
                "",
                "a: web=2; b: web=1",
                "",
                "web=2@a",
                "",
                1,
            ),
            ("two alike", "", "a: web=1; b: web=1", "", "web=1@a", "", 1),
            (
                "twice in one",
                "",
                "a: web=1 web=2",
                "web=2",
                "web=2@a",
                "",
                1,
            ),
        ] {
            let mut files = Files::default();
            asked(&mut files, before, "");
            let (got, gone, twice) = asked(&mut files, now, standing);
            assert_eq!(
                (&*got, &*gone, twice),
                (wanted, unwanted, duplicates),
                "{what}"
            );
        }
    }

    #[test]
    fn a_pod_that_is_going_is_not_deleted_again() {
        let web = pod("web", "1");
        let standing = [Standing {
            pod: &web,
            terminating: true,
        }];
        let asked = Files::default().update(&BTreeMap::new(), &standing);
        assert!(asked.unwanted.is_empty());
    }

    #[test]
    fn b57_what_editors_leave_is_no_manifest() {
        for name in ["web.yaml", "web", "web.json", "web.manifest", "a#b", "4913"] {
            assert!(is_manifest_name(name), "{name}");
        }
        for name in [
            ".web.yaml.swp",
            ".web.yaml.swx",
            "web.yaml~",
            "#web.yaml#",
            ".#web.yaml",
            "..data",
            "..2026_11_21",
            "web.yaml.tmp",
            "web.yaml.dpkg-new",
            "web.yaml.rpmsave",
            "web.yaml.bak",
        ] {
            assert!(!is_manifest_name(name), "{name}");
        }
    }
}
