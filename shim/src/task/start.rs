//! Start: the init that waits executes its program.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use containerd_shim_protos::events::task::TaskStart;
use tokio::io::Interest;

use super::create::StartHandles;
use super::{Error, Event, Kind, Phase, Shim, find};
use crate::ready;
use crate::worker::hooks::{self, Moment};
use crate::worker::run;

/// The longest reason for a failed start, in bytes.
const LONGEST: usize = 4096;

impl Shim {
    /// Starts the init, or an exec that was added. Returns its process id.
    ///
    /// # Errors
    /// `NotFound`, `FailedPrecondition`, or why the program can't be executed.
    pub async fn start(self: Arc<Self>, id: String, exec_id: String) -> Result<i32, Error> {
        if exec_id.is_empty() {
            self.start_init(&id).await
        } else {
            self.start_exec(&id, &exec_id).await
        }
    }

    async fn start_init(self: Arc<Self>, id: &str) -> Result<i32, Error> {
        let (pid, handles, bundle, hooks) = {
            let mut containers = self.containers();
            let container = find(&mut containers, id)?;
            container.init.on(Event::Start)?;
            let (pid, handles) = (container.init.pid(), container.start.take());
            (pid, handles, container.bundle.clone(), container.hooks.0)
        };
        let failure = match handles {
            Some(handles) => release(handles).await.err(),
            None => Some("it has been started before".to_owned()),
        };
        if hooks && failure.is_none() {
            self.run_hooks(Moment::Poststart, &bundle, id, pid).await;
        }
        let event = if failure.is_none() {
            Event::Started
        } else {
            Event::StartFailed
        };
        let mut containers = self.containers();
        let container = find(&mut containers, id)?;
        let phase = container.init.on(event)?;
        if let Some(why) = failure {
            if phase == Phase::Stopped {
                self.finish(id, "", container);
            }
            return Err(Error::new(
                Kind::Unknown,
                format!("failed to start container {id:?}: {why}"),
            ));
        }
        self.publisher.publish(TaskStart {
            container_id: id.to_owned(),
            pid: pid as u32,
            ..TaskStart::default()
        });
        if phase == Phase::Stopped {
            self.finish(id, "", container);
        }
        Ok(pid)
    }

    /// Runs hooks in a worker. As the specification has it, their failure is only told.
    pub(super) async fn run_hooks(&self, moment: Moment, bundle: &Path, id: &str, pid: i32) {
        let done = run(&self.children, "hooks", || {
            hooks::run(moment, bundle, id, pid)
        })
        .await;
        if let Err(error) = done {
            tracing::warn!("container {id:?}: {error}");
        }
    }
}

/// Lets the init go on, and waits until it has executed its program.
async fn release(handles: StartHandles) -> Result<(), String> {
    // The path leads to the socket itself, wherever it is mounted.
    let path = format!("/proc/self/fd/{}", handles.socket.as_raw_fd());
    let knock = || UnixStream::connect(path)?.write_all(b"start container");
    knock().map_err(|error| format!("its init does not wait for the start: {error}"))?;
    match read_all(handles.error).await {
        Ok(why) if why.is_empty() => Ok(()),
        Ok(why) => Err(why),
        Err(error) => Err(format!("its init can't be heard: {error}")),
    }
}

/// Reads the pipe to its end, without blocking.
pub(super) async fn read_all(pipe: OwnedFd) -> io::Result<String> {
    let pipe = ready::watch(pipe, Interest::READABLE)?;
    let mut text = Vec::new();
    let mut chunk = [0; 512];
    while text.len() < LONGEST {
        match ready::read(&pipe, &mut chunk).await? {
            0 => break,
            length => text.extend_from_slice(&chunk[..length]),
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}
