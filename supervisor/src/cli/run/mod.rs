//! `carob run`: Pods in the foreground, from a manifest or from ready bundles.

mod adopt;
mod bundle;
mod human;
mod json;
mod session;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use carob_core::config::ObjectSet;
use carob_core::parse::{FieldNote, Verdict};
use carob_core::pod::Pod;
use carob_core::registry::Origin;
use clap::{Args, ValueEnum};

use super::manifest;
use crate::backend::{Home, Setup};
use crate::dirs::Dirs;
use crate::engine::Engine;
use crate::executor::Source;
use crate::life::Life;
use session::{Session, Signals, View};

/// What `carob run` is told.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A manifest with one or more Pods; - reads standard input
    #[arg(
        required_unless_present_any = ["bundle", "adopt"],
        conflicts_with = "bundle"
    )]
    file: Option<PathBuf>,
    /// Go on with Pods that a killed supervisor, or a machine that was restarted, left behind: with those of
    /// the manifest, whose others are started, or with all of them
    #[arg(long, conflicts_with = "bundle")]
    adopt: bool,
    /// An OCI bundle to run; several make one Pod
    #[arg(long, value_name = "DIR")]
    bundle: Vec<PathBuf>,
    /// Print the Pod with its status as one JSON line at each change; logs are then only in their files
    #[arg(short, long, value_enum, conflicts_with = "bundle")]
    output: Option<Output>,
    /// With --bundle: print the result as one JSON line; output is then only in log files
    #[arg(long, requires = "bundle")]
    json: bool,
    /// Delete the Pods after this time and exit with code 124 (such as 90, 30s, 5m or 1h)
    #[arg(long, value_parser = parse_duration)]
    timeout: Option<Duration>,
}

impl RunArgs {
    /// True when Pods that were left behind go on.
    pub fn adopts(&self) -> bool {
        self.adopt
    }
}

/// Forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One JSON object a line.
    Json,
}

/// Runs what was asked for and returns its exit code.
///
/// # Errors
/// When the Pods can't be started at all; their own failures are exit codes.
pub async fn run(args: RunArgs, dirs: Dirs, setup: Setup) -> anyhow::Result<ExitCode> {
    if !args.bundle.is_empty() {
        return bundle::run(&args.bundle, args.json, args.timeout, dirs, setup).await;
    }
    let signals = Signals::listen()?;
    let lives = match &args.file {
        Some(file) => of_manifest(file, args.adopt, &dirs, &setup.backend.home())?,
        None => adopt::all(&dirs, &setup.backend.home())?,
    };
    if lives.is_empty() {
        eprintln!("carob: no Pod was left behind");
        // What Pods share may have been.
        Engine::open(dirs, &setup).await?.close().await?;
        return Ok(ExitCode::SUCCESS);
    }
    let pods = || lives.iter().map(|life| &life.pod);
    let view = match args.output {
        Some(Output::Json) => Ok(View::Json(json::Json::new(pods()))),
        None => human::Human::new(&dirs, pods()).map(View::Human),
    };
    let view = match view {
        Ok(view) => view,
        Err(error) => {
            Life::abandon(lives)?;
            return Err(error.into());
        }
    };
    Session::start(dirs, &setup, lives, view, signals)
        .await?
        .until_done(args.timeout)
        .await
}

fn of_manifest(file: &Path, adopt: bool, dirs: &Dirs, home: &Home) -> anyhow::Result<Vec<Life>> {
    let mut made_uids = Vec::new();
    let text = manifest::read(file)?;
    let manifest = manifest::parse_noting(&text, &mut made_uids)??;
    tell_notes(&manifest.report);
    manifest::need_pods(&text, &manifest)?;
    let objects: ObjectSet = manifest.objects.into_iter().collect();
    if adopt {
        return adopt::these(dirs, manifest.pods, &made_uids, &objects, home);
    }
    Life::all_or_none(manifest.pods, |pod| begin(dirs, pod, &objects, home))
}

/// Claims a new Pod of a manifest.
fn begin(dirs: &Dirs, pod: Pod, objects: &ObjectSet, home: &Home) -> anyhow::Result<Life> {
    let mut life = Life::begin(dirs, pod, Source::Manifest, Origin::Run, home)?;
    if let Err(error) = life.bring(objects) {
        Life::abandon(vec![life])?;
        return Err(error.into());
    }
    Ok(life)
}

/// A field that has no effect, or another one than its author may think, is told before anything starts.
fn tell_notes(report: &[FieldNote]) {
    for FieldNote {
        line,
        column,
        path,
        verdict,
        ..
    } in report
    {
        match verdict {
            Verdict::Warned(why) => eprintln!("carob: {line}:{column}: {path}: {why}"),
            Verdict::Ignored(why) => eprintln!("carob: {line}:{column}: {path} is ignored: {why}"),
            Verdict::Honoured | Verdict::Rejected => {}
        }
    }
}

/// `90`, `90s`, `5m`, `1h30m`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let span = match text.parse::<u64>() {
        Ok(seconds) => return Ok(Duration::from_secs(seconds)),
        Err(_) => text
            .parse::<jiff::SignedDuration>()
            .map_err(|_| "write a time such as 90, 30s, 5m or 1h30m".to_owned())?,
    };
    Duration::try_from(span).map_err(|_| "a time can't be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_people_write_them() {
        assert_eq!(parse_duration("90").unwrap(), Duration::from_secs(90));
        assert_eq!(parse_duration("1h30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(parse_duration("250ms").unwrap(), Duration::from_millis(250));
        assert!(parse_duration("-5s").is_err());
        assert!(parse_duration("soon").is_err());
    }
}
