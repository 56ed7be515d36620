//! Tells a Pod's decisions as lines for a person: what the event log has, and what only the status shows.

use std::collections::BTreeMap;

use crate::state::Decision;
use crate::status::{ContainerStatus, Phase};

/// One line of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Milliseconds since the Pod was accepted.
    pub at_ms: u64,
    /// The container that it is about; none for the Pod.
    pub container: Option<String>,
    /// What happened.
    pub text: String,
    /// How often in a row, and when last.
    pub count: u32,
    /// The same of the last time.
    pub last_ms: u64,
}

/// Finds what is new in each decision.
#[derive(Debug, Default)]
pub struct Narrator {
    phase: Option<Phase>,
    shown: BTreeMap<String, Shown>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Shown {
    doing: String,
    ready: bool,
    running: bool,
    started: bool,
    restarts: u32,
}

/// Events that the status tells better.
const SILENT: [&str; 3] = ["Started", "BackOff", "Failed"];

impl Narrator {
    /// Adds what the decision of this moment tells.
    pub fn tell(&mut self, at_ms: u64, decision: &Decision, entries: &mut Vec<Entry>) {
        for event in &decision.events {
            if SILENT.contains(&event.reason.as_str()) {
                continue;
            }
            let container = event.field_path.as_deref();
            let container = container.and_then(|p| p.split_once('{')?.1.strip_suffix('}'));
            add(entries, at_ms, container, event.message.clone());
        }
        let status = &decision.status;
        let init: Vec<&ContainerStatus> = status.init_container_statuses.iter().collect();
        for (container, init) in init
            .iter()
            .map(|c| (*c, true))
            .chain(status.container_statuses.iter().map(|c| (c, false)))
        {
            self.container(at_ms, container, init, entries);
        }
        if self.phase != Some(status.phase) {
            self.phase = Some(status.phase);
            let reason = status.reason.as_ref().map(|r| format!(" ({r})"));
            let text = format!("phase {:?}{}", status.phase, reason.unwrap_or_default());
            add(entries, at_ms, None, text);
        }
        if decision.done.is_some() {
            add(entries, at_ms, None, "all removed".to_owned());
        }
    }

    fn container(
        &mut self,
        at_ms: u64,
        container: &ContainerStatus,
        init: bool,
        entries: &mut Vec<Entry>,
    ) {
        let name = container.name.as_str();
        let before = self.shown.get(name).cloned().unwrap_or_default();
        let running = container.state.running.is_some();
        let now = Shown {
            doing: doing(container),
            ready: container.ready && running,
            running,
            started: container.started,
            restarts: container.restart_count,
        };
        let again = now.running && before.restarts != now.restarts;
        if now.doing != before.doing || again {
            match (now.running, now.restarts) {
                (true, 0) => add(entries, at_ms, Some(name), "running".to_owned()),
                (true, count) => {
                    add(
                        entries,
                        at_ms,
                        Some(name),
                        format!("running again (restart {count})"),
                    );
                }
                (false, _) if now.doing.is_empty() => {}
                (false, _) => add(entries, at_ms, Some(name), now.doing.clone()),
            }
        }
        if now.running && now.started != (before.started && before.running) && !init {
            // What has started without any probe is simply running.
            let text = if now.started {
                "started"
            } else {
                "not started yet"
            };
            if !now.started || before.running {
                add(entries, at_ms, Some(name), text.to_owned());
            }
        }
        if now.ready != before.ready {
            let text = if now.ready { "ready" } else { "not ready" };
            add(entries, at_ms, Some(name), text.to_owned());
        }
        self.shown.insert(name.to_owned(), now);
    }
}

/// What the container does, when there is something to say of it.
fn doing(container: &ContainerStatus) -> String {
    let state = &container.state;
    if let Some(waiting) = &state.waiting {
        let usual = ["ContainerCreating", "PodInitializing"];
        return match (&waiting.message, usual.contains(&waiting.reason.as_str())) {
            (_, true) => String::new(),
            (Some(message), _) => format!("waits: {}: {message}", waiting.reason),
            (None, _) => format!("waits: {}", waiting.reason),
        };
    }
    match &state.terminated {
        Some(ended) => format!("ended: {}, exit code {}", ended.reason, ended.exit_code),
        None => "running".to_owned(),
    }
}

/// Adds a line, or counts it with the last one when that says the same.
fn add(entries: &mut Vec<Entry>, at_ms: u64, container: Option<&str>, text: String) {
    if let Some(last) = entries.last_mut()
        && last.container.as_deref() == container
        && last.text == text
    {
        last.count += 1;
        last.last_ms = at_ms;
        return;
    }
    entries.push(Entry {
        at_ms,
        container: container.map(str::to_owned),
        text,
        count: 1,
        last_ms: at_ms,
    });
}
