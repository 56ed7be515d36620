//! One process of a container: its phase, its streams and how it ended.

use std::path::PathBuf;

use tokio::sync::watch;

use super::state::{Event, Phase, Refused};
use crate::reap::Exit;
use crate::stdio::{Request, Streams};

/// A container's init, or an exec.
pub(super) struct Process {
    phase: Phase,
    pid: i32,
    pub request: Request,
    pub streams: Streams,
    /// How it ended, from when the kernel said so; known to others once it is stopped.
    exit: Option<Exit>,
    done: watch::Sender<Option<Exit>>,
    /// Of an exec, the process of its request, until it is started.
    pub spec: Option<Box<[u8]>>,
}

/// What a client may know of a process.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The container.
    pub id: String,
    /// The exec, or empty.
    pub exec_id: String,
    /// The container's bundle.
    pub bundle: PathBuf,
    /// The process id, 0 before there is a process.
    pub pid: i32,
    /// Its phase.
    pub phase: Phase,
    /// The streams that were asked for.
    pub request: Request,
    /// How it ended.
    pub exit: Option<Exit>,
}

impl Process {
    pub fn new(phase: Phase, request: Request) -> Self {
        Self {
            phase,
            pid: 0,
            request,
            streams: Streams::default(),
            exit: None,
            done: watch::Sender::new(None),
            spec: None,
        }
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn set_pid(&mut self, pid: i32) {
        self.pid = pid;
    }

    pub fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// Changes the phase.
    pub fn on(&mut self, event: Event) -> Result<Phase, Refused> {
        self.phase = self.phase.on(event)?;
        Ok(self.phase)
    }

    /// Notes how the process ended; whoever waits learns it by [`Process::announce`].
    pub fn ended(&mut self, exit: Exit) {
        self.exit = Some(exit);
    }

    /// Tells everybody who waits for the end.
    pub fn announce(&self) {
        self.done.send_replace(self.exit);
    }

    /// Has a value once the process has ended.
    pub fn done(&self) -> watch::Receiver<Option<Exit>> {
        self.done.subscribe()
    }

    pub fn snapshot(&self, id: &str, exec_id: &str, bundle: PathBuf) -> Snapshot {
        Snapshot {
            id: id.to_owned(),
            exec_id: exec_id.to_owned(),
            bundle,
            pid: self.pid,
            phase: self.phase,
            request: self.request.clone(),
            exit: self.exit.filter(|_| self.phase == Phase::Stopped),
        }
    }
}
