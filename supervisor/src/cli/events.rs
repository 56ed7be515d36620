//! `carob events`: what happened to the Pods in the last hour.

use std::io::{self, Write};
use std::process::ExitCode;

use carob_core::status::{EventType, LoggedEvent};
use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::dirs::Dirs;
use crate::events::{self, PodEvents};

/// What `carob events` is told.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Only of this Pod: NAME or NAMESPACE/NAME
    pod: Option<String>,
    /// Print a Kubernetes List of core/v1 Events
    #[arg(short, long, value_enum)]
    output: Option<Output>,
}

/// Forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// One JSON object.
    Json,
}

/// Prints them, the latest last.
///
/// # Errors
/// When they can't be read or printed.
pub fn events(args: &EventsArgs, dirs: &Dirs) -> anyhow::Result<ExitCode> {
    let all = events::list(dirs)?;
    let wanted = |pod: &&PodEvents| {
        let name = args.pod.as_ref();
        name.is_none_or(|name| name == pod.name() || *name == pod.full_name())
    };
    let of_pod = |pod| {
        PodEvents::entries(pod)
            .iter()
            .map(move |entry| (pod, entry))
    };
    let mut found: Vec<_> = all.iter().filter(wanted).flat_map(of_pod).collect();
    // What happened at one moment stays in its order.
    found.sort_by_key(|(_, entry)| entry.event.at);
    let mut out = io::stdout().lock();
    match args.output {
        Some(Output::Json) => {
            let items: Vec<_> = found.iter().map(|(pod, e)| pod.object(e)).collect();
            let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
            writeln!(out, "{list:#}")?;
        }
        None if found.is_empty() => eprintln!("carob: nothing happened in the last hour"),
        None => table(&mut out, &found)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The columns of `kubectl get events`.
fn table(out: &mut impl Write, found: &[(&PodEvents, &LoggedEvent)]) -> io::Result<()> {
    let now = Timestamp::now();
    let rows = found.iter().map(|(pod, entry)| {
        let kind = match entry.event.kind {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        [
            last_seen(entry, now),
            kind.to_owned(),
            printable(&entry.event.reason),
            pod.full_name(),
            printable(&entry.event.message),
        ]
    });
    let titles = ["LAST SEEN", "TYPE", "REASON", "POD", "MESSAGE"].map(str::to_owned);
    let rows: Vec<[String; 5]> = [titles].into_iter().chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 4] = std::array::from_fn(width);
    for [seen, kind, reason, pod, message] in &rows {
        let [a, b, c, d] = widths;
        writeln!(
            out,
            "{seen:a$}  {kind:b$}  {reason:c$}  {pod:d$}  {message}"
        )?;
    }
    Ok(())
}

/// `5s`, or `5s (x3 over 2m)` as kubectl has it.
fn last_seen(entry: &LoggedEvent, now: Timestamp) -> String {
    let last = age(now.duration_since(entry.event.at));
    match entry.count {
        1 => last,
        count => format!(
            "{last} (x{count} over {})",
            age(now.duration_since(entry.first))
        ),
    }
}

/// In the largest unit that says enough.
fn age(age: SignedDuration) -> String {
    match age.as_secs().max(0) {
        seconds @ ..120 => format!("{seconds}s"),
        seconds @ ..7200 => format!("{}m", seconds / 60),
        seconds => format!("{}h", seconds / 3600),
    }
}

/// On one line, and without what a container may want to tell a terminal.
fn printable(text: &str) -> String {
    let one_line = text.trim_end().chars();
    one_line
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let texts = [-5, 0, 119, 120, 7199, 7200].map(|s| age(SignedDuration::from_secs(s)));
        assert_eq!(texts, ["0s", "0s", "119s", "2m", "119m", "2h"]);
    }

    #[test]
    fn c30_a_message_moves_no_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\n"), "a [2Jb c");
    }
}
