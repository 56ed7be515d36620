//! carob: keeps Kubernetes Pods on one machine, as a kubelet would.

use std::process::ExitCode;

use carob::cli::{Cli, EXIT_CAROB};
use carob::sentence::sentence;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(Some(cli)) => cli,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => return failed(&error),
    };
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_env("CAROB_LOG")
                .unwrap_or_else(|_| EnvFilter::new(cli.log_level())),
        )
        .with_writer(std::io::stderr)
        .init();
    match cli.run() {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("carob: {}", sentence(error));
    ExitCode::from(EXIT_CAROB)
}
