//! What of a status can be compared with a recorded one, in one line of text.

use std::collections::BTreeMap;

use carob_core::status::{ConditionStatus, ContainerState, ContainerStatus, PodStatus};
use serde_json::Value;

/// What can be compared, in one line.
pub fn line(status: &PodStatus) -> String {
    let conditions: BTreeMap<_, _> = status
        .conditions
        .iter()
        .map(|c| {
            let holds = c.status == ConditionStatus::True;
            (
                c.kind.as_str(),
                (holds, c.reason.clone().unwrap_or_default()),
            )
        })
        .collect();
    let conditions = conditions
        .iter()
        .map(|(kind, (holds, reason))| condition(kind, *holds, reason));
    let init = status.init_container_statuses.iter().map(ours);
    let main = status.container_statuses.iter().map(ours);
    compose(
        &format!("{:?}", status.phase),
        conditions.collect(),
        init.collect(),
        main.collect(),
    )
}

fn ours(c: &ContainerStatus) -> String {
    let state = |s: &ContainerState| serde_json::to_value(s).expect("JSON");
    container(
        &c.name,
        [c.ready, c.started],
        u64::from(c.restart_count),
        &state(&c.state),
        &state(&c.last_state),
    )
}

/// The same of a recorded row; none for one that a kubelet shows before it knows the Pod.
pub fn recorded(row: &Value) -> Option<String> {
    let conditions: BTreeMap<_, _> = row["conditions"].as_object()?.iter().collect();
    if conditions.is_empty() {
        return None;
    }
    let conditions = conditions
        .iter()
        .map(|(kind, c)| condition(kind, c[0] == "True", c[1].as_str().unwrap_or_default()));
    let containers = |list: &Value| {
        let list = list.as_array().expect("a list").iter();
        list.map(theirs).collect()
    };
    Some(compose(
        row["phase"].as_str()?,
        conditions.collect(),
        containers(&row["init"]),
        containers(&row["containers"]),
    ))
}

fn theirs(c: &Value) -> String {
    container(
        c["name"].as_str().expect("a name"),
        [c["ready"] == true, c["started"] == true],
        c["restartCount"].as_u64().expect("a count"),
        &c["state"],
        &c["lastState"],
    )
}

fn condition(kind: &str, holds: bool, reason: &str) -> String {
    let sign = if holds { '+' } else { '-' };
    format!(
        "{sign}{kind}{}{reason}",
        if reason.is_empty() { "" } else { ":" }
    )
}

fn container(
    name: &str,
    [ready, started]: [bool; 2],
    count: u64,
    now: &Value,
    last: &Value,
) -> String {
    let flag = |set, letter: &str| {
        if set {
            letter.to_owned()
        } else {
            "-".to_owned()
        }
    };
    let last = state(last);
    let before = if last.is_empty() {
        String::new()
    } else {
        format!(" after {last}")
    };
    format!(
        "{name}#{count} {}{} {}{before}",
        flag(ready, "r"),
        flag(started, "s"),
        state(now)
    )
}

fn state(state: &Value) -> String {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    if !state["running"].is_null() {
        "running".to_owned()
    } else if !state["waiting"].is_null() {
        let waiting = &state["waiting"];
        let message = text(&waiting["message"]);
        let message = if message.is_empty() {
            message
        } else {
            format!(" ({message})")
        };
        format!("{}{message}", text(&waiting["reason"]))
    } else if !state["terminated"].is_null() {
        let terminated = &state["terminated"];
        format!("{} {}", text(&terminated["reason"]), terminated["exitCode"])
    } else {
        String::new()
    }
}

fn compose(phase: &str, conditions: Vec<String>, init: Vec<String>, main: Vec<String>) -> String {
    format!(
        "{phase} | {} | {} | {}",
        init.join(", "),
        main.join(", "),
        conditions.join(" ")
    )
}
