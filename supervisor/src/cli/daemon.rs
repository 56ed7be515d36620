//! `carob daemon`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use carob_core::registry::Grace;
use clap::Args;

use super::eviction::EvictionArgs;
use super::run::Output;
use crate::backend::Setup;
use crate::daemon::{self, MetricsAddress, Settings};
use crate::dirs::Dirs;

/// What `carob daemon` is told.
#[derive(Debug, Args)]
pub struct DaemonArgs {
    /// The directory whose manifests' Pods are kept
    #[arg(long, value_name = "DIR", default_value = "/etc/carob/manifests")]
    manifests: PathBuf,
    /// Where metrics (/metrics, /metrics/cadvisor, /metrics/resource, /metrics/probes) and health (/healthz, /livez,
    /// /readyz) are served, or `none`; 127.0.0.1:10255 if nobody else is there
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics_address: Option<MetricsAddress>,
    /// Leave the Pods running when the machine goes down, instead of ending them by priority
    #[arg(long)]
    leave_running: bool,
    /// Seconds that the Pods have to end in when the machine goes down
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    shutdown_grace_period: u64,
    /// How many of these are for critical Pods alone, after the others (priority 2000000000 and above)
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    shutdown_grace_period_critical: u64,
    #[command(flatten)]
    eviction: EvictionArgs,
    /// Print each change of a Pod as one JSON line, as Kubernetes' watch has it
    #[arg(short, long, value_enum)]
    output: Option<Output>,
}

/// Keeps Pods until a signal ends it.
///
/// # Errors
/// When there is a daemon already or the machine can't be prepared.
pub async fn run(args: DaemonArgs, dirs: Dirs, setup: Setup) -> anyhow::Result<ExitCode> {
    let (pressure, within) = args.eviction.settings()?;
    let settings = Settings {
        pressure,
        within,
        manifests: args.manifests,
        rescan: Duration::from_secs(20),
        metrics: args.metrics_address.unwrap_or_default(),
        shutdown: (!args.leave_running).then(|| {
            let (total, critical) = (
                args.shutdown_grace_period,
                args.shutdown_grace_period_critical,
            );
            Grace::of_total(total, critical).to_vec()
        }),
        json: args.output.is_some(),
    };
    daemon::run(settings, dirs, &setup).await
}
