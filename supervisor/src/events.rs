//! The Pods' event logs: one JSON file per Pod below `--root`, which stays for an hour after the Pod's last event, as
//! an API server keeps events.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use carob_core::pod::{Metadata, Pod};
use carob_core::status::{EventLog, LoggedEvent, PodEvent, Time};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dirs::Dirs;
use crate::private;

/// The format that this program writes; files of others are left alone.
const VERSION: u32 = 1;

/// The events of one Pod.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PodEvents {
    version: u32,
    namespace: String,
    name: String,
    uid: String,
    /// The machine on which they happened.
    host: String,
    log: EventLog,
}

impl PodEvents {
    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The Pod's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What happened, in the order in which it did first.
    pub fn entries(&self) -> &[LoggedEvent] {
        self.log.entries()
    }

    /// An entry as Kubernetes' `v1.Event`.
    pub fn object(&self, entry: &LoggedEvent) -> Value {
        let LoggedEvent { event, first, .. } = entry;
        let mut about = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": self.namespace,
            "name": self.name,
            "uid": self.uid,
        });
        if let Some(path) = &event.field_path {
            about["fieldPath"] = json!(path);
        }
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                // As client-go names them (`makeEvent`, tools/record/event.go).
                "name": format!("{}.{:x}", self.name, first.as_nanosecond()),
                "namespace": self.namespace,
                "creationTimestamp": Time(*first),
            },
            "involvedObject": about,
            "type": event.kind,
            "reason": event.reason,
            "message": event.message,
            "count": entry.count,
            "firstTimestamp": Time(*first),
            "lastTimestamp": Time(event.at),
            "source": {"component": "carob", "host": self.host},
            "reportingComponent": "carob",
            "reportingInstance": self.host,
        })
    }
}

/// The event log of a Pod that runs here.
pub struct Journal {
    path: PathBuf,
    events: PodEvents,
    /// That it can't be written was told.
    told: bool,
}

impl Journal {
    /// Opens the log of a Pod, with what happened to it before.
    pub fn open(dirs: &Dirs, pod: &Pod, host: &str) -> Self {
        let Metadata {
            namespace,
            name,
            uid,
            ..
        } = &pod.metadata;
        let path = dirs.events().join(format!("{uid}.json"));
        let log = read(&path).map(|known| known.log).unwrap_or_default();
        Self {
            path,
            events: PodEvents {
                version: VERSION,
                namespace: namespace.clone(),
                name: name.clone(),
                uid: uid.clone(),
                host: host.to_owned(),
                log,
            },
            told: false,
        }
    }

    /// Writes down what happened and gives the entries that tell of it. A Pod doesn't wait for its log: what can't be
    /// written is told once.
    pub fn add(&mut self, events: impl IntoIterator<Item = PodEvent>) -> Vec<LoggedEvent> {
        let log = &mut self.events.log;
        let logged = events.into_iter().map(|event| log.add(event)).collect();
        self.events.log.expire(Timestamp::now());
        if let Err(error) = self.write()
            && !self.told
        {
            self.told = true;
            tracing::warn!(%error, path = ?self.path, "a Pod's events are not kept");
        }
        logged
    }

    /// What is known.
    pub fn events(&self) -> &PodEvents {
        &self.events
    }

    fn write(&self) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700).create(directory)?;
        }
        private::write(&self.path, &serde_json::to_vec(&self.events)?)
    }
}

/// The events of the last hour, of all Pods of this state directory. Files without any are removed.
///
/// # Errors
/// When the directory can't be read or a file can't be removed.
pub fn list(dirs: &Dirs) -> io::Result<Vec<PodEvents>> {
    let entries = match fs::read_dir(dirs.events()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry?.path();
        // What is half-written or not ours has no events to show.
        let Some(mut events) = read(&path) else {
            continue;
        };
        events.log.expire(Timestamp::now());
        if events.entries().is_empty() {
            private::remove(&path)?;
        } else {
            all.push(events);
        }
    }
    Ok(all)
}

fn read(path: &std::path::Path) -> Option<PodEvents> {
    let events: PodEvents = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (events.version == VERSION).then_some(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use carob_core::pod::{Container, PodSpec};
    use carob_core::status::EventType;

    fn dirs(temp: &tempfile::TempDir) -> Dirs {
        Dirs {
            root: temp.path().join("root"),
            state: temp.path().join("state"),
        }
    }

    fn pod() -> Pod {
        Pod {
            metadata: Metadata::new("web", "uid-1"),
            spec: PodSpec::new(vec![Container::new("app", "image:1")]),
        }
    }

    fn event(at: Timestamp) -> PodEvent {
        PodEvent {
            at,
            kind: EventType::Warning,
            reason: "BackOff".to_owned(),
            message: "again".to_owned(),
            field_path: Some("spec.containers{app}".to_owned()),
        }
    }

    #[test]
    fn the_next_supervisor_counts_on() {
        let temp = tempfile::tempdir().unwrap();
        let (dirs, now) = (dirs(&temp), Timestamp::now());
        for _ in 0..2 {
            Journal::open(&dirs, &pod(), "here").add([event(now)]);
        }
        let all = list(&dirs).unwrap();
        let [web] = &all[..] else {
            panic!("{all:?}");
        };
        let object = web.object(&web.entries()[0]);
        let time = json!(Time(now));
        for (pointer, value) in [
            ("/kind", json!("Event")),
            ("/count", json!(2)),
            ("/type", json!("Warning")),
            ("/firstTimestamp", time.clone()),
            ("/lastTimestamp", time),
            ("/involvedObject/uid", json!("uid-1")),
            ("/involvedObject/fieldPath", json!("spec.containers{app}")),
            ("/source/host", json!("here")),
        ] {
            assert_eq!(object.pointer(pointer), Some(&value), "{pointer}");
        }
    }

    #[test]
    fn a_log_goes_with_its_last_event_and_strangers_stay() {
        let temp = tempfile::tempdir().unwrap();
        let dirs = dirs(&temp);
        assert!(list(&dirs).unwrap().is_empty());
        let mut journal = Journal::open(&dirs, &pod(), "here");
        journal.events.log.add(event(Timestamp::UNIX_EPOCH));
        journal.write().unwrap();
        let stranger = dirs.events().join("stranger.json");
        fs::write(&stranger, "{").unwrap();
        assert!(list(&dirs).unwrap().is_empty());
        let left: Vec<_> = fs::read_dir(dirs.events())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(left, [stranger]);
    }
}
