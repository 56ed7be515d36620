//! The command line: what can be said to `carob`, and what answers.

mod backend;
mod check;
mod config;
mod cri_log;
mod daemon;
mod events;
mod eviction;
mod explain;
mod image;
mod manifest;
mod prune;
mod pull;
mod run;
mod summary;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use nix::sys::signal::{SigHandler, Signal, signal};

pub use manifest::MAX as MANIFEST_MAX;

use crate::backend::Setup;
use crate::dirs::Dirs;
use crate::images::Images;

/// Carob itself failed, not the Pod (as with docker and podman).
pub const EXIT_CAROB: u8 = 125;
/// The time given with `--timeout` was over (as with timeout(1)).
pub const EXIT_TIMEOUT: u8 = 124;

/// Runs Kubernetes Pods on this machine, exactly as a kubelet would.
#[derive(Debug, Parser)]
#[command(name = "carob", version, arg_required_else_help = true)]
pub struct Cli {
    /// Where images, volumes and logs are kept
    #[arg(
        long,
        global = true,
        default_value = "/var/lib/carob",
        env = "CAROB_ROOT"
    )]
    root: PathBuf,
    /// Where what a reboot ends is kept; supervisors with different ones don't see each other
    #[arg(long, global = true, default_value = "/run/carob", env = "CAROB_STATE")]
    state: PathBuf,
    /// The configuration file: defaults for these options and those of the daemon (/etc/carob/config.toml if there is one)
    #[arg(long, global = true, value_name = "FILE", env = "CAROB_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    backend: backend::BackendArgs,
    #[command(flatten)]
    pull: pull::PullArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run Pods in the foreground until they end or Ctrl-C deletes them
    Run(run::RunArgs),
    /// Keep the Pods of this machine: those of a directory of manifests, and those that were left behind
    Daemon(daemon::DaemonArgs),
    /// Print the configuration in effect, and where each value comes from
    Config(daemon::DaemonArgs),
    /// Check a manifest: which fields are honoured, ignored or rejected
    Check(check::CheckArgs),
    /// Tell what would become of a manifest's Pods, when, without running anything
    Explain(explain::ExplainArgs),
    /// Pull, import, list, inspect and remove images
    Image(image::ImageArgs),
    /// Show what happened to the Pods in the last hour
    Events(events::EventsArgs),
    /// Write a container's log for a shim that can't
    #[command(hide = true)]
    CriLog(cri_log::CriLogArgs),
    /// Clean up what killed supervisors left behind
    Prune,
}

impl Cli {
    /// Reads the arguments, with what the configuration file says where they say nothing. None when that was all there
    /// was to do.
    ///
    /// # Errors
    /// What is wrong with the file. Wrong arguments, and a call for help, end the program.
    pub fn read() -> anyhow::Result<Option<Self>> {
        let args: Vec<OsString> = env::args_os().collect();
        let file = config::File::read(&Self::command(), &args)?;
        let command = file.as_defaults(Self::command());
        let matches = command.clone().get_matches_from(args);
        let cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        if let (Command::Config(_), Some((_, of))) = (&cli.command, matches.subcommand()) {
            file.print_effective(&command, of)?;
            return Ok(None);
        }
        Ok(Some(cli))
    }

    /// The least that is told on standard error, unless `CAROB_LOG` says otherwise: a daemon has no other voice.
    pub fn log_level(&self) -> &'static str {
        match self.command {
            Command::Daemon(_) => "info",
            _ => "warn",
        }
    }

    /// Does what was asked.
    ///
    /// # Errors
    /// One clear sentence for the person; the exit code is then [`EXIT_CAROB`].
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if !matches!(self.command, Command::Run(_)) {
            end_with_its_reader();
        }
        match self.command {
            Command::Config(_) => return Ok(ExitCode::SUCCESS),
            Command::Check(args) => return check::check(&args),
            Command::Explain(args) => return explain::explain(&args),
            Command::CriLog(args) => return cri_log::run(&args),
            _ => {}
        }
        let dirs = Dirs::prepare(&self.root, &self.state)?;
        let cares = match &self.command {
            Command::Run(args) => args.adopts(),
            command => matches!(command, Command::Prune | Command::Daemon(_)),
        };
        if !cares {
            prune::warn_of_leftovers(&dirs)?;
        }
        let setup = Setup {
            backend: self.backend.backend(),
            pulls: self.pull.settings(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let local = tokio::task::LocalSet::new();
        // As a task of its own: the set's own future is polled with each task of a Pod.
        let command = local.spawn_local(async move {
            match self.command {
                Command::Run(args) => run::run(args, dirs, setup).await,
                Command::Daemon(args) => daemon::run(args, dirs, setup).await,
                Command::Events(args) => events::events(&args, &dirs),
                Command::Image(args) => {
                    image::image(args, &Images::open(&dirs, &setup).await?).await
                }
                Command::Prune => prune::prune(&dirs, &setup).await,
                Command::Config(_)
                | Command::Check(_)
                | Command::Explain(_)
                | Command::CriLog(_) => {
                    unreachable!("answered above")
                }
            }
        });
        local.block_on(&runtime, command)?
    }
}

/// A command whose output nobody reads any more has nothing left to do (`carob image ls | head`). One that
/// keeps Pods must not end like that.
fn end_with_its_reader() {
    // SAFETY: no other thread runs yet, and the default disposition has no handler to be unsafe.
    if let Err(errno) = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) } {
        tracing::debug!(%errno, "SIGPIPE stays ignored");
    }
}
