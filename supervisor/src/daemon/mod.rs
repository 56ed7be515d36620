//! `carob daemon`: keeps the Pods of one state directory, whoever restarts it.
//!
//! Nothing that runs depends on it. It goes on with what the one before left, and leaves what it has to the next.

mod going_down;
mod lock;
mod manifests;
mod notify;
mod served;
mod show;

use std::cell::Cell;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use carob_core::registry::Grace;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::backend::Setup;
use crate::dirs::Dirs;
use crate::engine::Engine;
use crate::pressure::{self, Pressure};
use crate::registry::Registry;
use crate::stats::Hierarchies;
use crate::stats::node::Node;
use going_down::machine_is_going_down;
use lock::OnlyDaemon;
use manifests::Manifests;
use notify::Notify;
pub use served::MetricsAddress;

/// When nothing has happened for so long, memory that is not needed is given back.
const REST: Duration = Duration::from_secs(2);

/// What the daemon is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory of manifests.
    pub manifests: PathBuf,
    /// How often it is looked through though nothing is said to have changed.
    pub rescan: Duration,
    /// Where metrics and health are served.
    pub metrics: MetricsAddress,
    /// How long Pods have to end with the machine, by priority; none to leave them running.
    pub shutdown: Option<Vec<Grace>>,
    /// How the machine is defended.
    pub pressure: pressure::Settings,
    /// The cgroup whose memory and process IDs are defended, instead of the machine's.
    pub within: Option<String>,
    /// Print each change of a Pod as a line.
    pub json: bool,
}

/// Keeps Pods until a signal ends it.
///
/// # Errors
/// When there is a daemon already or the machine can't be prepared.
pub async fn run(settings: Settings, dirs: Dirs, setup: &Setup) -> anyhow::Result<ExitCode> {
    let _only = OnlyDaemon::begin(&dirs)?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let notify = Notify::from_env();
    let engine = Rc::new(Engine::open(dirs, setup).await?);
    let registry = Registry::new(engine);
    let dirs = &registry.engine().dirs;
    let images = dirs.root.join("images");
    let within = settings.within.clone();
    let node = Node::new(Hierarchies::detect()?, &dirs.root, &images, within);
    let node = Arc::new(node);
    let adopted = Rc::new(Cell::new(false));
    let _metrics = served::serve(settings.metrics, &registry, &node, &adopted).await?;
    let mut changes = registry.watch(registry.list().1)?;
    for stranded in registry.adopt()? {
        let (pod, reason) = (stranded.name, stranded.reason);
        tracing::error!("Pod {pod} can't go on: {reason}; `carob prune` removes it");
    }
    adopted.set(true);
    let _pressure = Pressure::begin(settings.pressure.clone(), registry.clone(), node)?;
    let mut manifests = Manifests::new(settings.manifests.clone())?;
    manifests.sync(&registry);
    notify.tell(&format!("READY=1\n{}", status(&registry, &manifests)));

    let period = notify.watchdog_period().unwrap_or(Duration::MAX);
    let mut watchdog = interval_at(Instant::now(), period.min(Duration::from_secs(1 << 30)));
    watchdog.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rescan = interval_at(Instant::now() + settings.rescan, settings.rescan);
    rescan.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let rest = sleep(REST);
    tokio::pin!(rest);
    loop {
        tokio::select! {
            () = manifests.changed() => manifests.sync(&registry),
            _ = rescan.tick() => manifests.sync(&registry),
            _ = hangup.recv() => manifests.sync(&registry),
            _ = watchdog.tick() => notify.tell("WATCHDOG=1"),
            change = changes.next() => {
                match change {
                    Ok(change) => show::tell(&change, settings.json),
                    Err(error) => {
                        tracing::warn!(%error, "too much happened at once: some of it is not told");
                        changes = registry.watch(registry.list().1)?;
                    }
                }
                rest.as_mut().reset(Instant::now() + REST);
            }
            () = &mut rest, if !rest.is_elapsed() => {
                notify.tell(&status(&registry, &manifests));
                if let Err(error) = carob_rest::give_back() {
                    tracing::debug!(%error, "memory is kept");
                }
            }
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    notify.tell("STOPPING=1");
    if let Some(graces) = settings.shutdown
        && machine_is_going_down().await
    {
        let seconds: u64 = graces.iter().map(|grace| grace.seconds + 5).sum();
        notify.tell(&format!(
            "EXTEND_TIMEOUT_USEC={}",
            seconds.saturating_mul(1_000_000)
        ));
        tracing::info!("the machine goes down: the Pods are ended");
        let mut ending = std::pin::pin!(registry.end_with_machine(&graces));
        loop {
            tokio::select! {
                () = &mut ending => break,
                change = changes.next() => {
                    if let Ok(change) = change {
                        show::tell(&change, settings.json);
                    }
                }
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
            }
        }
    }
    if registry.is_idle() {
        registry.engine().close().await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A line for `systemctl status`.
fn status(registry: &Registry, manifests: &Manifests) -> String {
    let (pods, _) = registry.list();
    let broken = match manifests.problems() {
        0 => String::new(),
        n => format!(", {n} manifests can't be used: see the log"),
    };
    format!("STATUS=Pods: {}{broken}", pods.len())
}
