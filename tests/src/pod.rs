//! A Pod object with its status, as `carob run -o json` and `carob daemon -o json` print it.

use std::fmt;

use serde_json::Value;

/// One line of `carob run -o json`, or the Pod of one of `carob daemon -o json`.
#[derive(Clone, PartialEq)]
pub struct Pod(Value, Option<String>);

impl Pod {
    /// Reads a line; every one must be a whole Pod.
    pub fn parse(line: &str) -> Self {
        let mut value: Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in the line {line}"));
        let change = value["type"].as_str().map(str::to_owned);
        if change.is_some() {
            value = value["object"].take();
        }
        assert_eq!(value["apiVersion"], "v1", "{line}");
        assert_eq!(value["kind"], "Pod", "{line}");
        assert!(value["spec"]["containers"].is_array(), "{line}");
        assert!(value["status"]["phase"].is_string(), "{line}");
        Self(value, change)
    }

    /// `ADDED`, `MODIFIED` or `DELETED`, of a line that tells of a change.
    pub fn change(&self) -> &str {
        self.1.as_deref().unwrap_or_default()
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// What stands at a JSON pointer; null when nothing does.
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The text at a JSON pointer; empty when there is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or_default()
    }

    /// `status.phase`.
    pub fn phase(&self) -> &str {
        self.text("/status/phase")
    }

    /// `True`, `False` or `Unknown`.
    pub fn condition(&self, kind: &str) -> &str {
        let conditions = self.at("/status/conditions").as_array();
        let found = conditions.into_iter().flatten().find(|c| c["type"] == kind);
        found.and_then(|c| c["status"].as_str()).unwrap_or_default()
    }

    /// The status of a container or init container.
    pub fn container(&self, name: &str) -> &Value {
        ["initContainerStatuses", "containerStatuses"]
            .iter()
            .filter_map(|list| self.0["status"][list].as_array())
            .flatten()
            .find(|c| c["name"] == name)
            .unwrap_or_else(|| panic!("no container {name} in {self:?}"))
    }

    /// `running`, `Completed`, `CrashLoopBackOff`, …: in a word what the container does.
    pub fn state(&self, name: &str) -> &str {
        let state = &self.container(name)["state"];
        if state["running"].is_object() {
            return "running";
        }
        let reason = ["waiting", "terminated"].map(|s| state[s]["reason"].as_str());
        reason.into_iter().flatten().next().unwrap_or("nothing")
    }

    /// True when it runs.
    pub fn is_running(&self, name: &str) -> bool {
        self.state(name) == "running"
    }

    /// How often it was started again.
    pub fn restarts(&self, name: &str) -> u64 {
        self.container(name)["restartCount"]
            .as_u64()
            .expect("a count")
    }
}

impl fmt::Debug for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
