//! `carob prune`, and the hint that there is something to prune.

use std::process::ExitCode;

use crate::backend::Setup;
use crate::dirs::Dirs;
use crate::prune;

/// Cleans up and says what.
///
/// # Errors
/// When something can't be removed.
pub async fn prune(dirs: &Dirs, setup: &Setup) -> anyhow::Result<ExitCode> {
    let done = prune::prune(dirs, setup).await?;
    for line in &done {
        println!("removed {line}");
    }
    if done.is_empty() {
        println!("nothing was left behind");
    }
    Ok(ExitCode::SUCCESS)
}

/// Names each Pod that a killed supervisor left.
///
/// # Errors
/// When the directories can't be read.
pub fn warn_of_leftovers(dirs: &Dirs) -> anyhow::Result<()> {
    let left = prune::leftovers(dirs)?;
    // One that is through waits for nobody.
    for known in left.into_iter().filter(|known| !known.ended) {
        let name = known
            .name
            .map(|name| format!("{name} ({})", known.uid))
            .unwrap_or(known.uid);
        eprintln!(
            "carob: Pod {name} was left behind by a supervisor that was killed; \
             `carob run --adopt` carries it on, `carob prune` removes it"
        );
    }
    Ok(())
}
