//! For `scripts/bench`: `cycle STATE BUNDLE` starts the shim, then for each line of standard input takes one
//! container through create, start, wait and delete, and prints the milliseconds.

use std::io::{Write, stdin, stdout};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, ensure};
use carob::dirs::Dirs;
use carob::runtime::embedded::Embedded;
use carob::runtime::{CreateTask, PodName, Process, Runtime, Tasks};
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (state, bundle) = args
        .next()
        .zip(args.next())
        .context("usage: cycle STATE BUNDLE")?;
    let dirs = Dirs::prepare(&state.join("root"), &state.join("state"))?;
    let (events, mut heard) = mpsc::unbounded_channel();
    let backend = Embedded::open(&dirs, events)?;
    let name = || "bench".to_owned();
    let pod = backend.pod(PodName {
        uid: name(),
        namespace: name(),
        name: name(),
    });
    let pod = pod.await?;
    // Events are taken as they come, as a supervisor does.
    tokio::spawn(async move { while heard.recv().await.is_some() {} });

    let shim = pod.open("bench", &bundle).await?;
    for (number, line) in stdin().lines().enumerate() {
        line?;
        let began = Instant::now();
        cycle(&*shim, format!("bench-{number}"), bundle.clone()).await?;
        println!("{:.3}", began.elapsed().as_secs_f64() * 1e3);
        stdout().flush()?;
    }
    shim.shutdown("bench", false).await?;
    pod.close().await;
    Ok(())
}

async fn cycle(shim: &dyn Tasks, id: String, bundle: PathBuf) -> anyhow::Result<()> {
    let task = CreateTask::of_bundle(&id, &id, bundle, Vec::new());
    let init = Process::init(&id);
    shim.create(task).await.context("create")?;
    shim.start(init).await.context("start")?;
    let exited = shim.wait(init).await.context("wait")?;
    ensure!(
        exited.status == 0,
        "the container ended with {}",
        exited.status
    );
    shim.delete(init).await.context("delete")?;
    Ok(())
}
