//! The directory of manifests: what its files ask for is what runs. Told of changes by inotify, and looking by itself
//! from time to time, as links may lead elsewhere.

mod read;
mod uid;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use carob_core::config::ObjectSet;
use carob_core::parse::parse_manifest;
use carob_core::registry::{Content, Files, Found, Origin, Standing};

use crate::follow::{self, Follow};
use crate::registry::{Applied, Registry};

use uid::static_uid;

/// The directory and what became of its files.
pub struct Manifests {
    dir: PathBuf,
    follow: Follow,
    files: Files,
    /// What is wrong, by file; the directory's own name for itself.
    problems: BTreeMap<String, String>,
}

impl Manifests {
    /// Watches a directory, which need not be there yet.
    ///
    /// # Errors
    /// When the user's inotify instances are used up.
    pub fn new(dir: PathBuf) -> io::Result<Self> {
        Ok(Self {
            dir,
            follow: Follow::new()?,
            files: Files::default(),
            problems: BTreeMap::new(),
        })
    }

    /// Returns when the directory may have changed.
    pub async fn changed(&self) {
        if let Err(error) = self.follow.changed().await {
            tracing::warn!(%error, "changes of the manifests are seen late");
            std::future::pending().await
        }
    }

    /// How many files can't be used.
    pub fn problems(&self) -> usize {
        self.problems.len()
    }

    /// Has what the files ask for, and says what is wrong with them: once for each mistake.
    pub fn sync(&mut self, registry: &Registry) {
        // Before it is read, so that no change is missed; again each time, as it may be another directory by now.
        let read = self
            .follow
            .watch(&self.dir, follow::MANIFESTS)
            .and_then(|()| read::directory(&self.dir));
        let mut problems = BTreeMap::new();
        match read {
            Ok(contents) => self.apply(contents, registry, &mut problems),
            // All files gone at once is an accident more likely than a wish: nothing is deleted for it.
            Err(error) => {
                let what = format!("cannot read the directory of manifests: {error}");
                problems.insert(self.dir.display().to_string(), what);
            }
        }
        self.tell(problems);
    }

    fn apply(
        &mut self,
        contents: BTreeMap<String, read::Content>,
        registry: &Registry,
        problems: &mut BTreeMap<String, String>,
    ) {
        let node_name = &registry.engine().machine.node_name;
        let mut found = BTreeMap::new();
        for (name, content) in contents {
            let what = match content {
                read::Content::Bytes(bytes) => match parse(&bytes, &name, node_name) {
                    Ok(content) => Found::Manifest(content),
                    Err(problem) => {
                        problems.insert(name.clone(), problem);
                        Found::Nothing
                    }
                },
                read::Content::BeingWritten => Found::Nothing,
                read::Content::Unreadable(why) => {
                    problems.insert(name.clone(), format!("{name}: {why}"));
                    Found::Nothing
                }
            };
            found.insert(name, what);
        }
        let (objects, _) = registry.list();
        let standing: Vec<_> = objects
            .iter()
            .filter(|object| object.origin == Origin::File)
            .map(|object| Standing {
                pod: &object.pod,
                terminating: object.deletion.is_some(),
            })
            .collect();
        let asked = self.files.update(&found, &standing);
        for duplicate in asked.duplicates {
            let (file, name, holder) = (duplicate.file, duplicate.name, duplicate.holder);
            let text = format!("{file}: {name} is in {holder} already; remove one of them");
            problems.insert(file, text);
        }
        // Before the Pods that use them.
        let objects = &registry.engine().objects;
        if objects.set_files(unchangeable(&objects.of_files(), asked.objects, problems)) {
            registry.objects_changed();
        }
        for uid in asked.unwanted {
            if let Some(object) = registry.delete(&uid, None) {
                tracing::info!(
                    pod = object.full_name(),
                    "its manifest is gone: it is deleted"
                );
            }
        }
        for (file, pod) in asked.wanted {
            let name = format!("{}/{}", pod.metadata.namespace, pod.metadata.name);
            match registry.apply(pod, Origin::File) {
                Ok(Applied::Begun) => tracing::info!(pod = name, file, "begins"),
                Ok(Applied::Waits) => {
                    tracing::debug!(pod = name, file, "waits until the one before it is gone");
                }
                Ok(Applied::Unchanged) => {}
                Err(error) => {
                    problems.insert(file.clone(), format!("{file}: {error}"));
                }
            }
        }
    }

    fn tell(&mut self, problems: BTreeMap<String, String>) {
        for (file, problem) in &problems {
            if self.problems.get(file) != Some(problem) {
                for line in problem.lines() {
                    tracing::error!("{line}");
                }
            }
        }
        for file in self.problems.keys() {
            if !problems.contains_key(file) {
                tracing::info!(file, "is in order again, or gone");
            }
        }
        self.problems = problems;
    }
}

/// The new ConfigMaps and Secrets, but of those that are immutable the ones that were.
fn unchangeable(
    before: &ObjectSet,
    mut objects: ObjectSet,
    problems: &mut BTreeMap<String, String>,
) -> ObjectSet {
    for old in before.iter().filter(|old| old.immutable) {
        let changed = objects
            .get(&old.id)
            .is_some_and(|new| (&new.data, new.immutable) != (&old.data, true));
        if changed {
            let text = format!(
                "{} is immutable: remove it first, then add the new one",
                old.id
            );
            problems.insert(old.id.to_string(), text);
            objects.insert(old.clone());
        }
    }
    objects
}

/// What a file asks for; a line for each thing that is wrong with it.
fn parse(bytes: &[u8], name: &str, node_name: &str) -> Result<Content, String> {
    let mut made = Vec::new();
    let mut make_uid = || {
        made.push(format!("made-{}", made.len()));
        made[made.len() - 1].clone()
    };
    let manifest =
        parse_manifest(bytes, name, &mut make_uid).map_err(|errors| errors.to_string())?;
    let mut pods = manifest.pods;
    for pod in &mut pods {
        if made.contains(&pod.metadata.uid) {
            pod.metadata.uid = static_uid(node_name, pod);
        }
    }
    Ok(Content {
        pods,
        objects: manifest.objects,
    })
}
