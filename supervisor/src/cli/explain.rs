//! `carob explain`: what would become of a manifest's Pods, by the code that would keep them, without running
//! anything.

use std::path::PathBuf;
use std::process::ExitCode;

use carob_core::decide::Outcome;
use carob_core::explain::{Entry, Script, Timeline, format_ms, parse_ms, simulate};
use carob_core::pod::Pod;
use clap::Args;

use super::manifest;

/// What `carob explain` is told.
#[derive(Debug, Args)]
#[command(after_long_help = "\
What --simulate can say, several separated by ; or given several times:
  [CONTAINER:] exit=CODE after TIME [N times]   ends so long after each start; after N starts it runs on
  [CONTAINER:] oom after TIME [N times]         is killed because its memory is used up
  [CONTAINER:] liveness|readiness|startup fails [from TIME] [until TIME]   counted from its start
  [CONTAINER:] pull fails [N times]
  [CONTAINER:] postStart|preStop fails [after TIME]
  [CONTAINER:] postStart|preStop takes TIME
  [CONTAINER:] stop after TIME | stop never     after its stop signal
  delete at TIME [grace TIME]
Without CONTAINER all regular containers are meant. A TIME is 500ms, 5s, 1m30s or 2h. Of what is not said,
all is well: init containers end well after 1s, others run on, or end well after 10s where restartPolicy is
not Always. A first pull takes 2s.

Example: carob explain web.yaml --simulate 'web: exit=1 after 5s; delete at 2m'")]
pub struct ExplainArgs {
    /// A manifest with one or more Pods; - reads standard input
    file: PathBuf,
    /// What goes otherwise than well, such as 'exit=1 after 5s' (--help lists all)
    #[arg(long, value_name = "STATEMENTS")]
    simulate: Vec<String>,
    /// Where the timeline stops, such as 10m
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = time)]
    horizon: u64,
}

fn time(text: &str) -> Result<u64, String> {
    parse_ms(text).ok_or_else(|| "a time is 500ms, 5s, 1m30s or 2h".to_owned())
}

/// Prints the timeline of each Pod.
///
/// # Errors
/// When the file can't be read or is no manifest, or a statement is none.
pub fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let text = manifest::read(&args.file)?;
    let manifest = manifest::parse(&text)??;
    manifest::need_pods(&text, &manifest)?;
    for (index, pod) in manifest.pods.iter().enumerate() {
        let script = Script::parse(pod, &args.simulate)?;
        if index > 0 {
            println!();
        }
        print(pod, &simulate(pod, &script, args.horizon));
    }
    Ok(ExitCode::SUCCESS)
}

fn print(pod: &Pod, timeline: &Timeline) {
    println!("Pod {}/{}", pod.metadata.namespace, pod.metadata.name);
    let names = pod.spec.all_containers().map(|c| c.name.len());
    let width = names.max().unwrap_or(0);
    for entry in &timeline.entries {
        println!("{}", line(entry, width));
    }
    let end = format_ms(timeline.end_ms);
    match timeline.outcome {
        Some(Outcome::Succeeded) => println!("It succeeds after {end}."),
        Some(Outcome::Failed { exit_code }) => {
            println!("It fails after {end}; carob run exits with {exit_code}.");
        }
        Some(Outcome::Deleted) => println!("It is gone after {end}."),
        None => {
            let all = timeline.status.container_statuses.iter();
            let ready = all.clone().filter(|c| c.ready).count();
            println!(
                "After {end} it is {:?}, {ready} of {} ready.",
                timeline.status.phase,
                all.count()
            );
        }
    }
}

fn line(entry: &Entry, width: usize) -> String {
    let name = entry.container.as_deref().unwrap_or("");
    let times = match entry.count {
        1 => String::new(),
        n => format!(" ({n} times until {})", format_ms(entry.last_ms)),
    };
    format!(
        "{:>10}  {name:width$}  {}{times}",
        format_ms(entry.at_ms),
        entry.text
    )
}
