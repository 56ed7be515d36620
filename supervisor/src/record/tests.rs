//! Records that supervisors have left: of this program's format, and of each one before that it reads. When the format
//! changes, its last record stays here.

use std::fs;
use std::path::Path;

use carob_core::state::Stage;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::dirs::Dirs;

const UID: &str = "11111111-2222-3333-4444-555555555555";
/// Each was written while a Pod with an init container, a sidecar, probes, a hook, a volume and a crash back-off ran.
const V2: &str = include_str!("fixtures/v2.json");
const V3: &str = include_str!("fixtures/v3.json");

/// Loads a record as if a supervisor had left it here.
fn load(text: &str) -> Result<Record, RecordError> {
    let dir = TempDir::new().unwrap();
    let sub = |name: &str| -> Box<Path> { dir.path().join(name).into() };
    let dirs = Dirs::prepare(&sub("root"), &sub("state")).unwrap();
    fs::write(record_path(&dirs.state, UID), text).unwrap();
    Record::load(&dirs, UID)
}

#[test]
fn f29_every_format_that_is_read_tells_the_same() {
    for (text, volumes) in [(V2, false), (V3, true)] {
        let record = load(text).unwrap();
        assert_eq!(record.pod.metadata.name, "web");
        assert_eq!(record.source, Source::Manifest);
        assert_eq!(record.home, Home::Embedded);
        assert_eq!(record.origin, Origin::Run);
        assert!(record.ended.is_none());
        let state = record.state;
        let observed = |name: &str| &state.observed.containers[name];
        for name in ["side", "main"] {
            assert!(observed(name).is_running(), "{name}");
            assert!(state.memory.containers[name].is_ready(), "{name}");
        }
        assert_eq!(observed("first").ended.as_ref().unwrap().exit_code, 0);
        assert_eq!(observed("crashes").ended.as_ref().unwrap().exit_code, 3);
        let delay = state.memory.containers["crashes"].crash.unwrap();
        assert_eq!(delay.delay_ms, 10_000);
        assert_eq!(state.memory.init_done, 2);
        // What a record does not tell is found when it is gone on with.
        assert_eq!(state.observed.volumes, volumes);
        let mut state = state.clone();
        state.resume();
        assert!(state.observed.volumes);
        let main = observed("main").instance.as_ref().unwrap();
        assert!(matches!(main.stage, Stage::Running { pid, .. } if pid > 1));
    }
}

/// What `kept` tells and `written` does not, or otherwise.
fn lost(kept: &Value, written: &Value, path: &str, found: &mut Vec<String>) {
    match (kept, written) {
        (Value::Object(kept), Value::Object(written)) => {
            for (name, value) in kept {
                let again = written.get(name).unwrap_or(&Value::Null);
                lost(value, again, &format!("{path}/{name}"), found);
            }
        }
        (Value::Array(kept), Value::Array(written)) if kept.len() == written.len() => {
            for (number, (value, again)) in kept.iter().zip(written).enumerate() {
                lost(value, again, &format!("{path}/{number}"), found);
            }
        }
        _ if kept == written => {}
        _ => found.push(format!("{path}: {kept} became {written}")),
    }
}

#[test]
fn f29_nothing_that_a_record_tells_is_lost_when_it_is_written_again() {
    for (text, changes) in [(V2, &["/version: 2 became 3"][..]), (V3, &[])] {
        let Record {
            pod,
            source,
            home,
            clock,
            state,
            origin,
            ..
        } = load(text).unwrap();
        let view = View::new(&pod, &source, origin, &home, clock, &state);
        let written = serde_json::to_value(&view).unwrap();
        let mut found = Vec::new();
        lost(
            &serde_json::from_str(text).unwrap(),
            &written,
            "",
            &mut found,
        );
        assert_eq!(found, changes);
    }
}

#[test]
fn f29_formats_that_are_not_read_are_refused_by_name() {
    for version in [1, VERSION + 1] {
        let mut record: Value = serde_json::from_str(V3).unwrap();
        record["version"] = json!(version);
        let error = load(&record.to_string()).map(|_| ()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&format!("version {version}, this program reads 2 to 3")),
            "{text}"
        );
        assert!(text.contains("`carob prune` removes its Pod"), "{text}");
    }
}
