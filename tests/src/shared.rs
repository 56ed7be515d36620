//! Files by which a test and its containers tell each other things.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Home, PATIENCE, pod, with};

/// A directory that the test shares with the containers, as `/d`.
pub struct Shared(PathBuf);

impl Shared {
    /// Makes it.
    pub fn new(home: &Home) -> Self {
        let dir = home.path().join("shared");
        fs::create_dir(&dir).expect("the test's directory is ours");
        Self(dir)
    }

    /// Makes a file, whole at once.
    pub fn put(&self, name: &str) {
        let half = self.0.join(format!(".{name}"));
        let made = fs::write(&half, "there").and_then(|()| fs::rename(half, self.0.join(name)));
        made.expect("the test's directory is ours");
    }

    /// Removes a file.
    pub fn take(&self, name: &str) {
        fs::remove_file(self.0.join(name)).expect("the file is there");
    }

    /// Whether there is such a file.
    pub fn has(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }

    /// A file's text, empty when it is not there.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }

    /// Its path on the machine.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A Pod with these containers, which all have the directory.
    pub fn pod(&self, name: &str, spec: Value) -> Value {
        let mut spec = with(
            json!({"volumes": [{"name": "d", "hostPath": {"path": self.0}}]}),
            spec,
        );
        for list in ["initContainers", "containers"] {
            let containers = spec.get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                container["volumeMounts"] = json!([{"name": "d", "mountPath": "/d"}]);
            }
        }
        pod(name, spec)
    }
}

/// Waits for something that nothing tells of, and panics when it does not come.
pub fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
