//! A Pod's event log: what happened, counted and aggregated as a kubelet's event correlator does it
//! (client-go, `tools/record/events_cache.go`), and forgotten as an API server does it.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{EventType, PodEvent};

/// So many different messages for one reason, each within [`SIMILAR_WITHIN`] of the one before, and they become one
/// entry (`defaultAggregateMaxEvents`).
const SIMILAR_MAX: usize = 10;
/// `defaultAggregateIntervalInSeconds`.
const SIMILAR_WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// What stands before the latest message of such an entry.
const COMBINED: &str = "(combined from similar events): ";
/// How long an entry is kept after it happened last (`--event-ttl` of an API server).
const KEPT: SignedDuration = SignedDuration::from_hours(1);
/// The most entries that are kept. A Pod has few reasons, and each has at most ten entries within ten minutes.
const MAX: usize = 256;

/// What happened to a Pod in the last hour.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventLog {
    entries: Vec<LoggedEvent>,
    similar: Vec<Similar>,
}

/// One entry: something that happened, perhaps more than once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedEvent {
    /// What happened; `at` is when it did last.
    #[serde(flatten)]
    pub event: PodEvent,
    /// When it did first.
    pub first: Timestamp,
    /// How often.
    pub count: u32,
    /// It stands for several messages, of which it has the latest.
    pub combined: bool,
}

/// The messages that one reason has had lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Similar {
    kind: EventType,
    reason: String,
    messages: BTreeSet<String>,
    last: Timestamp,
}

impl EventLog {
    /// Notes that something happened; gives the entry that it has now.
    pub fn add(&mut self, mut event: PodEvent) -> LoggedEvent {
        let combined = self.is_one_of_many(&event);
        if combined {
            event.message.insert_str(0, COMBINED);
            event.field_path = None;
        }
        let same = |entry: &&mut LoggedEvent| {
            let known = &entry.event;
            (known.kind, &known.reason) == (event.kind, &event.reason)
                && entry.combined == combined
                && (combined
                    || (&known.message, &known.field_path) == (&event.message, &event.field_path))
        };
        let logged = match self.entries.iter_mut().find(same) {
            Some(entry) => {
                entry.count = entry.count.saturating_add(1);
                entry.event = event;
                entry.clone()
            }
            None => {
                let entry = LoggedEvent {
                    first: event.at,
                    count: 1,
                    combined,
                    event,
                };
                self.entries.push(entry.clone());
                entry
            }
        };
        if self.entries.len() > MAX {
            let oldest = self.entries.iter().enumerate();
            if let Some((at, _)) = oldest.min_by_key(|(_, entry)| entry.event.at) {
                self.entries.remove(at);
            }
        }
        logged
    }

    /// Forgets what happened more than an hour ago.
    pub fn expire(&mut self, now: Timestamp) {
        let old = |at: Timestamp, limit| now.duration_since(at) > limit;
        self.entries.retain(|entry| !old(entry.event.at, KEPT));
        self.similar
            .retain(|similar| !old(similar.last, SIMILAR_WITHIN));
    }

    /// What is known, in the order in which it first happened.
    pub fn entries(&self) -> &[LoggedEvent] {
        &self.entries
    }

    fn is_one_of_many(&mut self, event: &PodEvent) -> bool {
        let known = self
            .similar
            .iter_mut()
            .find(|s| (s.kind, &s.reason) == (event.kind, &event.reason));
        let Some(similar) = known else {
            self.similar.push(Similar {
                kind: event.kind,
                reason: event.reason.clone(),
                messages: BTreeSet::from([event.message.clone()]),
                last: event.at,
            });
            return false;
        };
        if event.at.duration_since(similar.last) > SIMILAR_WITHIN {
            similar.messages.clear();
        }
        similar.last = event.at;
        similar.messages.insert(event.message.clone());
        if similar.messages.len() < SIMILAR_MAX {
            return false;
        }
        // Which one goes is not said (`PopAny`); it must not grow.
        similar.messages.pop_first();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn event(second: i64, reason: &str, message: &str) -> PodEvent {
        PodEvent {
            at: at(second),
            kind: EventType::Warning,
            reason: reason.to_owned(),
            message: message.to_owned(),
            field_path: Some("spec.containers{app}".to_owned()),
        }
    }

    fn shown(log: &EventLog) -> Vec<(&str, u32, i64, i64)> {
        let second = |at: Timestamp| at.as_second() - 1_700_000_000;
        let entries = log.entries().iter();
        entries
            .map(|e| {
                let message = e.event.message.as_str();
                (message, e.count, second(e.first), second(e.event.at))
            })
            .collect()
    }

    #[test]
    fn the_same_event_is_counted() {
        let mut log = EventLog::default();
        for (second, message) in [(0, "a"), (5, "b"), (400, "a"), (5_000, "a")] {
            log.add(event(second, "BackOff", message));
        }
        assert_eq!(shown(&log), [("a", 3, 0, 5_000), ("b", 1, 5, 5)]);
    }

    #[test]
    fn another_container_is_another_event() {
        let mut log = EventLog::default();
        log.add(event(0, "Created", "Container created"));
        let mut other = event(1, "Created", "Container created");
        other.field_path = Some("spec.containers{other}".to_owned());
        log.add(other);
        assert_eq!(log.entries().len(), 2);
    }

    #[test]
    fn the_tenth_message_and_all_after_it_are_combined() {
        let mut log = EventLog::default();
        for n in 0..12 {
            log.add(event(n, "Unhealthy", &format!("probe failed: {n}")));
        }
        // Another reason has a count of its own.
        log.add(event(12, "Killing", "Stopping container app"));
        let shown = shown(&log);
        assert_eq!(shown.len(), 11);
        assert_eq!(shown[8], ("probe failed: 8", 1, 8, 8));
        let combined = "(combined from similar events): probe failed: 11";
        assert_eq!(shown[9], (combined, 3, 9, 11));
        assert_eq!(shown[10].0, "Stopping container app");
    }

    #[test]
    fn messages_more_than_ten_minutes_apart_are_not_similar() {
        let mut log = EventLog::default();
        for n in 0..20 {
            log.add(event(n * 601, "Unhealthy", &n.to_string()));
        }
        assert!(log.entries().iter().all(|entry| !entry.combined));
    }

    #[test]
    fn an_hour_after_it_happened_last_an_event_is_forgotten() {
        let mut log = EventLog::default();
        for second in [0, 3_000] {
            log.add(event(second, "BackOff", "again"));
        }
        log.add(event(10, "Started", "once"));
        log.expire(at(3_610));
        assert_eq!(log.entries().len(), 2);
        log.expire(at(3_611));
        assert_eq!(shown(&log), [("again", 2, 0, 3_000)]);
        log.expire(at(6_601));
        assert_eq!(log, EventLog::default());
        // A clock that is set back makes nothing old.
        log.add(event(10, "Started", "once"));
        log.expire(at(-9_999));
        assert_eq!(log.entries().len(), 1);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut log = EventLog::default();
        for n in 0..1_000 {
            log.add(event(n, &format!("Reason{n}"), "text"));
        }
        assert_eq!(log.entries().len(), MAX);
        assert_eq!(log.entries()[0].event.reason, "Reason744");
        log.expire(at(1_000));
        assert!(log.similar.len() <= 601);
    }
}
