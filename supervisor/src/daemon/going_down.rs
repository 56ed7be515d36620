//! Whether it is the machine that goes down, or only the daemon that is restarted.

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// How long those who know are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// True when systemd says `stopping` (`systemctl is-system-running`), or another init is in runlevel 0 or 6
/// (runlevel(8)). A machine where nobody can say so doesn't go down.
pub async fn machine_is_going_down() -> bool {
    if let Some(state) = said("systemctl", &["is-system-running"]).await
        && state.trim() == "stopping"
    {
        return true;
    }
    let runlevel = said("runlevel", &[]).await.unwrap_or_default();
    matches!(runlevel.split_whitespace().nth(1), Some("0" | "6"))
}

async fn said(program: &str, args: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let Output { stdout, .. } = timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    String::from_utf8(stdout).ok()
}
