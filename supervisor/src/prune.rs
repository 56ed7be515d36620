//! Cleans up what a killed supervisor left: processes, cgroups, mounts, network, files.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::backend::{Home, Setup};
use crate::cgroup;
use crate::containerd::{Client, remove_all};
use crate::dirs::Dirs;
use crate::images::Images;
use crate::network::{Network, NetworkConfig};
use crate::record::{self, Claim, Known};
use crate::runtime::embedded;
use crate::runtime::{Process, Shim, Tasks};
use crate::volume::Volumes;

/// The Pods that nobody runs any more but of which something is left.
///
/// # Errors
/// When the directories can't be read.
pub fn leftovers(dirs: &Dirs) -> anyhow::Result<Vec<Known>> {
    Ok(record::list(dirs)?
        .into_iter()
        .filter(|known| !known.running)
        .collect())
}

/// Removes all of what is left and returns a line for each thing removed. A Pod whose record is damaged is looked for in
/// the backend of `setup`.
///
/// # Errors
/// When something can't be removed; what could be is gone then.
pub async fn prune(dirs: &Dirs, setup: &Setup) -> anyhow::Result<Vec<String>> {
    let mut done = Vec::new();
    let network = Network::open(&dirs.state, NetworkConfig::default())?;
    let volumes = Volumes::new(&dirs.root)?;
    for known in leftovers(dirs)? {
        // A supervisor may have taken the name since we looked.
        let Some(claim) = Claim::take_over(dirs, &known.uid)? else {
            continue;
        };
        let name = known.name.clone().unwrap_or_else(|| known.uid.clone());
        let home = known.home.clone().unwrap_or_else(|| setup.backend.home());
        prune_pod(dirs, &known.uid, &home, &network, &volumes)
            .await
            .with_context(|| format!("cannot clean up Pod {name}"))?;
        claim.release()?;
        done.push(format!("Pod {name} ({})", known.uid));
    }
    let live: HashSet<String> = record::list(dirs)?
        .into_iter()
        .map(|known| known.uid)
        .collect();
    let left = network.prune(&live).await?;
    done.extend(
        left.pods
            .iter()
            .map(|(uid, ip)| format!("address {ip} of Pod {uid}")),
    );
    done.extend(
        left.interfaces
            .iter()
            .chain(&left.bridge)
            .map(|name| format!("network interface {name}")),
    );
    let kept = live.union(&record::foreign(dirs)?).cloned().collect();
    for uid in volumes.prune(&kept)? {
        done.push(format!("volumes of Pod {uid}"));
    }
    done.extend(Images::open(dirs, setup).await?.prune().await?);
    if live.is_empty() {
        cgroup::remove(&dirs.cgroup());
    }
    Ok(done)
}

async fn prune_pod(
    dirs: &Dirs,
    uid: &str,
    home: &Home,
    network: &Network,
    volumes: &Volumes,
) -> anyhow::Result<()> {
    let bundles = dirs.bundles().join(uid);
    match home {
        Home::Embedded => end_tasks(dirs, uid, &bundles).await?,
        Home::Containerd(place) => {
            let (client, _) = Client::connect(place).await?;
            remove_all(&client, uid).await?;
        }
    }
    let cgroup = dirs.pod_cgroup(uid);
    cgroup::kill_all(&cgroup).context("cannot kill what runs in its cgroup")?;
    network.detach(uid).await?;
    volumes.remove_pod(uid)?;
    remove_dir(&bundles)?;
    cgroup::remove(&cgroup);
    let socket = dirs.event_socket(uid);
    match fs::remove_file(&socket) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(e).with_context(|| format!("cannot remove {socket:?}"));
        }
        _ => {}
    }
    remove_dir(&dirs.pipes(uid))?;
    remove_logs(dirs, uid)
}

/// Ends what our own shims have of a Pod.
async fn end_tasks(dirs: &Dirs, uid: &str, bundles: &Path) -> anyhow::Result<()> {
    let tasks = subdirectories(bundles)?;
    let shim = connect(&tasks).await;
    for bundle in &tasks {
        end_task(dirs, uid, bundle, shim.as_ref()).await?;
    }
    if let Some(shim) = &shim {
        // Without containers it ends by itself; one that has gone already is as good.
        let _ = shim.shutdown("", true).await;
    }
    Ok(())
}

fn remove_dir(dir: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {dir:?}"))
        }
        _ => Ok(()),
    }
}

/// The Pod's shim, when it still serves.
async fn connect(bundles: &[PathBuf]) -> Option<Shim> {
    for bundle in bundles {
        if let Some(shim) = embedded::connect(bundle).await {
            return Some(shim);
        }
    }
    None
}

/// Ends one container through its shim, or without it when that is dead too.
async fn end_task(
    dirs: &Dirs,
    uid: &str,
    bundle: &Path,
    shim: Option<&Shim>,
) -> anyhow::Result<()> {
    let Some(id) = task_id(bundle) else {
        return Ok(());
    };
    if let Some(shim) = shim {
        let init = Process::init(&id);
        // Whatever it refuses, the orphan's way below does too.
        let _ = shim
            .kill(init, nix::libc::SIGKILL.unsigned_abs(), true)
            .await;
        let _ = shim.wait(init).await;
        if shim.delete(init).await.is_ok() {
            return Ok(());
        }
    }
    let program = embedded::find_shim().ok_or(embedded::EmbeddedError::NoShim)?;
    embedded::delete_orphan(&program, &dirs.event_socket(uid), &id, bundle).await?;
    Ok(())
}

/// The container's ID, which the supervisor left beside its `config.json`.
fn task_id(bundle: &Path) -> Option<String> {
    let id = fs::read_to_string(bundle.join(ID_FILE)).ok()?;
    (!id.is_empty()).then_some(id)
}

/// The file in each bundle that holds the container's ID.
pub const ID_FILE: &str = "carob-id";

fn subdirectories(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

fn remove_logs(dirs: &Dirs, uid: &str) -> anyhow::Result<()> {
    let suffix = format!("_{uid}");
    for dir in subdirectories(&dirs.root.join("logs/pods"))? {
        if dir
            .file_name()
            .is_some_and(|name| name.to_string_lossy().ends_with(&suffix))
        {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {dir:?}"))?;
        }
    }
    Ok(())
}
