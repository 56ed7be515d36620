//! For `scripts/bench`: `probe STATE BUNDLE COUNT` keeps a container of the bundle running, then for each line of
//! standard input runs COUNT exec probes in it, one after the other, and prints the milliseconds of CPU time that one
//! took: of this program, of the shim, and of what was executed.

use std::fs;
use std::io::{Write, stdin, stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use carob::dirs::Dirs;
use carob::probe::exec::{Command, Commands};
use carob::runtime::embedded::Embedded;
use carob::runtime::{CreateTask, PodName, Process, Runtime};
use nix::unistd::{SysconfVar, sysconf};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

const ID: &str = "bench";

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    LocalSet::new().run_until(run()).await
}

async fn run() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [state, bundle, count] = &args[..] else {
        bail!("usage: probe STATE BUNDLE COUNT");
    };
    let (state, bundle): (PathBuf, PathBuf) = (state.into(), bundle.into());
    let count: u32 = count.parse().context("COUNT")?;
    let dirs = Dirs::prepare(&state.join("root"), &state.join("state"))?;
    let (events, mut heard) = mpsc::unbounded_channel();
    let backend = Embedded::open(&dirs, events)?;
    let name = || ID.to_owned();
    let pod = backend.pod(PodName {
        uid: name(),
        namespace: name(),
        name: name(),
    });
    let pod = pod.await?;
    // Events are taken as they come, as a supervisor does.
    spawn_local(async move { while heard.recv().await.is_some() {} });

    let shim = pod.open(ID, &bundle).await?;
    let task = CreateTask::of_bundle(ID, ID, bundle.clone(), Vec::new());
    let init = shim.create(task).await.context("create")?;
    shim.start(Process::init(ID)).await.context("start")?;
    let server = parent(init)?;
    let commands = Commands::default();
    let command = Command {
        tasks: shim.clone(),
        id: ID.to_owned(),
        name: "liveness-probe",
        process: process(&bundle)?,
        dir: state.clone(),
    };
    for line in stdin().lines() {
        line?;
        let before = cpu("self")? + cpu(&server)?;
        for _ in 0..count {
            let limit = Some(Duration::from_secs(60));
            let ended = commands.run(command.clone(), limit).await;
            ensure!(
                ended.as_ref().is_ok_and(|ended| ended.status == 0),
                "the probe ended so: {ended:?}"
            );
        }
        let spent = cpu("self")? + cpu(&server)? - before;
        println!("{:.3}", spent * 1e3 / f64::from(count));
        stdout().flush()?;
    }
    let kill = nix::libc::SIGKILL.unsigned_abs();
    shim.kill(Process::init(ID), kill, true).await?;
    shim.wait(Process::init(ID)).await?;
    shim.delete(Process::init(ID)).await?;
    shim.shutdown(ID, false).await?;
    pod.close().await;
    Ok(())
}

/// The container's process with `true` for its program.
fn process(bundle: &Path) -> anyhow::Result<Vec<u8>> {
    let config = fs::read(bundle.join("config.json")).context("the bundle has no config.json")?;
    let config: Value = serde_json::from_slice(&config)?;
    let mut process = config["process"].clone();
    process["args"] = json!(["true"]);
    process["childSubreaper"] = json!(true);
    Ok(serde_json::to_vec(&process)?)
}

/// The fields of `/proc/PID/stat` after the program's name (proc(5): from the third on).
fn stat(process: &str) -> anyhow::Result<Vec<String>> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let (_, fields) = text.rsplit_once(')').context(path)?;
    Ok(fields.split_whitespace().map(str::to_owned).collect())
}

fn parent(pid: i32) -> anyhow::Result<String> {
    stat(&pid.to_string())?.get(1).cloned().context("no parent")
}

/// Seconds of CPU time of a process and of its children that it has waited for.
fn cpu(process: &str) -> anyhow::Result<f64> {
    let ticks = sysconf(SysconfVar::CLK_TCK)?.context("no ticks")?;
    let fields = stat(process)?;
    let mut sum = 0.0;
    // utime, stime, cutime, cstime
    for field in fields
        .get(11..15)
        .context("the kernel's format is unknown")?
    {
        sum += field.parse::<f64>()?;
    }
    Ok(sum / ticks as f64)
}
